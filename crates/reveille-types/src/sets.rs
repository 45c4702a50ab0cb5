//! Closed sets of words that producers, readers and policies agree on. Words and nothing else: what
//! follows from them is the business of whoever acts on them.

use crate::closed_set::closed_set;

closed_set! {
    /// What delivery of an event rests on.
    DeliverySemantics, "delivery_semantics" {
        /// Delivered to whoever listens, and gone.
        BestEffortLive = "best_effort_live",
        /// Stored first, delivered then.
        JournalBacked = "journal_backed",
        /// Delivered once more from what was stored.
        DerivedReplay = "derived_replay",
        /// Tells of a failure and is itself not stored.
        DiagnosticOnly = "diagnostic_only",
    }
}

closed_set! {
    /// Why a subscriber did not get events.
    OverflowReason, "overflow_reason" {
        /// Its queue had no place, and nothing in it could make one.
        SubscriberQueueFull = "subscriber_queue_full",
        /// It fell further behind than its bound allows.
        SubscriberLagged = "subscriber_lagged",
        /// What it asked for is no longer kept.
        LiveBufferExpired = "live_buffer_expired",
        /// Its policy gave up progress.
        PolicyDroppedProgress = "policy_dropped_progress",
        /// Its policy gave up events that end nothing.
        PolicyDroppedNonTerminal = "policy_dropped_non_terminal",
    }
}

closed_set! {
    /// What happens to events for a subscriber that is beyond its bound.
    OverflowPolicy, "overflow_policy" {
        /// Events that end nothing are not delivered while their places are taken.
        DropNonTerminal = "drop_non_terminal",
        /// Progress goes first.
        DropProgress = "drop_progress",
        /// Progress is folded into one summary.
        SummarizeAndContinue = "summarize_and_continue",
        /// The publisher waits; not for live subscriptions.
        BackpressureCaller = "backpressure_caller",
        /// The subscription ends.
        FailSubscriber = "fail_subscriber" | "disconnect",
        /// The oldest goes first.
        DropOldest = "drop_oldest",
        /// Only the latest of each kind is kept.
        LatestOnly = "latest_only" | "coalesce",
    }
}

closed_set! {
    /// How much of what an agent reads and writes is recorded in its events.
    ContentCapture, "content_capture" {
        /// Nothing.
        Off = "off",
        /// That it was there, and how large.
        MetadataOnly = "metadata_only",
        /// A summary without what is private.
        RedactedSummary = "redacted_summary",
        /// References to where the content is.
        PayloadRefs = "payload_refs",
        /// The content itself.
        RawContent = "raw_content",
    }
}

closed_set! {
    /// How much of an event a reader asks for.
    PayloadAccess, "payload_access" {
        /// The envelope.
        EnvelopeOnly = "envelope_only",
        /// A summary without what is private.
        RedactedSummary = "redacted_summary",
        /// References to where the content is.
        PayloadRefs = "payload_refs",
        /// Everything that policy lets the reader have.
        FullPayloadIfPolicyAllows = "full_payload_if_policy_allows",
    }
}

closed_set! {
    /// How long content is kept.
    Retention, "retention" {
        /// Not beyond its delivery.
        Ephemeral = "ephemeral",
        /// As long as its run.
        RunScoped = "run_scoped",
        /// As long as its session.
        SessionScoped = "session_scoped",
        /// Across restarts.
        Durable = "durable",
        /// Until somebody removes it.
        Persistent = "persistent",
        /// As the host decides.
        HostPolicy = "host_policy",
    }
}

closed_set! {
    /// How far what comes from somewhere is believed.
    Trust, "trust" {
        /// Fully.
        Trusted = "trusted",
        /// Made by the library itself.
        SdkGenerated = "sdk_generated",
        /// Made by the program that embeds it.
        HostProvided = "host_provided",
        /// Typed by a user.
        UserProvided = "user_provided",
        /// From another system.
        External = "external",
        /// Not at all.
        Untrusted = "untrusted",
    }
}

closed_set! {
    /// How far a run's wait for an event has come.
    WakeStatus, "wake_status" {
        /// It waits.
        Registered = "registered",
        /// The event came.
        Triggered = "triggered",
        /// The time was up first.
        TimedOut = "timed_out",
        /// Nobody waits any more.
        Cancelled = "cancelled",
        /// It can no longer come.
        Failed = "failed",
    }
}
