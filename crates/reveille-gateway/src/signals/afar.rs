//! Signals of other gateways: their owners are asked, and told what to do.
//!
//! An owner alone says what is true of its signals. What is remembered here of how one ended was said by
//! it, so it is told where the owner is gone or has forgotten it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use axum::http::StatusCode;
use reveille_core::{
    Completion, Poison, PoisonKind, SignalAwaiter, SignalError, SignalHandle, SignalQuestion,
};
use reveille_types::wire::{SignalInfo, SignalPending, SignalState, SignalWhy};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::to_raw_value;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::proof::SecretDigest;
use super::question::{Act, Answer, Done, HANDLES_MAX, How, Known, Look, Names, Order};
use super::store::TenantSignals;
use super::value::SignalValue;
use crate::problem::Refusal;

/// Of how many gateways the inputs of one merge may be.
const OWNERS_MAX: usize = 256;
/// How long the names of signals elsewhere are waited for. Without them an answer is as true.
const NAMES_PATIENCE: Duration = Duration::from_secs(1);
/// How many pending signals an explanation names, as one of a single gateway does.
const PENDING_MAX: usize = 1000;
/// Through how many gateways an explanation goes, one after the other.
const ROUNDS_MAX: usize = 16;

/// A signal of another gateway for which somebody is to wait.
pub(super) enum Watched<'a> {
    /// It has ended.
    Ended(SignalInfo),
    /// It has not.
    Pending(Box<Watch<'a>>),
}

/// A wait for a signal of another gateway.
pub(super) struct Watch<'a> {
    signals: &'a TenantSignals,
    handle: SignalHandle,
    name: Option<String>,
    completion: Completion<SignalValue>,
    /// None where the signal is known to be a merge.
    value: Option<SignalAwaiter<SignalValue>>,
    _room: SemaphorePermit<'a>,
}

impl TenantSignals {
    /// Where a signal of another gateway stands.
    pub(super) async fn look_afar(&self, handle: SignalHandle) -> Result<SignalInfo, Refusal> {
        let owner = handle.system_id();
        match self.ask(owner, Look::Info { handle }).await {
            Ok(info) => Ok(self.named(info, Some(owner)).await),
            Err(refusal) => match self.ended(handle) {
                Ok(Some(end)) if !end.as_ref().is_err_and(is_of_the_wait) => {
                    Ok(self.named(self.info(handle, Some(&end)), None).await)
                }
                _ => Err(refusal),
            },
        }
    }

