//! What is to be sent, as the state machines of a node say it.

use reveille_core::SignalHandle;

use super::ends::EndText;
use super::message::{Body, Ended};
use super::run::{Run, System};

/// About how many bytes the ends in one message take.
const REPORT_BYTES_MAX: usize = 128 * 1024;

/// A message to a node.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) system: System,
    /// Meant for this run alone.
    pub(super) run: Option<Run>,
    pub(super) body: Body,
}

/// Reports to one node, in as many messages as it takes.
pub(super) struct Reports<'a> {
    out: &'a mut Vec<Outgoing>,
    to: (System, Run),
    ends: Vec<Ended>,
    size: usize,
    is_sent: bool,
}

impl<'a> Reports<'a> {
    pub(super) fn to(to: (System, Run), out: &'a mut Vec<Outgoing>) -> Self {
        Self {
            out,
            to,
            ends: Vec::new(),
            size: 0,
            is_sent: false,
        }
    }

    pub(super) fn push(&mut self, handle: SignalHandle, end: EndText) {
        let size = end.size();
        if !self.ends.is_empty() && self.size + size > REPORT_BYTES_MAX {
            self.send();
        }
        self.size += size;
        self.ends.push(Ended { handle, end });
    }

    /// Sends what is left; an empty report if there was nothing at all.
    pub(super) fn finish(mut self) {
        if !self.is_sent || !self.ends.is_empty() {
            self.send();
        }
    }

    fn send(&mut self) {
        let (system, run) = self.to;
        let ends = std::mem::take(&mut self.ends);
        self.out.push(Outgoing {
            system,
            run: Some(run),
            body: Body::Report { ends },
        });
        self.size = 0;
        self.is_sent = true;
    }
}
