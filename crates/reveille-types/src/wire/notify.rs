//! A notification in protobuf: for processes that speak to an event queue in its own messages.
//!
//! ```text
//! NotifyEventRequest { session_id: string = 1, event: Event = 2 }
//! Event              { event_id: uint64 = 3, one of: agent_message: AgentMessage = 1, timeout: Timeout = 2 }
//! AgentMessage       { agent_id: string = 1, status: string = 2, changes: repeated string = 3, message: string = 4 }
//! Timeout            { timeout_secs: int32 = 1 }
//! ```

use prost::Message;

use crate::data::AgentMessage;

/// A session and what is to be told in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyRequest {
    /// The session's name within its tenant; `default` where the message has none.
    pub session: String,
    /// What is to be told.
    pub event: NotifiedEvent,
}

/// What a notification can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotifiedEvent {
    /// An agent has something to say.
    AgentMessage(AgentMessage),
    /// That a wait was too long, which is for the server alone to say.
    Timeout,
}

/// Why bytes are no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The bytes are not this message.
    #[error("the body is no protobuf message of a notification")]
    InvalidProtobuf,
    /// The message has no event, or one without a type.
    #[error("the notification has no event")]
    MissingEvent,
}

impl NotifyError {
    /// Stable name of this error.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidProtobuf => "invalid_protobuf",
            Self::MissingEvent => "missing_event",
        }
    }
}

/// The session of a notification that names none.
const DEFAULT_SESSION: &str = "default";

impl NotifyRequest {
    /// Reads a message.
    ///
    /// # Errors
    /// [`NotifyError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, NotifyError> {
        let read = Request::decode(bytes).map_err(|_| NotifyError::InvalidProtobuf)?;
        let event = read.event.and_then(|event| event.content);
        let event = match event.ok_or(NotifyError::MissingEvent)? {
            Content::Timeout(_) => NotifiedEvent::Timeout,
            Content::AgentMessage(said) => NotifiedEvent::AgentMessage(AgentMessage {
                agent_id: said.agent_id,
                status: said.status,
                changes: said.changes,
                message: said.message,
            }),
        };
        let session = match read.session.is_empty() {
            true => DEFAULT_SESSION.to_owned(),
            false => read.session,
        };
        Ok(Self { session, event })
    }

    /// The message as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let content = match &self.event {
            NotifiedEvent::Timeout => Content::Timeout(Timeout::default()),
            NotifiedEvent::AgentMessage(said) => Content::AgentMessage(Said {
                agent_id: said.agent_id.clone(),
                status: said.status.clone(),
                changes: said.changes.clone(),
                message: said.message.clone(),
            }),
        };
        let request = Request {
            session: self.session.clone(),
            event: Some(Event {
                content: Some(content),
                event_id: 0,
            }),
        };
        request.encode_to_vec()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    session: String,
    #[prost(message, optional, tag = "2")]
    event: Option<Event>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(oneof = "Content", tags = "1, 2")]
    content: Option<Content>,
    /// The queue's to say, whatever the sender wrote.
    #[prost(uint64, tag = "3")]
    event_id: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Content {
    #[prost(message, tag = "1")]
    AgentMessage(Said),
    #[prost(message, tag = "2")]
    Timeout(Timeout),
}

#[derive(Clone, PartialEq, Message)]
struct Said {
    #[prost(string, tag = "1")]
    agent_id: String,
    #[prost(string, tag = "2")]
    status: String,
    #[prost(string, repeated, tag = "3")]
    changes: Vec<String>,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Timeout {
    #[prost(int32, tag = "1")]
    timeout_secs: i32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> AgentMessage {
        AgentMessage {
            agent_id: "w1".into(),
            status: "success".into(),
            changes: vec!["a.rs".into(), "b.rs".into()],
            message: "done".into(),
        }
    }

    /// Byte for byte what a compiler of protobuf makes of it.
    #[test]
    fn a_message_has_the_bytes_of_its_definition() {
        let request = NotifyRequest {
            session: "run".into(),
            event: NotifiedEvent::AgentMessage(message()),
        };
        let bytes = b"\x0a\x03run\x12\x21\x0a\x1f\x0a\x02w1\x12\x07success\x1a\x04a.rs\x1a\x04b.rs\x22\x04done";
        assert_eq!(request.encode(), bytes);
        assert_eq!(NotifyRequest::decode(bytes), Ok(request));
    }

    #[test]
    fn an_event_that_is_not_there_or_has_no_type_is_missing() {
        for bytes in [
            &b""[..],
            b"\x0a\x03run",
            b"\x0a\x03run\x12\x00",
            b"\x12\x02\x18\x07",
        ] {
            assert_eq!(NotifyRequest::decode(bytes), Err(NotifyError::MissingEvent));
        }
        for bytes in [&b"\x0a\x04run"[..], b"{}", b"\x0a\x01\xff", b"\x12\x01\x0a"] {
            assert_eq!(
                NotifyRequest::decode(bytes),
                Err(NotifyError::InvalidProtobuf),
                "{bytes:?}"
            );
        }
        // A member that is not known is skipped, and the id is the queue's.
        let read = NotifyRequest::decode(b"\x12\x04\x0a\x00\x18\x07\x78\x01").unwrap();
        assert_eq!(read.session, "default");
        let timeout = NotifyRequest::decode(b"\x12\x04\x12\x02\x08\x1e").unwrap();
        assert_eq!(timeout.event, NotifiedEvent::Timeout);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(read) = NotifyRequest::decode(&bytes) {
                prop_assert_eq!(NotifyRequest::decode(&read.encode()), Ok(read));
            }
        }
    }
}
