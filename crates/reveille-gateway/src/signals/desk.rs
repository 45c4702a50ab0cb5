//! What this gateway answers to others about its signals of one tenant.

use std::fmt;
use std::sync::Weak;

use reveille_core::{SignalDesk, SignalError, SignalHandle, SignalQuestion};
use reveille_types::wire::{SignalPending, SignalWhy};
use serde::de::DeserializeOwned;

use super::question::{Act, Answer, Done, HANDLES_MAX, Look, Order};
use super::store::TenantSignals;
use crate::problem::Refusal;

/// About how many bytes an explanation may take, below what all brokers carry.
const WHY_BYTES: usize = 128 * 1024;

/// Answers for the signals of one tenant, as long as they are there.
pub(super) struct Desk(Weak<TenantSignals>);

impl Desk {
    pub(super) fn of(signals: Weak<TenantSignals>) -> Self {
        Self(signals)
    }
}

impl SignalDesk for Desk {
    fn answer(&self, question: SignalQuestion) -> String {
        let signals = self.0.upgrade();
        let signals = signals.ok_or_else(|| SignalError::UnknownSignal.into());
        match question {
            SignalQuestion::Look(text) => match signals.and_then(|it| Ok((it, read(&text)?))) {
                Ok((signals, look)) => signals.look_up(look),
                Err(refusal) => Answer::<()>::text(Err(refusal)),
            },
            SignalQuestion::Act(text) => {
                Answer::text(signals.and_then(|signals| signals.act(&read(&text)?)))
            }
        }
    }
}

impl TenantSignals {
    fn look_up(&self, look: Look) -> String {
        match look {
            Look::Info { handle } => Answer::text(
                self.own(handle)
                    .and_then(|()| Ok(self.info(handle, self.ended(handle)?.as_ref()))),
            ),
            Look::Why { handles } => Answer::text(self.explain_all(&handles)),
            Look::Known { handles } => {
                let known = handles.iter().take(HANDLES_MAX).map(|handle| {
                    let known = self.own(*handle).and_then(|()| {
                        self.system().poll(*handle)?;
                        Ok(())
                    });
                    known.err().map(Refusal::into_problem)
                });
                Answer::text(Ok(known.collect::<Vec<_>>()))
            }
            Look::Names { handles } => {
                let names = handles.iter().take(HANDLES_MAX);
                Answer::text(Ok(names.map(|it| self.name(*it)).collect::<Vec<_>>()))
            }
        }
    }

    fn explain_all(&self, handles: &[SignalHandle]) -> Result<SignalWhy, Refusal> {
        let mut all = SignalWhy {
            pending: Vec::new(),
            truncated: handles.len() > HANDLES_MAX,
        };
        for handle in handles.iter().take(HANDLES_MAX) {
            match self.own(*handle).and_then(|()| self.explain(*handle)) {
                Ok(why) => {
                    all.truncated |= why.truncated;
                    all.pending.extend(why.pending);
                }
                Err(refusal) if handles.len() == 1 => return Err(refusal),
                Err(_) => {}
            }
        }
        shorten(&mut all);
        Ok(all)
    }

    fn act(&self, act: &Act) -> Result<Done, Refusal> {
        let text = act.order.get();
        let Order { handle, how } = read(text)?;
        self.own(handle)?;
        let mut done = self.carry_out(handle, how, |kept| kept.is_proven(text, &act.proof))?;
        // Whoever triggered it knows the value, and this answer is kept for a while.
        if let Done::Ended(info) = &mut done {
            info.value = None;
        }
        Ok(done)
    }

    /// Nobody is told here of signals that others have.
    fn own(&self, handle: SignalHandle) -> Result<(), Refusal> {
        match self.is_afar(handle) {
            true => Err(SignalError::UnknownSignal.into()),
            false => Ok(()),
        }
    }
}

/// Leaves out what would be too long to be carried.
fn shorten(why: &mut SignalWhy) {
    let mut bytes = 0;
    let fits = |pending: &SignalPending| {
        let texts = [&pending.name, &pending.owed_by].map(|it| it.as_ref().map_or(0, String::len));
        bytes += 160 + 6 * texts.iter().sum::<usize>() + 35 * pending.waits_for.len();
        bytes <= WHY_BYTES
    };
    let fitting = why
        .pending
        .iter()
        .map(fits)
        .take_while(|fits| *fits)
        .count();
    if let Some(first_out) = why.pending.get_mut(fitting) {
        why.truncated = true;
        // One alone is shown as far as it goes.
        first_out.waits_for.truncate(HANDLES_MAX);
        why.pending.truncate(fitting.max(1));
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    // Of a later release, say.
    serde_json::from_str(text).map_err(|_| Refusal::unavailable("not_carried"))
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
