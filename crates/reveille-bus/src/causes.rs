//! Chains of events that handlers publish in answer to events.
//!
//! What a handler publishes on a bus says which event caused it, from which event its chain comes, and
//! how many handlers the chain has come through by then. Beyond the handler's limits it is refused, so
//! that handlers that answer each other, one by one or many at once, cannot fill the bus with their
//! answers.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use reveille_core::sync::Mutex;
use reveille_types::{Event, EventDraft, EventId, ExtensionValue, Label, Payload};
use serde::Serialize;
use tokio::time::Instant;

/// The attribute of an event that says through how many handlers its chain of causes has come.
const HOPS: &str = "bushops";
/// The attribute of an event that says with which event its chain of causes began.
const ROOT: &str = "busroot";
/// What is published in place of the first events of a chain that is too long or too fast.
const LOOP_DETECTED: &str = "error.loop_detected";
/// Most chains whose events are counted; if there are more, those whose time is up are forgotten.
const CHAINS: usize = 10_000;

tokio::task_local! {
    static CAUSE: Cause;
}

/// The event that a handler is called for.
#[derive(Debug)]
struct Cause {
    id: EventId,
    root: Box<str>,
    hops: u32,
    limit: u32,
    rate: (u32, Duration),
}

/// Which limit a chain is beyond.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    Hops(u32),
    Rate(u32, Duration),
}

/// A chain is too long or too fast.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) limit: Limit,
    /// Tells of it; none if the chain has been told of before.
    pub(crate) report: Option<Box<EventDraft>>,
}

/// How many events the chains have had lately.
#[derive(Debug, Default)]
pub(crate) struct Chains(Mutex<HashMap<Box<str>, Window>>);

/// A stretch of time, and what a chain has had in it.
#[derive(Debug)]
struct Window {
    until: Instant,
    events: u32,
    is_told: bool,
}

impl Chains {
    /// Counts events of a chain. `Err` when they are too many: whether this is the first time.
    fn count(&self, root: &str, events: usize, rate: (u32, Duration)) -> Result<(), bool> {
        let now = Instant::now();
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        let mut chains = self.0.lock();
        if !chains.contains_key(root) {
            if chains.len() >= CHAINS {
                chains.retain(|_, window| now < window.until);
            }
            if chains.len() >= CHAINS {
                // So many at once: this one goes uncounted, but its length is limited.
                return Ok(());
            }
        }
        let fresh = || Window {
            until: now + rate.1,
            events: 0,
            is_told: false,
        };
        let window = chains.entry(root.into()).or_insert_with(fresh);
        if window.until <= now {
            *window = fresh();
        }
        let counted = window.events.saturating_add(events);
        if counted > rate.0 {
            return Err(!std::mem::replace(&mut window.is_told, true));
        }
        window.events = counted;
        Ok(())
    }
}

fn hops(event: &Event) -> u32 {
    match event.envelope().extensions.get(HOPS) {
        Some(ExtensionValue::Integer(hops)) => u32::try_from(*hops).unwrap_or_default(),
        _ => 0,
    }
}

fn root(event: &Event) -> Box<str> {
    match event.envelope().extensions.get(ROOT) {
        Some(ExtensionValue::String(root)) => root.clone(),
        _ => event.id().as_str().into(),
    }
}

/// Runs a handler's call for `event`: what it publishes continues the event's chain. What it leaves to
/// tasks of its own does not.
pub(crate) async fn answering<F: Future>(
    event: &Event,
    (limit, rate): (u32, (u32, Duration)),
    call: F,
) -> F::Output {
    let cause = Cause {
        id: event.id().clone(),
        root: root(event),
        hops: hops(event),
        limit,
        rate,
    };
    CAUSE.scope(cause, call).await
}

/// Makes events that a handler publishes continue the chain of the event that it is called for. Does
/// nothing outside of handlers.
pub(crate) fn continue_chain(chains: &Chains, events: &mut [EventDraft]) -> Result<(), Loop> {
    CAUSE
        .try_with(|cause| cause.extend(chains, events))
        .unwrap_or(Ok(()))
}

impl Cause {
    fn extend(&self, chains: &Chains, events: &mut [EventDraft]) -> Result<(), Loop> {
        if self.hops >= self.limit {
            let limit = Limit::Hops(self.limit);
            return Err(self.refuse(limit, self.hops == self.limit, events));
        }
        if let Err(is_first) = chains.count(&self.root, events.len(), self.rate) {
            // What tells of it continues the chain, too: whoever answers that is refused in silence.
            let limit = Limit::Rate(self.rate.0, self.rate.1);
            return Err(self.refuse(limit, is_first, events));
        }
        events.iter_mut().for_each(|event| self.mark(event));
        Ok(())
    }

    fn refuse(&self, limit: Limit, is_first: bool, refused: &[EventDraft]) -> Loop {
        Loop {
            limit,
            report: is_first.then(|| self.report(limit, refused)).flatten(),
        }
    }

    fn mark(&self, event: &mut EventDraft) {
        if event.caused_by.is_none() {
            // An id keeps the rules of a label.
            event.caused_by = Label::parse(self.id.as_str()).ok();
        }
        let hops = i32::try_from(self.hops.saturating_add(1)).unwrap_or(i32::MAX);
        let root = ExtensionValue::String(self.root.clone());
        event
            .extensions
            .insert(HOPS.into(), ExtensionValue::Integer(hops));
        event.extensions.insert(ROOT.into(), root);
    }

    fn report(&self, limit: Limit, refused: &[EventDraft]) -> Option<Box<EventDraft>> {
        /// Most kinds that are named.
        const NAMED: usize = 16;
        #[derive(Serialize)]
        struct Report<'a> {
            limit: u32,
            #[serde(skip_serializing_if = "Option::is_none")]
            per_ms: Option<u128>,
            root: &'a str,
            refused: Vec<&'a str>,
        }
        let (limit, per_ms) = match limit {
            Limit::Hops(limit) => (limit, None),
            Limit::Rate(limit, per) => (limit, Some(per.as_millis())),
        };
        let kinds = refused.iter().map(|event| event.kind.as_str());
        let report = Report {
            limit,
            per_ms,
            root: &self.root,
            refused: kinds.take(NAMED).collect(),
        };
        let mut event = EventDraft::parse(LOOP_DETECTED).ok()?;
        event.payload = Payload::json(&report).ok()?;
        self.mark(&mut event);
        Some(Box::new(event))
    }
}
