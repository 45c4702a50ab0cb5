//! Waiting in several sessions at once.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use reveille_types::Invalid;

use crate::deadline::within;
use crate::error::ReadError;
use crate::log::SessionLog;
use crate::options::WaitOptions;
use crate::outcome::WaitOutcome;
use crate::wait::Waiting;

/// Most sessions that one call waits in: each wake-up looks at all of them.
const MOST: usize = 1_000;

/// A wait in several sessions: until any of them, all of them or some of them have what is waited for.
/// Consumes nothing.
///
/// ```
/// # use reveille_memory::MemoryBackend;
/// # use reveille_queue::{AppendOptions, MultiWait, SessionOptions, Sessions, WaitOptions};
/// # use reveille_types::{EventDraft, Filter, SessionKey, Tenant};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let sessions = Sessions::builder(MemoryBackend::new()).build();
/// let mut waits = Vec::new();
/// for worker in ["w1", "w2", "w3"] {
///     let key = SessionKey::in_tenant(Tenant::default_tenant(), worker)?;
///     let log = sessions.create(key, SessionOptions::default()).await?;
/// #   if worker != "w2" {
/// #       log.append([EventDraft::parse("task.result")?], AppendOptions::default()).await?;
/// #   }
///     waits.push((log, WaitOptions::any(Filter::matching("task.result")?)));
/// }
/// let outcome = MultiWait::n_of(2, waits).wait().await?;
/// assert!(outcome.met);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MultiWait {
    waits: Vec<(SessionLog, WaitOptions)>,
    needed: usize,
    timeout: Option<Duration>,
}

/// How a wait in several sessions came out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultiOutcome {
    /// Whether enough sessions had what was waited for. If not, the time was up, or too many sessions
    /// are over.
    pub met: bool,
    /// How each wait came out, in the order in which they were given. One that was not needed any more
    /// [timed out](WaitOutcome::TimedOut), and says where to go on.
    pub outcomes: Vec<WaitOutcome>,
}

impl MultiWait {
    /// Until any of these waits has matched.
    #[must_use]
    pub fn any(waits: Vec<(SessionLog, WaitOptions)>) -> Self {
        Self::n_of(1, waits)
    }

    /// Until all of these waits have matched.
    #[must_use]
    pub fn all(waits: Vec<(SessionLog, WaitOptions)>) -> Self {
        Self::n_of(waits.len(), waits)
    }

    /// Until this many of these waits have matched.
    #[must_use]
    pub fn n_of(needed: usize, waits: Vec<(SessionLog, WaitOptions)>) -> Self {
        Self {
            waits,
            needed,
            timeout: None,
        }
    }

    /// Giving up after this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits. Needs a tokio runtime with timers if a time-out is given.
    ///
    /// # Errors
    /// [`ReadError`] of any of the waits; [`ReadError::InvalidOption`] when there are none or more than
    /// 1 000, when more must match than there are, or when one has a time-out of its own.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing behind in any session.
    pub async fn wait(self) -> Result<MultiOutcome, ReadError> {
        self.check().map_err(ReadError::InvalidOption)?;
        let mut waits = Vec::with_capacity(self.waits.len());
        for (log, options) in &self.waits {
            log.load_to(options.start).await?;
            let waiting = Waiting::new(log, options.clone())?;
            waits.push((waiting, None));
        }
        let enough = poll_fn(|cx| poll(&mut waits, self.needed, cx));
        if let Some(polled) = within(self.timeout, enough).await {
            polled?;
        }
        let outcomes: Vec<WaitOutcome> = waits
            .into_iter()
            .map(|(waiting, outcome)| outcome.unwrap_or_else(|| waiting.give_up()))
            .collect();
        Ok(MultiOutcome {
            met: outcomes.iter().filter(|o| is_match(o)).count() >= self.needed,
            outcomes,
        })
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.waits.is_empty() {
            return Err(Invalid::Empty {
                field: "waits".into(),
            });
        }
        if self.waits.len() > MOST {
            return Err(Invalid::TooLarge {
                field: "waits".into(),
                limit: MOST as u64,
                actual: self.waits.len() as u64,
                unit: "sessions",
            });
        }
        if self.needed == 0 || self.needed > self.waits.len() {
            return Err(Invalid::form("needed", "is not between 1 and the waits"));
        }
        if self.waits.iter().any(|(_, wait)| wait.timeout.is_some()) {
            return Err(Invalid::form("timeout", "is not that of the whole wait"));
        }
        Ok(())
    }
}

/// Ready when enough have matched, or too few can.
fn poll(
    waits: &mut [(Waiting<'_>, Option<WaitOutcome>)],
    needed: usize,
    cx: &mut Context<'_>,
) -> Poll<Result<(), ReadError>> {
    let (mut matched, mut open) = (0, 0);
    for (waiting, outcome) in waits {
        if outcome.is_none()
            && let Poll::Ready(found) = waiting.poll(cx)
        {
            *outcome = Some(waiting.outcome(found?));
        }
        match outcome {
            None => open += 1,
            Some(outcome) => matched += usize::from(is_match(outcome)),
        }
    }
    match matched >= needed || matched + open < needed {
        true => Poll::Ready(Ok(())),
        false => Poll::Pending,
    }
}

fn is_match(outcome: &WaitOutcome) -> bool {
    matches!(outcome, WaitOutcome::Matched { .. })
}
