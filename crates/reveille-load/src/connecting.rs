//! Opening the streams.

use std::time::{Duration, Instant};

use mio::{Events, Token};

use crate::error::LoadError;
use crate::load::{ALARM, Load, PUBLISHERS};
use crate::reader::{Reader, Turn};

/// How many streams are being opened at once: less than servers let wait.
const AT_ONCE: usize = 128;
/// How long it may take until the next one is open.
const PATIENCE: Duration = Duration::from_secs(10);
/// Streams that have said nothing for this long have said what they begin with.
const QUIET: Duration = Duration::from_millis(50);

impl Load {
    /// Opens all streams, and waits until each has begun.
    pub(crate) fn open(&mut self) -> Result<(), LoadError> {
        let asked = self.plan.readers;
        let mut events = Events::with_capacity(1_024);
        let (mut open, mut moved) = (0, Instant::now());
        loop {
            while self.readers.len() < asked.min(open + AT_ONCE) {
                let place = self.readers.len();
                let channel = place % self.plan.channels;
                let name = self.plan.channel(channel);
                let registry = self.poll.registry();
                let target = &self.plan.target;
                let reader = Reader::connect(target, (channel, &name), registry, Token(place))?;
                self.readers.push(reader);
            }
            self.wait(&mut events, QUIET)?;
            if events.is_empty() && open == asked {
                return Ok(());
            }
            if moved.elapsed() > PATIENCE {
                return Err(LoadError::Stuck { open, asked });
            }
            for event in &events {
                if event.token() >= PUBLISHERS || event.token() == ALARM {
                    continue;
                }
                match self.read(event.token().0)? {
                    Turn::Opened => {
                        open += 1;
                        moved = Instant::now();
                    }
                    Turn::GoesOn => {}
                    Turn::Lost => return Err(LoadError::Stuck { open, asked }),
                }
            }
        }
    }
}
