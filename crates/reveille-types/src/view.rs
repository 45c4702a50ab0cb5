//! What of an event a reader may see: the event with less of its payload.

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Privacy};
use crate::invalid::Invalid;
use crate::payload::Payload;
use crate::sets::PayloadAccess;

/// The lesser views of an event, each made at most once for all readers.
#[derive(Default)]
pub(crate) struct Views {
    envelope: OnceLock<Event>,
    summary: OnceLock<Event>,
    refs: OnceLock<Event>,
}

/// The members of a JSON payload that readers without access to all of it may see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RedactedPayload {
    /// A summary without what is private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted_summary: Option<String>,
    /// References to where the content is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payload_refs: Vec<serde_json::Value>,
}

impl Payload {
    /// A payload that is nothing but a summary without what is private, and references to where the
    /// content is.
    ///
    /// # Errors
    /// As [`Payload::json`].
    pub fn redacted(
        summary: impl Into<String>,
        refs: impl IntoIterator<Item = serde_json::Value>,
    ) -> Result<Self, Invalid> {
        Self::json(&RedactedPayload {
            redacted_summary: Some(summary.into()),
            payload_refs: refs.into_iter().collect(),
        })
    }

    /// The summary and the references in a JSON payload, as far as it has them.
    #[must_use]
    pub fn redacted_parts(&self) -> RedactedPayload {
        let is_object = self.as_text().is_some_and(|text| text.starts_with('{'));
        match is_object {
            true => self.parse().unwrap_or_default(),
            false => RedactedPayload::default(),
        }
    }
}

impl Event {
    /// The event with as much of its payload as this access gives; the event itself for
    /// [`PayloadAccess::FullPayloadIfPolicyAllows`] and for one without a payload. Whether policy allows
    /// it is the business of whoever calls. Made at most once.
    ///
    /// Summary and references are the members `redacted_summary` and `payload_refs` of a JSON payload;
    /// there is nothing left of a payload that does not have them.
    ///
    /// ```
    /// use reveille_types::{EventDraft, Payload};
    ///
    /// let payload = Payload::redacted("three files were read", [])?;
    /// assert_eq!(
    ///     payload.redacted_parts().redacted_summary.as_deref(),
    ///     Some("three files were read"),
    /// );
    /// # Ok::<(), reveille_types::Invalid>(())
    /// ```
    #[must_use]
    pub fn viewed(&self, access: PayloadAccess) -> Self {
        if self.payload().as_bytes().is_none() {
            return self.clone();
        }
        let with = |payload: Payload| {
            let (envelope, place) = (self.envelope().clone(), self.place().clone());
            Self::new(envelope, payload, place)
        };
        let only = |parts: RedactedPayload| match parts == RedactedPayload::default() {
            true => with(Payload::none()),
            // Texts and values that were JSON before can be written again.
            false => with(Payload::json(&parts).unwrap_or_default()),
        };
        let made = match access {
            PayloadAccess::FullPayloadIfPolicyAllows => return self.clone(),
            PayloadAccess::EnvelopeOnly => {
                let views = self.views();
                views.envelope.get_or_init(|| with(Payload::none()))
            }
            PayloadAccess::RedactedSummary => self.views().summary.get_or_init(|| {
                only(RedactedPayload {
                    payload_refs: Vec::new(),
                    ..self.payload().redacted_parts()
                })
            }),
            PayloadAccess::PayloadRefs => self.views().refs.get_or_init(|| {
                only(RedactedPayload {
                    redacted_summary: None,
                    ..self.payload().redacted_parts()
                })
            }),
        };
        made.clone()
    }
}

impl Privacy {
    /// Whether names and texts of such an event are kept out of what is printed for debugging.
    #[must_use]
    pub fn redacts_debug(self) -> bool {
        matches!(self, Self::Sensitive | Self::Secret)
    }
}

/// A value in what is printed for debugging, or that there is one.
pub(crate) struct Guarded<'a, T>(pub(crate) &'static str, pub(crate) &'a T, pub(crate) bool);

impl<T: fmt::Debug> fmt::Debug for Guarded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.2 {
            true => write!(f, "{}(redacted)", self.0),
            false => self.1.fmt(f),
        }
    }
}
