//! What is asked of whom.

use std::net::SocketAddr;

use crate::error::LoadError;

/// Stands for the name of the channel in a path.
const CHANNEL: &str = "{}";

/// How a server is spoken to.
#[derive(Debug, Clone)]
pub struct Target {
    address: SocketAddr,
    /// Fields of every request, each with its line end.
    fields: String,
    stream_path: String,
    publish_path: String,
    /// What stands around the payload of an event.
    around: (&'static str, &'static str),
}

impl Target {
    /// A gateway: streams and posts go to the events of a session, which is the channel.
    #[must_use]
    pub fn gateway(address: SocketAddr, host: &str, token: Option<&str>) -> Self {
        let events = format!("/v1/sessions/{CHANNEL}/events");
        let mut target = Self::plain(address, &events, &events);
        target.fields = format!("host: {host}\r\n");
        if let Some(token) = token {
            target.fields += &format!("authorization: Bearer {token}\r\n");
        }
        target.around = ("{\"type\":\"bench.event\",\"data\":", "}");
        target
    }

    /// A server that streams what is posted to it, byte for byte. `{}` in the paths stands for the name
    /// of the channel.
    #[must_use]
    pub fn plain(address: SocketAddr, stream_path: &str, publish_path: &str) -> Self {
        Self {
            address,
            fields: format!("host: {address}\r\n"),
            stream_path: stream_path.to_owned(),
            publish_path: publish_path.to_owned(),
            around: ("", ""),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request for the stream of a channel.
    pub(crate) fn stream_request(&self, channel: &str) -> Vec<u8> {
        let path = self.stream_path.replace(CHANNEL, channel);
        let fields = &self.fields;
        format!("GET {path} HTTP/1.1\r\n{fields}accept: text/event-stream\r\n\r\n").into_bytes()
    }

    /// The head of a post to a channel, up to the value of its content length.
    pub(crate) fn publish_head(&self, channel: &str) -> String {
        let path = self.publish_path.replace(CHANNEL, channel);
        let fields = &self.fields;
        format!(
            "POST {path} HTTP/1.1\r\n{fields}content-type: application/json\r\ncontent-length: "
        )
    }

    pub(crate) fn around(&self) -> (&'static str, &'static str) {
        self.around
    }
}

/// How many read and publish, and how much.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Whom they speak to.
    pub target: Target,
    /// Readers, shared out evenly among the channels.
    pub readers: usize,
    /// Channels, each published to in turn.
    pub channels: usize,
    /// The channels are called this with a number after it.
    pub prefix: String,
    /// Connections that publish, each one request at a time.
    pub publishers: usize,
    /// Events in a request; more than one are sent as a JSON array.
    pub batch: usize,
    /// About how many bytes an event's payload has; it is never less than the stamp in it needs.
    pub payload: usize,
}

impl Plan {
    /// One channel without readers, one publisher, single events of 256 bytes.
    #[must_use]
    pub fn new(target: Target, prefix: impl Into<String>) -> Self {
        Self {
            target,
            readers: 0,
            channels: 1,
            prefix: prefix.into(),
            publishers: 1,
            batch: 1,
            payload: 256,
        }
    }

    /// The name of a channel.
    #[must_use]
    pub fn channel(&self, channel: usize) -> String {
        format!("{}{channel}", self.prefix)
    }

    /// How many read a channel.
    pub(crate) fn readers_of(&self, channel: usize) -> usize {
        let (each, rest) = (self.readers / self.channels, self.readers % self.channels);
        each + usize::from(channel < rest)
    }
}

/// How fast is published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// This many events a second, as far as the publishers' connections are free.
    Rate(f64),
    /// As fast as the readers read: at most this many events are on their way.
    Window(u64),
}

/// Lets this process have as many open files as it may: one for each connection. Answers how many.
///
/// # Errors
/// [`LoadError::System`].
pub fn raise_file_limit() -> Result<u64, LoadError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|error| LoadError::System {
        what: "more open files",
        source: error.into(),
    })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_shared_out_and_none_is_left_over() {
        let target = Target::plain(([127, 0, 0, 1], 1).into(), "/s", "/p");
        let mut plan = Plan::new(target, "c");
        for (readers, channels) in [(0, 1), (1, 3), (7, 3), (9, 3)] {
            (plan.readers, plan.channels) = (readers, channels);
            let counts: Vec<_> = (0..channels).map(|c| plan.readers_of(c)).collect();
            assert_eq!(counts.iter().sum::<usize>(), readers);
            assert!(counts[0] - counts[channels - 1] <= 1, "{counts:?}");
        }
    }

    #[test]
    fn requests_name_the_channel_and_carry_the_credential() {
        let address = ([127, 0, 0, 1], 7600).into();
        let target = Target::gateway(address, "localhost:7600", Some("secret"));
        let request = String::from_utf8(target.stream_request("a-1")).unwrap();
        assert!(request.starts_with("GET /v1/sessions/a-1/events HTTP/1.1\r\n"));
        assert!(request.contains("host: localhost:7600\r\nauthorization: Bearer secret\r\n"));
        let head = target.publish_head("a-1");
        assert!(head.starts_with("POST /v1/sessions/a-1/events HTTP/1.1\r\n"));
        assert!(head.ends_with("content-length: "));
    }
}
