//! How much an event matters under pressure.

use reveille_types::{Class, Event, Finality};

/// How much an event matters to a subscriber that cannot have all. What is lower goes first: no event
/// is given up while one of lower rank is there to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// Only the latest matters.
    Progress,
    /// An ordinary event.
    Normal,
    /// Usage and cost, and what Reveille itself says.
    Metering,
    /// Ends an operation.
    OperationFinal,
    /// Ends the session.
    SessionFinal,
}

impl Rank {
    /// All ranks, the one that goes first first.
    pub const ALL: [Self; 5] = [
        Self::Progress,
        Self::Normal,
        Self::Metering,
        Self::OperationFinal,
        Self::SessionFinal,
    ];

    /// The rank of an event. What it ends counts before its class.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        match (event.finality(), event.envelope().class) {
            (Finality::Session, _) => Self::SessionFinal,
            (Finality::Operation, _) => Self::OperationFinal,
            (Finality::None, Class::Metering | Class::Control) => Self::Metering,
            (Finality::None, Class::Normal) => Self::Normal,
            (Finality::None, Class::Progress) => Self::Progress,
        }
    }

    /// Whether such an event ends something.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= Self::OperationFinal
    }
}
