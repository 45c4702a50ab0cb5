//! Why a signal failed: its root causes, deduplicated and bounded.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::slice;
use std::sync::Arc;

use crate::SignalHandle;
use crate::text::clip;

/// The longest text of a merged poison, in bytes.
const MERGED_BYTES_MAX: usize = 900;

/// What a merged poison keeps of one cause's reason, in bytes.
const MERGED_CAUSE_BYTES_MAX: usize = 256;

/// In which way a signal failed.
///
/// ```
/// use reveille_core::{PoisonKind, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let awaiter = system.create()?.awaiter(); // the signal is dropped here
/// let poison = tokio_test::block_on(awaiter).unwrap_err();
/// assert_eq!(poison.kind(), PoisonKind::Dropped);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoisonKind {
    /// Somebody poisoned it and gave the reason.
    Explicit,
    /// The right to complete it was dropped unused.
    Dropped,
    /// The right to complete it was dropped by a panic.
    Panicked,
    /// The system was shut down before it was complete.
    ShutDown,
    /// The last owner of the system was dropped before it was complete.
    SystemDropped,
    /// Somebody cancelled it.
    Cancelled,
    /// The process that owns it can no longer be reached.
    OwnerLost,
    /// The system that owns it cannot tell how it ended, so nobody can wait for it elsewhere.
    Refused,
    /// Inputs of the merge failed.
    Merged,
}

impl PoisonKind {
    const ALL: [Self; 9] = [
        Self::Explicit,
        Self::Dropped,
        Self::Panicked,
        Self::ShutDown,
        Self::SystemDropped,
        Self::Cancelled,
        Self::OwnerLost,
        Self::Refused,
        Self::Merged,
    ];

    /// The kind of this stable name, if there is one.
    ///
    /// ```
    /// use reveille_core::PoisonKind;
    ///
    /// assert_eq!(PoisonKind::from_name("owner_lost"), Some(PoisonKind::OwnerLost));
    /// assert_eq!(PoisonKind::from_name("kaput"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The stable name of the kind.
    ///
    /// ```
    /// use reveille_core::PoisonKind;
    ///
    /// assert_eq!(PoisonKind::ShutDown.as_str(), "shut_down");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "explicit",
            Self::Dropped => "dropped",
            Self::Panicked => "panicked",
            Self::ShutDown => "shut_down",
            Self::SystemDropped => "system_dropped",
            Self::Cancelled => "cancelled",
            Self::OwnerLost => "owner_lost",
            Self::Refused => "refused",
            Self::Merged => "merged",
        }
    }
}

impl fmt::Display for PoisonKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One signal that failed by itself.
///
/// ```
/// use reveille_core::{Poison, PoisonKind, SignalHandle};
///
/// let handle = SignalHandle::from_raw(1);
/// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
/// let cause = &poison.causes()[0];
/// assert_eq!((cause.handle, cause.kind, &*cause.reason), (handle, PoisonKind::Explicit, "disk full"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The signal that failed.
    pub handle: SignalHandle,
    /// In which way; never [`PoisonKind::Merged`], since a merge fails by its inputs.
    pub kind: PoisonKind,
    /// The reason, as far as it is kept.
    pub reason: Arc<str>,
}

/// The failure of a signal: what went wrong first, and where. Clones share it.
///
/// The failure of a merge holds the root causes of its inputs, each once however many ways lead
/// to it. It is bounded: at most [`CAUSES_MAX`](Self::CAUSES_MAX) causes are kept, with the
/// count of all, and no text is longer than 1 KiB, this type's `Display` included for merges.
///
/// ```
/// use reveille_core::{PoisonKind, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let (disk, net) = (system.create()?, system.create()?);
/// let both = system.merge(&[disk.handle(), net.handle()])?;
/// let again = system.merge(&[both, disk.handle()])?;
///
/// let disk_handle = disk.handle();
/// disk.poison("disk full")?;
/// net.trigger(())?;
/// let poison = tokio_test::block_on(system.completion(again)?).unwrap_err();
/// assert_eq!(poison.kind(), PoisonKind::Merged);
/// let [root] = poison.causes() else { panic!("one root, though two ways lead to it") };
/// assert_eq!((root.handle, &*root.reason), (disk_handle, "disk full"));
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq, Eq)]
enum Inner {
    Root(Cause),
    Merged {
        handle: SignalHandle,
        reason: Box<str>,
        /// Distinct by handle, in the order of the inputs, at most `CAUSES_MAX`, at least one.
        causes: Vec<Cause>,
        /// At least `causes.len()`.
        cause_count: usize,
    },
}

