//! How much of a payload a subscriber sees: what it asked for, as far as a policy grants it.
//!
//! A bus reaches across sessions, so that its subscribers see envelopes only unless they ask for more.
//! The policy is asked before anything is handed out, and before a subscriber's predicate or handler
//! sees the event.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use reveille_types::sets::PayloadAccess;
use reveille_types::{Event, Privacy, Tenant};

use crate::registry::SubscriptionId;

/// Who wants to see a payload.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Subscriber<'a> {
    /// Whose bus it is.
    pub tenant: &'a Tenant,
    /// The subscription; none for a look at history.
    pub id: Option<SubscriptionId>,
    /// The name under which it subscribed.
    pub name: Option<&'a str>,
    /// What it asked for; always more than the envelope.
    pub asked: PayloadAccess,
}

/// How much of a payload is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// So much.
    pub access: PayloadAccess,
    /// Whether it is less than what was asked for.
    pub denied: bool,
}

/// Decides how much of an event's payload a subscriber sees. Called for each event and each subscriber
/// that asks for more than the envelope, in the subscriber's own poll; never under a lock. If it
/// panics, the envelope is shown.
pub trait PayloadPolicy: fmt::Debug + Send + Sync {
    /// What the subscriber gets of what it [asked](Subscriber::asked) for. More than that is not given.
    fn grant(&self, subscriber: &Subscriber<'_>, event: &Event) -> PayloadAccess;
}

/// The default policy: everything of events that are public or not classified, the summary of all
/// others; their references are given to whom asks for these.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByPrivacy;

impl PayloadPolicy for ByPrivacy {
    fn grant(&self, subscriber: &Subscriber<'_>, event: &Event) -> PayloadAccess {
        let asked = subscriber.asked;
        match (event.envelope().privacy, asked) {
            (None | Some(Privacy::Public), _) => asked,
            (_, PayloadAccess::FullPayloadIfPolicyAllows) => PayloadAccess::RedactedSummary,
            _ => asked,
        }
    }
}

/// How much it is; a reference tells as much as a summary, in another way.
fn measure(access: PayloadAccess) -> u8 {
    match access {
        PayloadAccess::EnvelopeOnly => 0,
        PayloadAccess::RedactedSummary | PayloadAccess::PayloadRefs => 1,
        PayloadAccess::FullPayloadIfPolicyAllows => 2,
    }
}

/// The event as the subscriber may see it, and whether the policy has answered.
#[inline]
pub(crate) fn shown(
    policy: &dyn PayloadPolicy,
    subscriber: &Subscriber<'_>,
    event: Event,
) -> (Event, Shown, bool) {
    let asked = subscriber.asked;
    let granted = match asked {
        PayloadAccess::EnvelopeOnly => Ok(asked),
        _ => catch_unwind(AssertUnwindSafe(|| policy.grant(subscriber, &event))),
    };
    let is_sound = granted.is_ok();
    let granted = granted.unwrap_or(PayloadAccess::EnvelopeOnly);
    let access = match measure(granted).cmp(&measure(asked)) {
        std::cmp::Ordering::Less => granted,
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => asked,
    };
    let shown = Shown {
        access,
        denied: access != asked,
    };
    let event = match access {
        PayloadAccess::FullPayloadIfPolicyAllows => event,
        less => event.viewed(less),
    };
    (event, shown, is_sound)
}
