//! The seam between a server of signals and what joins it to others of its kind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::{SignalError, SignalSystem, SignalSystemBuilder};

/// What a [`SignalMember`] gives to wait for.
pub type MemberFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Joins systems in several processes, each with a desk at which the others can ask what a
/// [`SignalRouter`](crate::SignalRouter) does not carry: what a signal is called, say, or to complete
/// it for whoever proves that he may.
///
/// ```
/// use std::sync::Arc;
/// use reveille_core::{SignalDesk, SignalNetwork, SignalQuestion, SignalSystem};
///
/// #[derive(Debug)]
/// struct Closed;
///
/// impl SignalDesk for Closed {
///     fn answer(&self, _: SignalQuestion) -> String {
///         "\"closed\"".to_owned()
///     }
/// }
///
/// fn join(network: &dyn SignalNetwork<u32>) -> u64 {
///     let member = network.join("tenant", SignalSystem::builder(), Arc::new(Closed));
///     member.system().system_id().get()
/// }
/// ```
pub trait SignalNetwork<T = ()>: fmt::Debug + Send + Sync {
    /// Makes the system, with a router to those that have joined in the same scope, and has them reach
    /// it and its desk. Nobody of another scope reaches either, whatever handles he has.
    ///
    /// It does not wait: where the network cannot be used now, it is joined later. Within a runtime,
    /// where the network needs one.
    fn join(
        &self,
        scope: &str,
        signals: SignalSystemBuilder<T>,
        desk: Arc<dyn SignalDesk>,
    ) -> Arc<dyn SignalMember<T>>;
}

/// A system that has joined a [`SignalNetwork`]. Dropped, it is for the others as if its process had
/// been killed.
pub trait SignalMember<T = ()>: fmt::Debug + Send + Sync {
    /// The system.
    fn system(&self) -> &SignalSystem<T>;

    /// Asks at the desk of the system `owner`, and gives its answer. What has an effect has it once,
    /// and not later than the answer is waited for.
    ///
    /// # Errors
    ///
    /// [`UnknownSignal`](SignalError::UnknownSignal) if there is no such system in the scope,
    /// [`OwnerLost`](SignalError::OwnerLost) if there was one and it did not answer in time, so that the
    /// effect is not known, [`NotCarried`](SignalError::NotCarried) for what is too long, and
    /// [`Exhausted`](SignalError::Exhausted) if too much is asked at once.
    fn ask(
        &self,
        owner: u64,
        question: SignalQuestion,
    ) -> MemberFuture<'_, Result<String, SignalError>>;

    /// Says farewell: who waits for pending signals of this system gets
    /// [`OwnerLost`](crate::PoisonKind::OwnerLost) at once.
    fn leave(&self) -> MemberFuture<'_, ()>;
}

/// What a system answers to others about its signals.
///
/// [`SignalNetwork`] has an example.
pub trait SignalDesk: fmt::Debug + Send + Sync {
    /// The answer to a question, as JSON text. It is called by the task that serves the system, so it
    /// must not block.
    fn answer(&self, question: SignalQuestion) -> String;
}

/// What is asked at a [`SignalDesk`], as JSON text.
///
/// ```
/// use reveille_core::SignalQuestion;
///
/// let question = SignalQuestion::Look("{\"names\":[]}".to_owned());
/// assert_eq!(question.text(), "{\"names\":[]}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalQuestion {
    /// What has no effect: it is answered each time that it arrives.
    Look(String),
    /// What has an effect, which it has once: the answer is kept for as long as it may arrive again.
    Act(String),
}

impl SignalQuestion {
    /// The text.
    ///
    /// ```
    /// # use reveille_core::SignalQuestion;
    /// assert_eq!(SignalQuestion::Act("1".to_owned()).text(), "1");
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Look(text) | Self::Act(text) => text,
        }
    }
}