impl Poison {
    /// The longest reason that is kept, in bytes; a longer one is cut.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let long = "x".repeat(5000);
    /// let poison = Poison::new(SignalHandle::from_raw(1), PoisonKind::Explicit, long);
    /// assert_eq!(poison.reason().len(), Poison::REASON_BYTES_MAX);
    /// ```
    pub const REASON_BYTES_MAX: usize = 1024;

    /// How many causes are kept.
    ///
    /// ```
    /// use reveille_core::{Poison, SignalSystem};
    ///
    /// let system = SignalSystem::<()>::new();
    /// let inputs: Result<Vec<_>, _> = (0..100).map(|_| system.create()).collect();
    /// let inputs = inputs?;
    /// let handles: Vec<_> = inputs.iter().map(|input| input.handle()).collect();
    /// let merged = system.merge(&handles)?;
    /// drop(inputs);
    /// let poison = tokio_test::block_on(system.completion(merged)?).unwrap_err();
    /// assert_eq!((poison.causes().len(), poison.cause_count()), (Poison::CAUSES_MAX, 100));
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub const CAUSES_MAX: usize = 16;

    /// The failure of a signal by itself.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let handle = SignalHandle::from_raw(1);
    /// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
    /// assert_eq!((poison.handle(), poison.kind()), (handle, PoisonKind::Explicit));
    /// assert_eq!((poison.reason(), poison.cause_count()), ("disk full", 1));
    /// ```
    pub fn new(handle: SignalHandle, kind: PoisonKind, reason: impl Into<Arc<str>>) -> Self {
        let reason = clip(reason.into(), Self::REASON_BYTES_MAX);
        Self {
            inner: Arc::new(Inner::Root(Cause {
                handle,
                kind,
                reason,
            })),
        }
    }

