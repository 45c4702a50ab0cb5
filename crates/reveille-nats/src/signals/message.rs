//! What nodes say to each other: one JSON text a message, of version 1.

use bytes::Bytes;
use reveille_core::SignalHandle;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ends::{EndText, ErrorText, StatusText};
use super::run::{Run, System};

/// The only version there is. The subjects name it too, so that nodes of another one are not reached.
pub(super) const VERSION: u32 = 1;

/// A message, and who says it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    #[serde(rename = "v")]
    pub(super) version: u32,
    /// The sender's system.
    pub(super) from: System,
    /// Which process has that system.
    pub(super) run: Run,
    /// The sender's clock, in milliseconds since its run began.
    pub(super) clock: u64,
    /// Meant for this run of the receiver alone; for whichever there is if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<Run>,
    pub(super) body: Body,
}

/// What is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Body {
    /// Who is there? Answered with `here`.
    Hello {},
    /// The sender is there.
    Here {},
    /// The sender waits for these signals, for so long unless it says it again. Answered with a `report`
    /// of those that have ended; the others are reported when they do.
    Watch {
        handles: Vec<SignalHandle>,
        ttl_ms: u64,
    },
    /// The sender waits for them no more, or has got their ends.
    Unwatch { handles: Vec<SignalHandle> },
    /// How signals of the sender ended, and that it is there.
    Report { ends: Vec<Ended> },
    /// Do this, once, unless it is later than `by` on the receiver's clock. Answered with an `answer`.
    Request {
        id: u64,
        handle: SignalHandle,
        by: u64,
        ask: Ask,
    },
    /// What the request of this id led to.
    Answer { id: u64, answer: Answer },
    /// The sender goes: whoever waits for its signals waits in vain.
    Bye {},
}

/// The end of one signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) handle: SignalHandle,
    pub(super) end: EndText,
}

/// What is asked of the owner of a signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    Trigger {
        value: Box<RawValue>,
    },
    Poison {
        reason: String,
    },
    Cancel {
        reason: String,
    },
    Status {},
    /// What has no effect, asked at the owner's desk.
    Look {
        question: Box<RawValue>,
    },
    /// What has an effect, asked at the owner's desk.
    Act {
        question: Box<RawValue>,
    },
}

/// What the owner of a signal answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// It is done.
    Done {},
    /// Where the signal stands.
    Status(StatusText),
    /// What the desk says.
    Said { answer: Box<RawValue> },
    /// It is not done.
    Refused(ErrorText),
    /// It is not done, since the request came too late.
    Late {},
}

/// Why a text is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Envelope {
    pub(super) fn to_bytes(&self) -> Bytes {
        // Maps have no keys but texts, and nothing fails to be serialised.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn read(text: &[u8]) -> Result<Self, Malformed> {
        let read = serde_json::from_slice::<Self>(text).ok();
        read.filter(|envelope| envelope.version == VERSION)
            .ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(body: Body) -> Envelope {
        Envelope {
            version: VERSION,
            from: System(7),
            run: Run(9),
            clock: 1500,
            to: Some(Run(10)),
            body,
        }
    }

    fn text(body: Body) -> String {
        String::from_utf8(envelope(body).to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn messages_have_the_documented_form() {
        let handle = SignalHandle::from_raw((8 << 64) | 1);
        let value = RawValue::from_string("{\"big\":18446744073709551615}".into()).unwrap();
        let request = Body::Request {
            id: 3,
            handle,
            by: 2500,
            ask: Ask::Trigger { value },
        };
        assert_eq!(
            text(request),
            "{\"v\":1,\"from\":\"0000000000000007\",\"run\":\"0000000000000009\",\"clock\":1500,\
             \"to\":\"000000000000000a\",\"body\":{\"request\":{\"id\":3,\
             \"handle\":\"00000000000000080000000000000001\",\"by\":2500,\
             \"ask\":{\"trigger\":{\"value\":{\"big\":18446744073709551615}}}}}}"
        );
        let ends = vec![Ended {
            handle,
            end: EndText::Done {},
        }];
        assert!(text(Body::Report { ends }).ends_with(
            "\"body\":{\"report\":{\"ends\":[{\"handle\":\"00000000000000080000000000000001\",\
             \"end\":{\"done\":{}}}]}}}"
        ));
    }

    #[test]
    fn what_is_written_is_read_and_unknown_fields_are_passed_over() {
        let handles = vec![SignalHandle::from_raw(1 << 64)];
        let watch = text(Body::Watch {
            handles,
            ttl_ms: 4000,
        });
        let read = Envelope::read(watch.as_bytes()).unwrap();
        assert_eq!(read.to_bytes(), watch.as_bytes());
        let more = watch.replacen("{\"v\"", "{\"new\":[1],\"v\"", 1);
        let read = Envelope::read(more.as_bytes()).unwrap();
        assert_eq!(read.to_bytes(), watch.as_bytes());
    }

    #[test]
    fn other_versions_and_broken_texts_are_no_messages() {
        let good = text(Body::Bye {});
        let other = good.replacen("\"v\":1", "\"v\":2", 1);
        let unknown = good.replacen("bye", "sing", 1);
        let number = good.replacen("\"0000000000000007\"", "7", 1);
        for wrong in [&*other, &*unknown, &*number, "", "{}", "null", &good[1..]] {
            assert_eq!(
                Envelope::read(wrong.as_bytes()).unwrap_err(),
                Malformed,
                "{wrong}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(Envelope::read(&bytes).is_err());
        }

        #[test]
        fn a_damaged_message_is_read_or_refused(at in 0_usize..150, byte: u8) {
            let handle = SignalHandle::from_raw((8 << 64) | 1);
            let ask = Ask::Poison { reason: "disk full".into() };
            let mut text = text(Body::Request { id: 3, handle, by: 2500, ask }).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            let _ = Envelope::read(&text);
        }
    }
}