    /// Begins to wait for a signal of another gateway.
    ///
    /// The owner is asked about it and told that it is waited for at the same time: if it does not
    /// answer, its lease decides, as it does later.
    pub(super) async fn watch_afar(&self, handle: SignalHandle) -> Result<Watched<'_>, Refusal> {
        let room = self.room_to_wait()?;
        let mut watch = Box::new(Watch {
            signals: self,
            handle,
            name: None,
            completion: self.system().completion(handle)?,
            value: self.system().awaiter(handle).ok(),
            _room: room,
        });
        let mut looking = pin!(self.look_afar(handle));
        let looked = tokio::select! {
            biased;
            looked = &mut looking => looked,
            ended = &mut watch.completion => {
                let is_lost = ended.as_ref().is_err_and(is_of_the_wait);
                // The owner tells more than how it ended.
                if !is_lost
                    && let Ok(info) = looking.await
                    && info.status != SignalState::Pending
                {
                    return Ok(Watched::Ended(info));
                }
                return Ok(Watched::Ended(watch.told(ended).await));
            }
        };
        match looked {
            Ok(info) if info.status != SignalState::Pending => Ok(Watched::Ended(info)),
            Ok(info) => {
                watch.name = info.name;
                Ok(Watched::Pending(watch))
            }
            // The lease says so, too, or that it is still there.
            Err(refusal) if refusal.code() == "owner_lost" => Ok(Watched::Pending(watch)),
            Err(refusal) => Err(refusal),
        }
    }

    /// Has the owner of a signal do with it what `how` says.
    pub(super) async fn order_afar(
        &self,
        handle: SignalHandle,
        how: How,
        secret: &str,
    ) -> Result<Done, Refusal> {
        let value = match &how {
            How::Trigger { value } => value.json(),
            _ => None,
        };
        let order = to_raw_value(&Order { handle, how }).map_err(|_| unreadable())?;
        let proof = SecretDigest::of(secret).prove(order.get());
        let act = SignalQuestion::Act(text(&Act { order, proof })?);
        let mut done = self.consult(handle.system_id(), act).await?;
        if let Done::Ended(info) = &mut done {
            info.value = value;
        }
        Ok(done)
    }

    /// Makes sure that the inputs of a merge that other gateways have are known there.
    pub(super) async fn check_afar(&self, inputs: &[SignalHandle]) -> Result<(), Refusal> {
        let by_owner = by_owner(inputs.iter().copied().filter(|it| self.is_afar(*it)));
        if by_owner.len() > OWNERS_MAX {
            let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "merge_too_wide");
            return Err(refusal
                .detail("the inputs are of too many gateways")
                .field("inputs")
                .sizes(OWNERS_MAX as u64, by_owner.len() as u64));
        }
        let known = |handles| Look::Known { handles };
        let answers = self.ask_all::<Known>(by_owner, known).await;
        let mut refused = HashMap::new();
        for (handles, answer) in answers {
            match answer {
                Ok(known) => refused.extend(
                    handles
                        .into_iter()
                        .zip(known)
                        .filter_map(|(handle, problem)| Some((handle, Refusal::of(problem?)))),
                ),
                Err(refusal) => refused.extend(handles.first().map(|it| (*it, refusal))),
            }
        }
        // As of a merge at one gateway, the first one is told.
        match inputs.iter().find_map(|input| refused.remove(input)) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// What blocks a signal, wherever it and what it waits for are.
    pub(super) async fn why(&self, handle: SignalHandle) -> Result<SignalWhy, Refusal> {
        let first = match self.is_afar(handle) {
            true => {
                let handles = vec![handle];
                self.ask(handle.system_id(), Look::Why { handles }).await?
            }
            false => self.explain(handle)?,
        };
        let mut found = Found::default();
        found.add(handle.system_id(), &[handle], first);
        for _ in 0..ROUNDS_MAX {
            let next = std::mem::take(&mut found.elsewhere);
            if next.is_empty() || self.member().is_none() {
                break;
            }
            let (own, afar) = next
                .into_iter()
                .partition::<Vec<_>, _>(|it| !self.is_afar(*it));
            for handle in own {
                // What is forgotten has ended.
                let none = || SignalWhy {
                    pending: Vec::new(),
                    truncated: false,
                };
                let why = self.explain(handle).unwrap_or_else(|_| none());
                found.add(handle.system_id(), &[handle], why);
            }
            let why = |handles| Look::Why { handles };
            for (handles, answer) in self.ask_all::<SignalWhy>(by_owner(afar), why).await {
                // An owner that does not answer leaves its signals as they are known.
                if let (Some(first), Ok(why)) = (handles.first(), answer) {
                    found.add(first.system_id(), &handles, why);
                }
            }
        }
        Ok(found.finish())
    }

    /// Says what causes of other gateways are called, as far as that is told in time. Those of
    /// `answered` have been named.
    pub(super) async fn named(&self, mut info: SignalInfo, answered: Option<u64>) -> SignalInfo {
        let Some(poison) = &mut info.poison else {
            return info;
        };
        let mut afar = Vec::new();
        for cause in &mut poison.causes {
            let Ok(handle) = cause.handle.parse::<SignalHandle>() else {
                continue;
            };
            if cause.name.is_some() || answered == Some(handle.system_id()) {
                continue;
            }
            if !self.is_afar(handle) {
                cause.name = self.name(handle);
            } else if cause.kind != PoisonKind::OwnerLost.as_str() {
                afar.push(handle);
            }
        }
        let names = |handles| Look::Names { handles };
        let asking = self.ask_all::<Names>(by_owner(afar), names);
        let answers = timeout(NAMES_PATIENCE, asking).await.unwrap_or_default();
        let mut named = HashMap::new();
        for (handles, names) in answers {
            named.extend(
                handles
                    .iter()
                    .map(ToString::to_string)
                    .zip(names.unwrap_or_default()),
            );
        }
        for cause in &mut poison.causes {
            cause.name = cause.name.take().or_else(|| named.remove(&cause.handle)?);
        }
        info
    }

    async fn ask<T: DeserializeOwned>(&self, owner: u64, look: Look) -> Result<T, Refusal> {
        self.consult(owner, SignalQuestion::Look(text(&look)?))
            .await
    }

    async fn consult<T: DeserializeOwned>(
        &self,
        owner: u64,
        question: SignalQuestion,
    ) -> Result<T, Refusal> {
        let member = self.member().ok_or(SignalError::UnknownSignal)?;
        read(&member.ask(owner, question).await?)
    }

    /// Asks several owners at the same time, each about some of its signals.
    async fn ask_all<T: DeserializeOwned + Send + 'static>(
        &self,
        by_owner: BTreeMap<u64, Vec<SignalHandle>>,
        look: impl Fn(Vec<SignalHandle>) -> Look,
    ) -> Vec<(Vec<SignalHandle>, Result<T, Refusal>)> {
        let mut asking = JoinSet::new();
        let chunks = by_owner.iter().flat_map(|(owner, handles)| {
            handles
                .chunks(HANDLES_MAX)
                .map(|chunk| (*owner, chunk.to_vec()))
        });
        for (owner, handles) in chunks {
            let question = text(&look(handles.clone())).map(SignalQuestion::Look);
            let Some(member) = self.member().cloned() else {
                break;
            };
            asking.spawn(async move {
                let answer = match question {
                    Ok(question) => member.ask(owner, question).await.map_err(Refusal::from),
                    Err(refusal) => Err(refusal),
                };
                (handles, answer.and_then(|text| read(&text)))
            });
        }
        asking.join_all().await
    }
}