    /// The failure of a merge, from the failures of its inputs in their order.
    ///
    /// Without any failed input there is nothing that went wrong; the poison then names the
    /// merge itself as its cause.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let [a, b, merge] = [1, 2, 3].map(SignalHandle::from_raw);
    /// let disk = Poison::new(a, PoisonKind::Explicit, "disk full");
    /// let net = Poison::new(b, PoisonKind::Dropped, "gone");
    /// let poison = Poison::merged(merge, [&disk, &net]);
    /// assert_eq!(poison.kind(), PoisonKind::Merged);
    /// assert_eq!((poison.causes()[0].handle, poison.causes()[1].handle), (a, b));
    /// ```
    pub fn merged<'a>(handle: SignalHandle, inputs: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut roots = Roots::default();
        let mut count_max = 0;
        for input in inputs {
            // What the inputs themselves have left out may be the same causes, so nothing is
            // added up: the count never exceeds the truth.
            count_max = count_max.max(input.cause_count());
            for cause in input.causes() {
                roots.add(cause);
            }
        }
        roots.into_poison(handle, count_max)
    }

    /// The failure that has these causes, so many with those that were not kept: what another
    /// process told with [`handle`](Self::handle), [`causes`](Self::causes) and
    /// [`cause_count`](Self::cause_count).
    ///
    /// Bounded as any: causes beyond the first [`CAUSES_MAX`](Self::CAUSES_MAX) distinct ones
    /// are counted alone. Without any cause it names itself as its cause, as
    /// [`merged`](Self::merged) does.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let [a, b, merge] = [1, 2, 3].map(SignalHandle::from_raw);
    /// let disk = Poison::new(a, PoisonKind::Explicit, "disk full");
    /// let net = Poison::new(b, PoisonKind::Dropped, "gone");
    /// for told in [Poison::merged(merge, [&disk, &net]), disk] {
    ///     let causes = told.causes().iter().cloned();
    ///     let again = Poison::from_causes(told.handle(), causes, told.cause_count());
    ///     assert_eq!(again, told);
    /// }
    /// ```
    pub fn from_causes(
        handle: SignalHandle,
        causes: impl IntoIterator<Item = Cause>,
        cause_count: usize,
    ) -> Self {
        let mut causes = causes.into_iter().peekable();
        // No merge is among its own causes.
        if let Some(own) = causes.next_if(|cause| cause.handle == handle) {
            return Self::new(handle, own.kind, own.reason);
        }
        let mut roots = Roots::default();
        for cause in causes {
            roots.add(&cause);
        }
        roots.into_poison(handle, cause_count)
    }

    /// The signal that failed.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let handle = SignalHandle::from_raw(1);
    /// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
    /// assert_eq!(poison.handle(), handle);
    /// ```
    pub fn handle(&self) -> SignalHandle {
        match &*self.inner {
            Inner::Root(cause) => cause.handle,
            Inner::Merged { handle, .. } => *handle,
        }
    }

    /// In which way it failed.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let handle = SignalHandle::from_raw(1);
    /// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
    /// assert_eq!(poison.kind(), PoisonKind::Explicit);
    /// ```
    pub fn kind(&self) -> PoisonKind {
        match &*self.inner {
            Inner::Root(cause) => cause.kind,
            Inner::Merged { .. } => PoisonKind::Merged,
        }
    }

    /// The reason as text; of a merge, its causes with their reasons, as many as fit.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let handle = SignalHandle::from_raw(1);
    /// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
    /// assert_eq!(poison.reason(), "disk full");
    /// ```
    pub fn reason(&self) -> &str {
        match &*self.inner {
            Inner::Root(cause) => &cause.reason,
            Inner::Merged { reason, .. } => reason,
        }
    }

    /// The root causes, each once, in the order of the inputs; of a signal that failed by
    /// itself, that signal.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let handle = SignalHandle::from_raw(1);
    /// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
    /// assert_eq!(poison.causes()[0].handle, handle);
    /// ```
    pub fn causes(&self) -> &[Cause] {
        match &*self.inner {
            Inner::Root(cause) => slice::from_ref(cause),
            Inner::Merged { causes, .. } => causes,
        }
    }

    /// How many distinct root causes there are, those not kept included.
    ///
    /// Exact while no input had more causes than are kept, a lower bound beyond.
    ///
    /// ```
    /// use reveille_core::{Poison, PoisonKind, SignalHandle};
    ///
    /// let handle = SignalHandle::from_raw(1);
    /// let poison = Poison::new(handle, PoisonKind::Explicit, "disk full");
    /// assert_eq!(poison.cause_count(), 1);
    /// ```
    pub fn cause_count(&self) -> usize {
        match &*self.inner {
            Inner::Root(_) => 1,
            Inner::Merged { cause_count, .. } => *cause_count,
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.kind() == PoisonKind::Cancelled
    }

    /// The reason, shared where it can be.
    pub(super) fn shared_reason(&self) -> Arc<str> {
        match &*self.inner {
            Inner::Root(cause) => Arc::clone(&cause.reason),
            Inner::Merged { reason, .. } => Arc::from(&**reason),
        }
    }
}

/// The distinct causes of a merge, as they come.
#[derive(Default)]
struct Roots {
    seen: HashSet<SignalHandle>,
    kept: Vec<Cause>,
}

impl Roots {
    fn add(&mut self, cause: &Cause) {
        if self.seen.insert(cause.handle) && self.kept.len() < Poison::CAUSES_MAX {
            let reason = clip(Arc::clone(&cause.reason), MERGED_CAUSE_BYTES_MAX);
            self.kept.push(Cause { reason, ..*cause });
        }
    }

