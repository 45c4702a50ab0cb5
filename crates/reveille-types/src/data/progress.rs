//! How far a task has come.

use serde::{Deserialize, Serialize};

use super::{Object, PayloadData, draft_of, is_false};
use crate::draft::EventDraft;
use crate::invalid::Invalid;
use crate::kind::{Class, Finality};

/// How far a task has come: `task.progress`. Progress is shed first under pressure and ends nothing.
///
/// The percentage always lies within 0 and 100. Work beyond its total is an overrun at 100 %, work
/// without a total is indeterminate at 0 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stated")]
pub struct Progress {
    current: u64,
    total: u64,
    percentage: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Object>,
    #[serde(skip_serializing_if = "is_false")]
    overrun: bool,
    #[serde(skip_serializing_if = "is_false")]
    indeterminate: bool,
}

impl Progress {
    /// `current` of `total` steps. Never fails, so that telling of progress cannot stop the work:
    /// what lies beyond the total is flagged.
    ///
    /// ```
    /// use reveille_types::data::Progress;
    ///
    /// let beyond = Progress::new(11, 10);
    /// assert_eq!((beyond.current(), beyond.percentage()), (11, 100.0));
    /// assert!(beyond.is_overrun());
    /// ```
    #[must_use]
    pub fn new(current: u64, total: u64) -> Self {
        Self {
            current,
            total,
            percentage: percentage(current, total),
            step: None,
            details: None,
            overrun: total > 0 && current > total,
            indeterminate: total == 0,
        }
    }

    /// `current` of `total` steps, for a caller who wants to know that they do not fit. Work without
    /// a total fits.
    ///
    /// # Errors
    /// [`Invalid`] names `current` when it lies beyond the total.
    pub fn checked(current: u64, total: u64) -> Result<Self, Invalid> {
        let progress = Self::new(current, total);
        if progress.overrun {
            let problem = format!("is {current}, which lies beyond the total of {total}");
            return Err(Invalid::form("current", problem));
        }
        Ok(progress)
    }

    /// The same within this step.
    #[must_use]
    pub fn with_step(mut self, step: impl Into<String>) -> Self {
        self.step = Some(step.into());
        self
    }

    /// The same with these details.
    #[must_use]
    pub fn with_details(mut self, details: Object) -> Self {
        self.details = Some(details);
        self
    }

    /// How many steps are done.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.current
    }

    /// How many steps there are; 0 when nobody knows.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How much is done, 0 to 100, to a millionth.
    #[must_use]
    pub fn percentage(&self) -> f64 {
        self.percentage
    }

    /// What is being done.
    #[must_use]
    pub fn step(&self) -> Option<&str> {
        self.step.as_deref()
    }

    /// More about it.
    #[must_use]
    pub fn details(&self) -> Option<&Object> {
        self.details.as_ref()
    }

    /// Whether more is done than there was to do.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.overrun
    }

    /// Whether nobody knows how much there is to do.
    #[must_use]
    pub fn is_indeterminate(&self) -> bool {
        self.indeterminate
    }
}

fn percentage(current: u64, total: u64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    let share = (current as f64 / total as f64).min(1.0) * 100.0;
    // Few digits, so that every JSON reader reads the same number.
    (share * 1e6).round() / 1e6
}

/// What a producer wrote. Flags follow from the numbers; a percentage of its own is kept.
#[derive(Deserialize)]
struct Stated {
    current: u64,
    total: u64,
    percentage: Option<f64>,
    step: Option<String>,
    details: Option<Object>,
}

impl TryFrom<Stated> for Progress {
    type Error = Invalid;

    fn try_from(stated: Stated) -> Result<Self, Invalid> {
        let counted = Self::new(stated.current, stated.total);
        let percentage = stated.percentage.unwrap_or(counted.percentage);
        if !(0.0..=100.0).contains(&percentage) {
            return Err(Invalid::form("percentage", "is not between 0 and 100"));
        }
        Ok(Self {
            percentage,
            step: stated.step,
            details: stated.details,
            ..counted
        })
    }
}

impl PayloadData for Progress {
    const KINDS: &'static [&'static str] = &["task.progress"];

    fn into_draft(self) -> EventDraft {
        draft_of("task.progress", Class::Progress, Finality::None, &self)
    }
}
