//! What a stream reads: one session, or the bus of a tenant.

use std::task::{Context, Poll};

use reveille_bus::{BusError, BusItem, BusSubscription};
use reveille_queue::{StreamItem, Subscription};
use reveille_types::{Cursor, Event, Gap, SessionKey, wire};

use crate::connections::Log;

/// What a stream reads.
#[derive(Debug)]
pub(crate) enum Feed {
    Session(Subscription),
    Bus(BusSubscription),
}

/// What a feed yields.
#[derive(Debug)]
pub(crate) enum Item {
    Gap(Gap),
    /// An event and where a reader of this feed goes on after it.
    Event(Event, Cursor),
    CaughtUp(Cursor),
    Ended(wire::End),
}

/// Why a stream cannot go on now; its reader may come back.
#[derive(Debug)]
pub(crate) enum Interrupted {
    /// Too many readers wait.
    Overloaded,
    /// The reader is slower than its bound allows.
    TooSlow,
}

impl Feed {
    pub(crate) fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Item, Interrupted>>> {
        match self {
            Self::Session(events) => events.poll_item(cx).map(|item| {
                item.map(|item| match item.map_err(|_| Interrupted::Overloaded)? {
                    StreamItem::Gap(gap) => Ok(Item::Gap(gap)),
                    StreamItem::Event(event) => {
                        let cursor = event.cursor();
                        Ok(Item::Event(event, cursor))
                    }
                    StreamItem::CaughtUp(cursor) => Ok(Item::CaughtUp(cursor)),
                    StreamItem::Ended { reason, cursor } => {
                        Ok(Item::Ended(wire::End { reason, cursor }))
                    }
                })
            }),
            Self::Bus(events) => events.poll_item(cx).map(|item| {
                item.map(|item| match item.map_err(|error| interrupted(&error))? {
                    BusItem::Gap(gap) => Ok(Item::Gap(*gap)),
                    BusItem::Summary(summary) => Ok(Item::Gap(summary.gap)),
                    BusItem::Event(frame) => Ok(Item::Event(frame.event, frame.cursor)),
                    BusItem::CaughtUp(cursor) => Ok(Item::CaughtUp(cursor)),
                })
            }),
        }
    }

    /// Whether it is one session, whose events are the same for all who read it.
    pub(crate) fn is_log(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// The session; none if it is all of a tenant's.
    pub(crate) fn key(&self) -> Option<&SessionKey> {
        match self {
            Self::Session(events) => Some(events.log().key()),
            Self::Bus(_) => None,
        }
    }

    /// Where to resume.
    pub(crate) fn cursor(&self) -> Cursor {
        match self {
            Self::Session(events) => events.cursor(),
            Self::Bus(events) => events.cursor(),
        }
    }

    /// What is read.
    pub(crate) fn log(&self) -> Log {
        match self {
            Self::Session(events) => Log::Session(events.log().clone()),
            Self::Bus(events) => Log::Bus(events.tail().clone()),
        }
    }

    /// The end of what is read.
    pub(crate) fn latest(&self) -> Cursor {
        match self {
            Self::Session(events) => events.log().latest(),
            Self::Bus(events) => events.latest(),
        }
    }
}

fn interrupted(error: &BusError) -> Interrupted {
    match error {
        BusError::Overflow { .. } => Interrupted::TooSlow,
        _ => Interrupted::Overloaded,
    }
}
