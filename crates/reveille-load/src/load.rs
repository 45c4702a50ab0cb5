//! The loop that reads and publishes.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use crate::alarm::Alarm;
use crate::counts::{Counts, Flight};
use crate::error::LoadError;
use crate::frames::Ends;
use crate::plan::{Pace, Plan};
use crate::publisher::{Answered, Pending, Publisher};
use crate::reader::{Reader, Turn};
use crate::report::Report;
use crate::stamp::{Stamp, Stamps};

/// The tokens of publishers begin here, those of readers at 0.
pub(crate) const PUBLISHERS: Token = Token(1 << 32);
pub(crate) const ALARM: Token = Token(usize::MAX);
/// Bytes that are read at once.
const READ: usize = 64 * 1024;
/// How often it is looked whether a run is over.
const LOOK: Duration = Duration::from_millis(50);
/// Nothing comes any more once nothing has come for this long.
const SILENCE: Duration = Duration::from_secs(2);

/// Streams that are open, and publishers.
#[derive(Debug)]
pub struct Load {
    pub(crate) plan: Plan,
    pub(crate) poll: Poll,
    alarm: Alarm,
    pub(crate) readers: Vec<Reader>,
    publishers: Vec<Publisher>,
    /// Publishers without a request.
    free: Vec<usize>,
    /// The heads of the posts to each channel.
    heads: Vec<String>,
    flight: Flight,
    counts: Counts,
    buffer: Box<[u8]>,
    begun: Instant,
    stamps: Stamps,
    ends: Ends,
}

impl Load {
    /// Opens the streams of a plan. Channels must be there if the server does not make them.
    ///
    /// # Errors
    /// [`LoadError`] when one stream cannot be opened.
    pub fn connect(plan: Plan) -> Result<Self, LoadError> {
        let system = |source| LoadError::System {
            what: "a poll",
            source,
        };
        let poll = Poll::new().map_err(system)?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(system)?;
        let heads = (0..plan.channels)
            .map(|channel| plan.target.publish_head(&plan.channel(channel)))
            .collect();
        let mut load = Self {
            alarm,
            readers: Vec::with_capacity(plan.readers),
            publishers: (0..plan.publishers).map(|_| Publisher::new()).collect(),
            free: (0..plan.publishers).rev().collect(),
            heads,
            flight: Flight::default(),
            counts: Counts::new()?,
            buffer: vec![0; READ].into(),
            begun: Instant::now(),
            stamps: Stamps::new(),
            ends: Ends::new(),
            plan,
            poll,
        };
        load.open()?;
        Ok(load)
    }

    /// Publishes for a while, waits until all is read or nothing comes any more, and tells what came
    /// through. It may be called again, and begins to count anew then.
    ///
    /// # Errors
    /// [`LoadError`] when the server cannot be reached any more.
    pub fn run(&mut self, pace: Pace, time: Duration) -> Result<Report, LoadError> {
        self.counts = Counts::new()?;
        self.flight.give_up();
        let mut events = Events::with_capacity(1_024);
        let begun = Instant::now();
        self.counts.last = self.nanos(begun);
        let mut sent = 0;
        loop {
            let elapsed = begun.elapsed();
            let mut timeout = LOOK;
            if elapsed < time {
                timeout = timeout.min(time.saturating_sub(elapsed));
                if let Some(due) = self.publish(pace, begun, &mut sent)? {
                    let now = Instant::now();
                    timeout = timeout.min(due.saturating_duration_since(now));
                    self.alarm
                        .set(due, now)
                        .map_err(|source| LoadError::System {
                            what: "an alarm",
                            source,
                        })?;
                }
            } else if self.is_over() {
                break;
            }
            self.wait(&mut events, timeout)?;
            for event in &events {
                self.turn(event.token())?;
            }
            if self.silence() > SILENCE {
                // What was on its way is lost: the others must not wait for it.
                self.flight.give_up();
            }
        }
        let counts = std::mem::replace(&mut self.counts, Counts::new()?);
        Ok(counts.report(self.nanos(begun)))
    }