    /// The failure of a merge that has at least so many causes.
    fn into_poison(self, handle: SignalHandle, count_min: usize) -> Poison {
        let causes = self.kept;
        if causes.is_empty() {
            return Poison::new(handle, PoisonKind::Merged, "no input failed");
        }
        let cause_count = self.seen.len().max(count_min);
        let reason = merged_reason(&causes, cause_count).into();
        Poison {
            inner: Arc::new(Inner::Merged {
                handle,
                reason,
                causes,
                cause_count,
            }),
        }
    }
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "signal {} failed ({}): {}",
            self.handle(),
            self.kind(),
            self.reason()
        )
    }
}

impl std::error::Error for Poison {}

/// As many causes as fit, and the count of the rest.
fn merged_reason(causes: &[Cause], cause_count: usize) -> String {
    /// Room for the count of the rest.
    const REST_BYTES_MAX: usize = 40;
    let mut text = String::new();
    for (shown, cause) in causes.iter().enumerate() {
        let separator = if shown == 0 { "" } else { "; " };
        let part = format!(
            "{separator}{} {}: {}",
            cause.handle, cause.kind, cause.reason
        );
        if text.len() + part.len() > MERGED_BYTES_MAX - REST_BYTES_MAX {
            let _ = write!(text, "; and {} more", cause_count - shown);
            return text;
        }
        text.push_str(&part);
    }
    if cause_count > causes.len() {
        let _ = write!(text, "; and {} more", cause_count - causes.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(raw: u128, reason: &str) -> Poison {
        Poison::new(SignalHandle::from_raw(raw), PoisonKind::Explicit, reason)
    }

    #[test]
    fn merged_poison_is_bounded_and_counts_the_rest() {
        let long = "x".repeat(1 << 16);
        let inputs: Vec<_> = (1..=1000).map(|raw| root(raw, &long)).collect();
        assert_eq!(inputs[0].reason().len(), Poison::REASON_BYTES_MAX);

        let merged = Poison::merged(SignalHandle::from_raw(0), &inputs);
        assert_eq!(merged.causes().len(), Poison::CAUSES_MAX);
        assert_eq!(merged.cause_count(), 1000);
        assert!(merged.to_string().len() <= 1024);
        assert!(merged.reason().ends_with("; and 998 more"), "{merged}");

        // The same again adds nothing to the count.
        let again = Poison::merged(SignalHandle::from_raw(0), [&merged, &merged, &inputs[999]]);
        assert_eq!(again.cause_count(), 1000);
    }

    #[test]
    fn causes_keep_the_order_of_the_inputs() {
        let (a, b, c) = (root(3, "a"), root(2, "b"), root(1, "c"));
        let left = Poison::merged(SignalHandle::from_raw(9), [&b, &a]);
        let all = Poison::merged(SignalHandle::from_raw(10), [&c, &left, &a]);
        let reasons: Vec<_> = all.causes().iter().map(|cause| &*cause.reason).collect();
        assert_eq!(reasons, ["c", "b", "a"]);
        assert_eq!(all.cause_count(), 3);
        assert!(!all.reason().contains("more"), "{all}");
    }

    #[test]
    fn poison_told_by_its_parts_is_the_same() {
        let long = "x".repeat(1 << 16);
        let merge = |inputs: &[Poison]| Poison::merged(SignalHandle::from_raw(0), inputs);
        let roots: Vec<_> = (1..=1000).map(|raw| root(raw, &long)).collect();
        for poison in [&roots[0], &merge(&roots[..3]), &merge(&roots), &merge(&[])] {
            let causes = poison.causes().iter().cloned();
            let again = Poison::from_causes(poison.handle(), causes, poison.cause_count());
            assert_eq!(again, *poison);
        }
        // Whatever somebody else tells is bounded all the same.
        let causes = roots.iter().flat_map(|root| root.causes().to_vec());
        let told = Poison::from_causes(SignalHandle::from_raw(0), causes, 1);
        assert_eq!((told.causes().len(), told.cause_count()), (16, 1000));
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in PoisonKind::ALL {
            assert_eq!(PoisonKind::from_name(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn merge_of_nothing_that_failed_names_itself() {
        let merged = Poison::merged(SignalHandle::from_raw(9), []);
        assert_eq!(merged.causes()[0].handle, merged.handle());
    }
}
