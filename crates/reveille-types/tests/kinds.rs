//! Kinds: their alphabet, their reserved names, and what the registry knows of them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use reveille_types::{
    Class, EndReason, EventDraft, Finality, Kind, KindInfo, KindRegistry, limits,
};

use Class::{Control, Metering, Normal, Progress};
use Finality::{None as Nothing, Operation, Session};

fn kind(text: &str) -> Kind {
    Kind::parse(text).unwrap()
}

proptest! {
    #[test]
    fn kinds_take_their_alphabet_and_nothing_else(c in any::<char>()) {
        let legal = c.is_ascii_alphanumeric() || "_/:-".contains(c);
        prop_assert_eq!(Kind::parse(format!("a{c}b")).is_ok(), legal || c == '.');
        prop_assert_eq!(Kind::parse(c.to_string()).is_ok(), legal);
    }

    #[test]
    fn segments_join_to_the_kind(text in "[A-Za-z0-9_/:-]{1,8}(\\.[A-Za-z0-9_/:-]{1,8}){0,8}") {
        let kind = kind(&text);
        prop_assert_eq!(kind.segments().collect::<Vec<_>>().join("."), text);
        prop_assert!(kind.segments().all(|s| !s.is_empty()));
    }

    #[test]
    fn any_text_is_a_kind_or_an_error_about_the_type(text in "[a.]{0,6}|.*") {
        match Kind::parse(&text) {
            Ok(kind) => prop_assert_eq!(kind.as_str(), text),
            Err(refused) => prop_assert_eq!(refused.field(), "type"),
        }
    }
}

#[test]
fn empty_segments_are_refused() {
    for text in ["", ".", "..", ".a", "a.", "a..b"] {
        assert_eq!(Kind::parse(text).unwrap_err().field(), "type", "{text:?}");
    }
}

#[test]
fn kind_at_its_limit_is_accepted_and_one_byte_more_is_refused() {
    assert!(Kind::parse("k".repeat(limits::KIND_BYTES)).is_ok());
    let refused = Kind::parse("k".repeat(limits::KIND_BYTES + 1)).unwrap_err();
    assert_eq!(refused.sizes(), Some((128, 129)));
}

#[test]
fn control_names_are_reserved_and_their_neighbours_are_not() {
    for name in [
        "reveille",
        "reveille.gap",
        "reveille.x.y",
        "timeout",
        "connected",
        "gap",
        "reset",
        "end",
        "stream_error",
        "task.status.cancel_requested",
    ] {
        assert!(kind(name).is_reserved(), "{name}");
        let refused = EventDraft::new(kind(name)).check().unwrap_err();
        assert_eq!((refused.field(), refused.code()), ("type", "reserved_name"));
        assert_eq!(refused.to_string(), format!("type {name:?} is reserved"));
    }
    for name in [
        "reveilles",
        "Reveille.gap",
        "x.reveille",
        "timeout.soon",
        "my.end",
        "end.x",
        "Gap",
        "task.status.cancel_requested.x",
        "task.status",
    ] {
        assert!(!kind(name).is_reserved(), "{name}");
        assert_eq!(EventDraft::new(kind(name)).check(), Ok(()));
    }
}

/// The tables of the kinds that Reveille ships: agent messages, tasks, workflows and agents.
const TABLES: &[(&str, Class, Finality)] = &[
    ("agent.message", Normal, Nothing),
    ("worker.complete", Normal, Operation),
    ("worker_complete", Normal, Operation),
    ("worker_completed", Normal, Operation),
    ("agent.spawned", Normal, Nothing),
    ("agent.notify_parent", Normal, Nothing),
    ("agent.message_sent", Normal, Nothing),
    ("pr.merged", Normal, Nothing),
    ("pr.merge_failed", Normal, Nothing),
    ("task.status.pending", Normal, Nothing),
    ("task.status.working", Normal, Nothing),
    ("task.status.input_required", Normal, Nothing),
    ("task.status.auth_required", Normal, Nothing),
    ("task.status.completed", Normal, Session),
    ("task.status.failed", Normal, Session),
    ("task.status.cancelled", Normal, Session),
    ("task.status.rejected", Normal, Session),
    ("task.status.cancel_requested", Control, Nothing),
    ("task.progress", Progress, Nothing),
    ("task.artifact", Normal, Nothing),
    ("task.artifact.chunk", Normal, Nothing),
    ("task.error", Normal, Nothing),
    ("task.result", Normal, Session),
    ("checkpoint.saved", Normal, Nothing),
    ("checkpoint.superseded", Normal, Nothing),
    ("task.started", Normal, Nothing),
    ("task.completed", Normal, Operation),
    ("task.failed", Normal, Operation),
    ("task.skipped", Normal, Operation),
    ("workflow.started", Normal, Nothing),
    ("workflow.completed", Normal, Session),
    ("workflow.failed", Normal, Session),
    ("workflow.cancelled", Normal, Session),
    ("agent.heartbeat", Progress, Nothing),
    ("agent.failed", Normal, Operation),
    ("agent.recovered", Normal, Nothing),
    ("agent.registered", Normal, Nothing),
    ("agent.degraded", Normal, Nothing),
    ("agent.recovering", Normal, Nothing),
    ("agent.gave_up", Normal, Operation),
    ("agent.unregistered", Normal, Operation),
    ("compression.started", Normal, Nothing),
    ("compression.completed", Normal, Operation),
    ("storage.uploaded", Normal, Operation),
    ("storage.retrieved", Normal, Operation),
    ("storage.deleted", Normal, Operation),
    ("error.occurred", Normal, Nothing),
    ("error.loop_detected", Normal, Nothing),
    ("error.handler_failed", Normal, Nothing),
    ("warning.issued", Normal, Nothing),
    ("info.logged", Progress, Nothing),
];

