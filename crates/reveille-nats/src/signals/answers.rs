//! The answers that an owner keeps, so that a request that comes again has its effect once.
//!
//! A request says until when it holds, on the owner's clock. Its answer is kept for as long and a little
//! longer, and what comes later is not carried out: so nothing is carried out twice, however late a
//! repetition arrives. The clock is the caller's.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::message::Answer;
use super::run::Run;

/// How much longer an answer is kept than its request holds.
const LINGER: Duration = Duration::from_secs(1);

/// Who asks, and the number of the request there.
pub(super) type Key = (Run, u64);

/// What to do with a request.
#[derive(Debug)]
pub(super) enum Step {
    /// Carry it out, and [`keep`](Answers::keep) the answer.
    Fresh,
    /// It has been carried out; this was the answer.
    Repeat(Answer),
    /// It does not hold any more.
    Late,
    /// There is no room for its answer, or it would be kept too long. It may come again.
    NoRoom,
}

/// The answers given lately.
#[derive(Debug)]
pub(super) struct Answers {
    max: usize,
    /// How far away the end of a request may be.
    ahead_max: Duration,
    kept: HashMap<Key, Answer>,
    /// When each answer may be forgotten.
    until: BTreeSet<(Duration, Key)>,
}

impl Answers {
    pub(super) fn new(max: usize, ahead_max: Duration) -> Self {
        Self {
            max,
            ahead_max,
            kept: HashMap::new(),
            until: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// A request that holds until `by` has come.
    pub(super) fn begin(&mut self, now: Duration, key: Key, by: Duration) -> Step {
        self.forget(now);
        if let Some(answer) = self.kept.get(&key) {
            return Step::Repeat(answer.clone());
        }
        if by < now {
            return Step::Late;
        }
        if self.kept.len() >= self.max || by > now + self.ahead_max {
            return Step::NoRoom;
        }
        Step::Fresh
    }

    /// The request that was fresh has been answered.
    pub(super) fn keep(&mut self, key: Key, by: Duration, answer: Answer) {
        if self.kept.insert(key, answer).is_none() {
            self.until.insert((by + LINGER, key));
        }
    }

    /// Forgets what is kept no longer.
    pub(super) fn forget(&mut self, now: Duration) {
        while let Some((until, key)) = self.until.first().copied()
            && until < now
        {
            self.until.pop_first();
            self.kept.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 4;
    const AHEAD_MAX: Duration = Duration::from_millis(500);

    /// Requests of two nodes, as they are sent: the number of each, and how long it holds.
    fn requests() -> impl Strategy<Value = Vec<(bool, u64)>> {
        proptest::collection::vec((any::<bool>(), 0_u64..700), 1..20)
    }

    /// What the network does: which request arrives, again and again, and how much later.
    fn arrivals() -> impl Strategy<Value = Vec<(usize, u64)>> {
        proptest::collection::vec((0_usize..20, 0_u64..900), 0..200)
    }

    /// An answer that can be told from those to other requests.
    fn answer(number: usize) -> Answer {
        let mut error = reveille_core::SignalError::UnknownSignal;
        if number > 0 {
            error = reveille_core::SignalError::Exhausted { limit: number };
        }
        Answer::Refused(super::super::ends::ErrorText::write(&error))
    }

    fn text(answer: &Answer) -> String {
        serde_json::to_string(answer).unwrap()
    }

    proptest! {
        /// However messages are repeated, delayed and reordered.
        #[test]
        fn d015_a_request_has_its_effect_once_and_one_answer(
            requests in requests(),
            arrivals in arrivals(),
        ) {
            let mut answers = Answers::new(MAX, AHEAD_MAX);
            let mut effects = vec![0; requests.len()];
            let mut told = vec![None; requests.len()];
            let mut now = Duration::ZERO;
            for (which, later) in arrivals {
                now += Duration::from_millis(later);
                let which = which % requests.len();
                let (node, holds) = requests[which];
                // By the clock of the owner when it was sent: at the beginning.
                let by = Duration::from_millis(holds);
                let key = (Run(u64::from(node)), which as u64);
                match answers.begin(now, key, by) {
                    Step::Fresh => {
                        prop_assert!(now <= by, "a late one has no effect");
                        effects[which] += 1;
                        let given = answer(which);
                        told[which] = Some(text(&given));
                        answers.keep(key, by, given);
                    }
                    Step::Repeat(given) => prop_assert_eq!(&Some(text(&given)), &told[which]),
                    Step::Late => prop_assert!(now > by),
                    Step::NoRoom => prop_assert!(
                        answers.len() == MAX || by > now + AHEAD_MAX,
                        "there is room"
                    ),
                }
                prop_assert!(effects[which] <= 1, "carried out twice");
                prop_assert!(answers.len() <= MAX);
                prop_assert_eq!(answers.kept.len(), answers.until.len());
            }
        }
    }

    #[test]
    fn answers_are_forgotten_after_their_requests_ended_and_make_room() {
        let mut answers = Answers::new(1, AHEAD_MAX);
        let by = Duration::from_millis(100);
        assert!(matches!(
            answers.begin(Duration::ZERO, (Run(1), 1), by),
            Step::Fresh
        ));
        answers.keep((Run(1), 1), by, answer(0));
        assert!(matches!(answers.begin(by, (Run(1), 2), by), Step::NoRoom));
        let later = by + LINGER;
        assert!(matches!(
            answers.begin(later, (Run(1), 1), by),
            Step::Repeat(_)
        ));
        let later = later + Duration::from_millis(1);
        assert!(matches!(answers.begin(later, (Run(1), 1), by), Step::Late));
        assert!(matches!(
            answers.begin(later, (Run(1), 2), later),
            Step::Fresh
        ));
    }
}