impl Watch<'_> {
    /// Waits for the end.
    pub(super) async fn end(mut self: Box<Self>) -> SignalInfo {
        let ended = (&mut self.completion).await;
        self.told(ended).await
    }

    /// What is told of a signal that ended like this.
    async fn told(&mut self, ended: Result<(), Poison>) -> SignalInfo {
        let end = match (ended, &mut self.value) {
            (Err(poison), _) => Err(poison),
            // Complete at the same time; a merge has none.
            (Ok(()), Some(value)) => Ok(value.await.unwrap_or_default()),
            (Ok(()), None) => Ok(SignalValue::default()),
        };
        let mut info = self.signals.info(self.handle, Some(&end));
        info.name = self.name.take();
        let of_itself = |handle: &str| handle == info.handle;
        if let Some(poison) = &mut info.poison {
            for cause in poison.causes.iter_mut().filter(|it| of_itself(&it.handle)) {
                cause.name.clone_from(&info.name);
            }
        }
        self.signals.named(info, None).await
    }
}

/// What is found out about what blocks a signal.
#[derive(Default)]
struct Found {
    pending: Vec<SignalPending>,
    /// Where each stands in it.
    places: HashMap<String, usize>,
    ended: HashSet<String>,
    /// Signals whose owners have not been asked.
    elsewhere: Vec<SignalHandle>,
    truncated: bool,
}

impl Found {
    /// The answer of `owner` about `asked`, of which it may know that they are not pending.
    fn add(&mut self, owner: u64, asked: &[SignalHandle], why: SignalWhy) {
        let mut unsaid: HashSet<String> = match why.truncated {
            true => HashSet::new(),
            false => asked.iter().map(ToString::to_string).collect(),
        };
        self.truncated |= why.truncated;
        for pending in why.pending {
            unsaid.remove(&pending.handle);
            let Ok(handle) = pending.handle.parse::<SignalHandle>() else {
                continue;
            };
            let is_word = handle.system_id() == owner;
            match self.places.get(&pending.handle) {
                Some(place) if is_word => self.pending[*place] = pending,
                Some(_) => {}
                None if self.pending.len() == PENDING_MAX => self.truncated = true,
                None => {
                    if !is_word {
                        self.elsewhere.push(handle);
                    }
                    self.places
                        .insert(pending.handle.clone(), self.pending.len());
                    self.pending.push(pending);
                }
            }
        }
        self.ended.extend(unsaid);
    }

    fn finish(mut self) -> SignalWhy {
        let ended = &self.ended;
        self.pending
            .retain(|pending| !ended.contains(&pending.handle));
        for pending in &mut self.pending {
            pending.waits_for.retain(|input| !ended.contains(input));
        }
        SignalWhy {
            pending: self.pending,
            truncated: self.truncated,
        }
    }
}

/// Whether it says that the owner could not be asked, and not what it said.
fn is_of_the_wait(poison: &Poison) -> bool {
    matches!(poison.kind(), PoisonKind::OwnerLost | PoisonKind::Refused)
}

fn by_owner(handles: impl IntoIterator<Item = SignalHandle>) -> BTreeMap<u64, Vec<SignalHandle>> {
    let mut by_owner: BTreeMap<u64, Vec<_>> = BTreeMap::new();
    for handle in handles {
        by_owner.entry(handle.system_id()).or_default().push(handle);
    }
    by_owner
}

fn text(question: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(question).map_err(|_| unreadable())
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let answer: Result<Answer<T>, _> = serde_json::from_str(text);
    answer.map_err(|_| unreadable())?.read()
}

/// A gateway of another release, say.
fn unreadable() -> Refusal {
    Refusal::unavailable("not_carried").detail("the gateways do not understand each other")
}