#[test]
fn every_kind_of_the_tables_has_its_class_and_finality() {
    let registry = KindRegistry::standard();
    for &(name, class, finality) in TABLES {
        let info = registry.info(&kind(name));
        assert!(registry.knows(&kind(name)), "{name}");
        assert_eq!((info.class, info.finality), (class, finality), "{name}");
    }
}

/// The kinds of runs of agents: how many of each sort, and the rows that differ from their family.
#[test]
fn kinds_of_runs_have_their_classes_and_finalities() {
    let registry = KindRegistry::standard();
    let aliases = ["worker_complete", "worker_completed"];
    let work = TABLES.len() - aliases.len();
    assert_eq!(registry.kinds().count(), work + 172, "no row stands twice");
    let metering: BTreeSet<&str> = registry
        .kinds()
        .filter(|(_, info)| info.class == Metering)
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "cost.corrected",
        "cost.estimated",
        "model.usage_recorded",
        "usage.recorded",
    ];
    assert_eq!(metering, expected.into());
    for (name, class, finality) in [
        ("run.started", Normal, Nothing),
        ("run.completed", Normal, Session),
        ("run.failed", Normal, Session),
        ("run.cancelled", Normal, Session),
        ("run.cancel_requested", Normal, Nothing),
        ("turn.completed", Normal, Operation),
        ("model.stream_delta", Progress, Nothing),
        ("tool.completed", Normal, Operation),
        ("realtime.closed", Normal, Operation),
        ("output.deduped", Normal, Operation),
        ("recovery.journal_append_failed", Normal, Operation),
    ] {
        let info = registry.info(&kind(name));
        assert_eq!((info.class, info.finality), (class, finality), "{name}");
    }
}

#[test]
fn older_names_mean_their_kinds() {
    let registry = KindRegistry::standard();
    for (alias, name) in [
        ("worker_complete", "worker.complete"),
        ("worker_completed", "worker.complete"),
        ("agent_message", "agent.message"),
        ("task.complete", "task.result"),
        ("run_completed", "run.completed"),
        ("output_dispatch_failed", "output.failed"),
        ("child_lifecycle_detached", "child.detached"),
    ] {
        assert_eq!(registry.canonical(alias), name);
        assert!(registry.aliases_of(name).any(|other| other == alias));
        assert_eq!(registry.info(&kind(alias)), registry.info(&kind(name)));
    }
    assert_eq!(registry.canonical("task.completed"), "task.completed");
}

#[test]
fn unknown_kinds_are_normal_and_end_nothing() {
    let registry = KindRegistry::standard();
    for name in ["com.example.order.placed", "timeout", "task.result.x"] {
        assert!(!registry.knows(&kind(name)));
        assert_eq!(registry.info(&kind(name)), KindInfo::default());
    }
}

#[test]
fn every_registered_kind_can_be_parsed_and_every_session_final_says_why() {
    for (name, info) in KindRegistry::standard().kinds() {
        assert!(Kind::parse(name).is_ok(), "{name}");
        if info.finality == Session {
            assert!(info.end.is_some(), "{name}");
        }
    }
}

#[test]
fn reason_of_an_end_is_registered_or_read_from_the_name() {
    let mut registry = KindRegistry::standard();
    for (name, end) in [
        ("task.status.completed", EndReason::Completed),
        ("task.status.failed", EndReason::Failed),
        ("task.status.cancelled", EndReason::Cancelled),
        ("task.status.rejected", EndReason::Rejected),
        ("task.error", EndReason::Failed),
        ("task.result", EndReason::Completed),
        ("x.failed", EndReason::Failed),
        ("x.error", EndReason::Failed),
        ("x.cancelled", EndReason::Cancelled),
        ("x.canceled", EndReason::Cancelled),
        ("x.rejected", EndReason::Rejected),
        ("failed.x", EndReason::Completed),
    ] {
        assert_eq!(registry.end_reason(&kind(name)), end, "{name}");
    }
    let info = KindInfo {
        finality: Session,
        end: Some(EndReason::Closed),
        ..KindInfo::default()
    };
    registry.register(&kind("x.failed"), info);
    assert_eq!(registry.end_reason(&kind("x.failed")), EndReason::Closed);
    assert_eq!(registry.info(&kind("x.failed")), info);
}

#[test]
fn names_on_the_wire_are_what_serde_writes() {
    fn same(value: impl serde::Serialize, name: &str) {
        assert_eq!(serde_json::to_value(value).unwrap(), name);
    }
    for class in [Progress, Normal, Class::Metering, Control] {
        same(class, class.as_str());
    }
    for finality in [Nothing, Operation, Session] {
        same(finality, finality.as_str());
    }
    for end in [
        EndReason::Completed,
        EndReason::Failed,
        EndReason::Cancelled,
        EndReason::Rejected,
        EndReason::Closed,
        EndReason::Expired,
        EndReason::Deleted,
    ] {
        same(end, end.as_str());
    }
}