    /// Waits for something to do.
    pub(crate) fn wait(&mut self, events: &mut Events, timeout: Duration) -> Result<(), LoadError> {
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(source) => Err(LoadError::System {
                what: "to wait",
                source,
            }),
        }
    }

    /// An instant on the clock of the load.
    fn nanos(&self, at: Instant) -> u64 {
        nanos(self.begun, at)
    }

    /// How long nothing has come.
    fn silence(&self) -> Duration {
        let last = Duration::from_nanos(self.counts.last);
        self.begun.elapsed().saturating_sub(last)
    }

    fn is_over(&self) -> bool {
        let answered = self.free.len() == self.publishers.len();
        (answered && self.counts.is_whole()) || self.silence() > SILENCE
    }

    /// Publishes what is due, and says when the next is; nothing if that depends on others.
    fn publish(
        &mut self,
        pace: Pace,
        begun: Instant,
        sent: &mut u64,
    ) -> Result<Option<Instant>, LoadError> {
        let batch = self.plan.batch as u64;
        loop {
            let now = Instant::now();
            match pace {
                Pace::Window(most) if self.flight.open() + batch > most.max(batch) => {
                    return Ok(None);
                }
                Pace::Window(_) => {}
                Pace::Rate(rate) => {
                    let Ok(at) = Duration::try_from_secs_f64((*sent * batch) as f64 / rate) else {
                        return Ok(None);
                    };
                    let due = begun + at;
                    if due > now {
                        return Ok(Some(due));
                    }
                }
            }
            let Some(publisher) = self.free.pop() else {
                return Ok(None);
            };
            self.send(publisher, now)?;
            *sent += 1;
        }
    }

    fn send(&mut self, publisher: usize, now: Instant) -> Result<(), LoadError> {
        let (batch, channels) = (self.plan.batch as u64, self.plan.channels as u64);
        let first = self.flight.next();
        let request = first / batch;
        let place = request % channels;
        let channel = usize::try_from(place).unwrap_or_default();
        let readers = self.plan.readers_of(channel);
        for _ in 0..batch {
            self.flight.sent(readers);
        }
        let at = self.nanos(now);
        let (before, after) = self.plan.target.around();
        let payload = self.plan.payload;
        let head = &self.heads[channel];
        let mut body = Vec::with_capacity((payload + 64) * self.plan.batch);
        for event in 0..batch {
            if batch > 1 {
                body.push(if event == 0 { b'[' } else { b',' });
            }
            let number = request / channels * batch + event;
            body.extend_from_slice(before.as_bytes());
            Stamp { number, at }.write(&mut body, payload);
            body.extend_from_slice(after.as_bytes());
        }
        if batch > 1 {
            body.push(b']');
        }
        let token = Token(PUBLISHERS.0 + publisher);
        let number = request;
        self.publishers[publisher].send(
            &self.plan.target,
            (self.poll.registry(), token),
            Pending { number, at },
            |out| {
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
                out.extend_from_slice(&body);
            },
        )
    }

    fn turn(&mut self, token: Token) -> Result<(), LoadError> {
        if token == ALARM {
            return Ok(());
        }
        if token < PUBLISHERS {
            if self.read(token.0)? == Turn::Lost {
                self.counts.lost += 1;
            }
            return Ok(());
        }
        let place = token.0 - PUBLISHERS.0;
        let publisher = &mut self.publishers[place];
        let answered = publisher.turn(&self.plan.target, &mut self.buffer)?;
        if let Some(answered) = answered {
            self.free.push(place);
            self.answered(answered);
        }
        Ok(())
    }

    fn answered(&mut self, answered: Answered) {
        let (batch, channels) = (self.plan.batch as u64, self.plan.channels as u64);
        let Answered {
            request,
            status,
            text,
        } = answered;
        let now = self.nanos(Instant::now());
        let counts = &mut self.counts;
        counts.last = now;
        match status {
            Some(200..=299) => {
                let channel = usize::try_from(request.number % channels).unwrap_or_default();
                counts.accepted += batch;
                counts.expected += batch * self.plan.readers_of(channel) as u64;
                let took = now.saturating_sub(request.at).max(1);
                counts.answers.saturating_record(took);
                return;
            }
            Some(status) => {
                counts.refused += batch;
                let text = text.trim();
                counts
                    .refusal
                    .get_or_insert_with(|| format!("{status} {text}"));
            }
            None => counts.unanswered += batch,
        }
        for event in 0..batch {
            self.flight.refused(request.number * batch + event);
        }
    }

    /// Reads what there is on a stream.
    pub(crate) fn read(&mut self, place: usize) -> Result<Turn, LoadError> {
        let (batch, channels) = (self.plan.batch as u64, self.plan.channels as u64);
        let zero = self.begun;
        let Self {
            readers,
            buffer,
            ends,
            stamps,
            flight,
            counts,
            ..
        } = self;
        let Some(reader) = readers.get_mut(place) else {
            return Ok(Turn::GoesOn);
        };
        reader.turn(buffer, ends, |seen, channel, frame| {
            let Some(Stamp { number, at }) = stamps.find(frame) else {
                counts.gaps += u64::from(is_gap(frame));
                return;
            };
            let is_new = seen.add(number);
            counts.read(is_new, at, nanos(zero, Instant::now()));
            if is_new {
                let request = number / batch * channels + channel as u64;
                flight.reached(request * batch + number % batch);
            }
        })
    }
}

fn nanos(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

/// Whether the frame says that events are missing.
fn is_gap(frame: &[u8]) -> bool {
    const NAME: &[u8] = b"event: reveille.gap";
    frame.split(|b| *b == b'\n').any(|line| line == NAME)
}
