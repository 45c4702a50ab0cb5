//! What can be wrong with a backend.

macro_rules! flaws {
    ($($(#[$doc:meta])* $flaw:ident,)*) => {
        /// What is wrong with a backend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Flaw {
            $($(#[$doc])* $flaw,)*
        }

        impl Flaw {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$flaw,)*];
        }
    };
}

flaws! {
    /// Leaves out the position after each batch.
    LeavesHoles,
    /// Hands out the places of a batch in the reverse order.
    ReversesBatches,
    /// Stores the events of a refused batch that come before the one at fault.
    KeepsHalfABatch,
    /// Stores the events of a batch one by one.
    SplitsBatches,
    /// Looks where the log ends, and gives places from there later.
    NumbersFromAStaleEnd,
    /// Numbers the events of each log by themselves, not those of the tenant.
    NumbersEachLogAlone,
    /// Gives every incarnation the same epoch.
    KeepsTheEpoch,
    /// Does not keep the attributes of a log.
    LosesAttributes,
    /// Tells whoever opens a log the attributes that he has brought.
    TellsTheLastAttributes,
    /// Says that logs survive a restart, and forgets their attributes.
    ForgetsAttributesAtRestart,
    /// Does not look at idempotency keys.
    ForgetsKeys,
    /// Knows a key for a minute.
    ForgetsKeysEarly,
    /// Knows the keys of a tenant, of whatever log and incarnation.
    MixesUpKeys,
    /// Takes every event with a known key for the same event.
    IgnoresWhatAKeyStandsFor,
    /// Appends wherever the log ends.
    IgnoresTheExpectedPosition,
    /// Looks at the expected position of an append that it has stored already.
    ComparesRepeatedAppends,
    /// Promises every durability.
    PromisesEverything,
    /// Names a limit for batches, and takes larger ones.
    IgnoresItsLimit,
    /// Reads all that is there, however little is asked for.
    IgnoresReadLimits,
    /// Does not store one of the fields.
    LosesAField,
    /// Never wakes a watch.
    NeverWakes,
    /// Arms a watch when it is first polled.
    ArmsAtTheFirstPoll,
    /// Wakes a watch for changes, not for what is there.
    SleepsOnWhatIsThere,
    /// Wakes one watch at a time.
    WakesOneOfMany,
    /// Wakes a hundred watches, and no more.
    StopsWaking,
    /// Does not wake a watch for a seal.
    SleepsThroughASeal,
    /// Does not wake a watch when its log is gone.
    SleepsThroughRemoval,
    /// Wakes every watch at once.
    NeverSleeps,
    /// Keeps the wakers of dropped watches.
    KeepsDroppedWatches,
    /// Seals again what is sealed.
    LastSealStays,
    /// Tells every caller that it was the one who sealed.
    EverySealWins,
    /// Says that a log is sealed, and appends to it.
    SealsNothing,
    /// Stores the last batch, and not that it is the last.
    LeavesTheLastBatchOpen,
    /// Stores the last batch, and seals later.
    SealsBehindTheLastBatch,
    /// Seals for a last batch that it has stored already, or refuses.
    SealsForNothing,
    /// Trims one event more than it should.
    TrimsOneTooMany,
    /// Refuses to trim beyond the end.
    RefusesToTrimBeyondTheEnd,
    /// Takes the last trim for the oldest position.
    TellsTheLastTrim,
    /// Lets handles of an old incarnation append to the new one.
    OldHandlesWriteOn,
    /// Looks whether a log is stored, and makes it later.
    CreatesTwice,
    /// Opens another log each time.
    OpensAnotherLog,
    /// Puts all tenants into one.
    TearsDownTheWalls,
    /// Lists from the first log, wherever it is asked to go on.
    ListsFromTheFirst,
    /// Makes a log when asked for the one that is stored.
    FindsWhatIsNotThere,
    /// Lists a log that it does not store.
    ListsGhosts,
    /// Says that it removed what it never had.
    RemovesGhosts,
    /// Says that it removes a log, and keeps it.
    RemovesNothing,
    /// Removes whatever incarnation there is, whichever it was asked for.
    RemovesAnyIncarnation,
    /// Says that logs survive a restart.
    SurvivesOnPaper,
    /// Says that logs survive a restart, and forgets their keys.
    ForgetsKeysAtRestart,
    /// Says that logs survive a restart, and begins the order of a tenant anew.
    ForgetsTheOrderAtRestart,
    /// Begins the order of a tenant anew each time it is asked.
    BeginsTheOrderAnew,
    /// Has one order epoch for all tenants.
    OneOrderForAll,
    /// Says that it reads the order, and does not; or the other way round.
    PromisesTheOrder,
    /// Reads the order log by log.
    ReadsOneLogAfterTheOther,
    /// Leaves the last event out of each page of the order.
    SkipsInTheOrder,
    /// Says that its handles have the other shape.
    DeniesItsShape,
    /// Does not work.
    IsUnwell,
}
