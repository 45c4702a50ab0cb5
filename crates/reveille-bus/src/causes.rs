//! Chains of events that handlers publish in answer to events.
//!
//! What a handler publishes on a bus says which event caused it and how many handlers the chain has
//! come through by then. Beyond the handler's limit it is refused, so that handlers that answer each
//! other cannot fill the bus with their answers.

use std::future::Future;

use reveille_types::{Event, EventDraft, EventId, ExtensionValue, Label, Payload};
use serde::Serialize;

/// The attribute of an event that says through how many handlers its chain of causes has come.
const HOPS: &str = "bushops";
/// What is published in place of the first event of a chain that is too long.
const LOOP_DETECTED: &str = "error.loop_detected";

tokio::task_local! {
    static CAUSE: Cause;
}

/// The event that a handler is called for.
#[derive(Debug)]
struct Cause {
    id: EventId,
    hops: u32,
    limit: u32,
}

/// A chain is too long.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) limit: u32,
    /// Tells of it; none if the chain has been told of before.
    pub(crate) report: Option<Box<EventDraft>>,
}

fn hops(event: &Event) -> u32 {
    match event.envelope().extensions.get(HOPS) {
        Some(ExtensionValue::Integer(hops)) => u32::try_from(*hops).unwrap_or_default(),
        _ => 0,
    }
}

/// Runs a handler's call for `event`: what it publishes continues the event's chain. What it leaves to
/// tasks of its own does not.
pub(crate) async fn answering<F: Future>(event: &Event, limit: u32, call: F) -> F::Output {
    let cause = Cause {
        id: event.id().clone(),
        hops: hops(event),
        limit,
    };
    CAUSE.scope(cause, call).await
}

/// Makes events that a handler publishes continue the chain of the event that it is called for. Does
/// nothing outside of handlers.
pub(crate) fn continue_chain(events: &mut [EventDraft]) -> Result<(), Loop> {
    CAUSE
        .try_with(|cause| cause.extend(events))
        .unwrap_or(Ok(()))
}

impl Cause {
    fn extend(&self, events: &mut [EventDraft]) -> Result<(), Loop> {
        let is_over = self.hops >= self.limit;
        if is_over {
            return Err(Loop {
                limit: self.limit,
                report: (self.hops == self.limit)
                    .then(|| self.report(events))
                    .flatten(),
            });
        }
        events.iter_mut().for_each(|event| self.mark(event));
        Ok(())
    }

    fn mark(&self, event: &mut EventDraft) {
        if event.caused_by.is_none() {
            // An id keeps the rules of a label.
            event.caused_by = Label::parse(self.id.as_str()).ok();
        }
        let hops = i32::try_from(self.hops.saturating_add(1)).unwrap_or(i32::MAX);
        event
            .extensions
            .insert(HOPS.into(), ExtensionValue::Integer(hops));
    }

    fn report(&self, refused: &[EventDraft]) -> Option<Box<EventDraft>> {
        #[derive(Serialize)]
        struct Report<'a> {
            limit: u32,
            refused: Vec<&'a str>,
        }
        let report = Report {
            limit: self.limit,
            refused: refused.iter().map(|event| event.kind.as_str()).collect(),
        };
        let mut event = EventDraft::parse(LOOP_DETECTED).ok()?;
        event.payload = Payload::json(&report).ok()?;
        self.mark(&mut event);
        Some(Box::new(event))
    }
}
