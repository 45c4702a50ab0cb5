//! Typed payloads: their JSON, their kinds, and what class and finality follow from the data.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::fmt::Debug;
use std::time::Duration;

use proptest::prelude::*;
use reveille_types::data::{
    AgentMessage, Artifact, Object, PayloadData, Progress, Status, TaskError, TaskResult,
    TaskState, WorkerCompletion,
};
use reveille_types::{Class, EventDraft, Finality, KindRegistry, Label, Payload, decode_event};
use serde_json::{Value, json};

mod common;
use common::place;

fn object(value: Value) -> Object {
    serde_json::from_value(value).unwrap()
}

/// The draft of `data`, which is read back from the JSON of its event.
fn round_trip<T: PayloadData + PartialEq + Clone + Debug>(data: &T) -> EventDraft {
    let draft = data.clone().into_draft();
    draft.check().unwrap();
    assert!(T::KINDS.contains(&draft.kind.as_str()));
    let event = place(draft.clone(), 3);
    let read = decode_event(std::str::from_utf8(event.json()).unwrap()).unwrap();
    assert_eq!(
        T::from_payload(&read.kind, &read.payload).as_ref(),
        Ok(data)
    );
    assert_eq!(T::from_event(&event).as_ref(), Ok(data));
    draft
}

/// A golden file holds the payload of one event a line.
fn golden<T: PayloadData + PartialEq + Clone + Debug>(want: &str, data: &[T]) {
    let lines: Vec<String> = data
        .iter()
        .map(|data| {
            let draft = round_trip(data);
            let text = draft.payload.as_text().unwrap();
            format!("{} {text}\n", draft.kind)
        })
        .collect();
    assert_eq!(lines.concat(), want);
}

#[test]
fn payloads_are_written_as_the_golden_files_say() {
    golden(
        include_str!("golden/data_status.txt"),
        &TaskState::ALL
            .iter()
            .map(|state| Status::new(*state))
            .chain([Status::new(TaskState::Working)
                .with_phase("extract")
                .with_message("page 3\u{2028}of 9")])
            .collect::<Vec<_>>(),
    );
    golden(
        include_str!("golden/data_progress.txt"),
        &[
            Progress::new(3, 10),
            Progress::new(1, 3)
                .with_step("upload")
                .with_details(object(json!({"file": "a.txt"}))),
            Progress::new(11, 10),
            Progress::new(5, 0),
        ],
    );
    let artifact = || Artifact::new("report", "art_0123abcd", object(json!({"text": "a"})));
    golden(
        include_str!("golden/data_artifact.txt"),
        &[
            artifact(),
            artifact().first_chunk(),
            artifact().next_chunk(),
            artifact().last_chunk(),
        ],
    );
    golden(
        include_str!("golden/data_task_error.txt"),
        &[
            TaskError::new("ParseError", "line 3"),
            TaskError::new("ParseError", "line 3")
                .fatal()
                .with_code("E42")
                .with_context(object(json!({"file": "a.txt"}))),
        ],
    );
    golden(
        include_str!("golden/data_task_result.txt"),
        &[
            TaskResult::new(Object::new()),
            TaskResult::new(object(json!({"pages": 9})))
                .with_summary("done")
                .with_execution_time(Duration::from_micros(1_500_700)),
        ],
    );
    golden(
        include_str!("golden/data_agent_message.txt"),
        &[AgentMessage {
            agent_id: "agent-7".into(),
            status: "pr.merged".into(),
            changes: vec!["src/lib.rs".into()],
            message: "merged".into(),
        }],
    );
    golden(
        include_str!("golden/data_worker_completion.txt"),
        &[WorkerCompletion {
            worker_id: "w1".into(),
            status: "success".into(),
            changes: Vec::new(),
            message: "done".into(),
        }],
    );
}

/// Requirement 001-D22.
#[test]
fn d001_22_progress_beyond_its_total_is_clamped_and_flagged_or_refused_by_name() {
    let beyond = Progress::new(11, 10);
    assert_eq!((beyond.current(), beyond.total()), (11, 10));
    assert_eq!(beyond.percentage(), 100.0);
    assert!(beyond.is_overrun() && !beyond.is_indeterminate());

    let endless = Progress::new(5, 0);
    assert_eq!((endless.current(), endless.percentage()), (5, 0.0));
    assert!(endless.is_indeterminate() && !endless.is_overrun());

    let refused = Progress::checked(11, 10).unwrap_err();
    assert_eq!(refused.field(), "current");
    assert_eq!(Progress::checked(10, 10).unwrap(), Progress::new(10, 10));
    assert_eq!(Progress::checked(5, 0).unwrap(), endless);
    for draft in [beyond.into_draft(), endless.into_draft()] {
        assert_eq!(draft.check(), Ok(()));
        assert_eq!(draft.class, Some(Class::Progress));
    }
}

#[test]
fn progress_of_other_producers_is_completed_or_refused() {
    let read = |text: &str| {
        let kind = "task.progress".parse().unwrap();
        Progress::from_payload(&kind, &Payload::json_text(text).unwrap())
    };
    assert_eq!(
        read(r#"{"current":3,"total":10}"#),
        Ok(Progress::new(3, 10))
    );
    assert!(read(r#"{"current":11,"total":10}"#).unwrap().is_overrun());
    let own = read(r#"{"current":3,"total":10,"percentage":12.5,"new":1}"#).unwrap();
    assert_eq!(own.percentage(), 12.5);
    for (wrong, name) in [
        (r#"{"current":3,"total":10,"percentage":101}"#, "percentage"),
        (r#"{"current":3,"total":10,"percentage":-1}"#, "percentage"),
        (r#"{"current":-1,"total":10}"#, "-1"),
        (r#"{"total":10}"#, "current"),
    ] {
        let refused = read(wrong).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

#[test]
fn class_and_finality_are_those_of_the_registry_for_every_status() {
    let registry = KindRegistry::standard();
    for state in TaskState::ALL {
        let draft = Status::new(*state).into_draft();
        let info = registry.info(&draft.kind);
        assert!(registry.knows(&draft.kind), "{}", draft.kind);
        assert_eq!(draft.class, Some(info.class));
        assert_eq!(draft.finality, Some(info.finality), "{}", draft.kind);
        assert_eq!(state.is_terminal(), info.finality == Finality::Session);
    }
    assert_eq!(Status::KINDS.len(), TaskState::ALL.len());
}

#[test]
fn an_error_ends_the_session_only_if_it_is_not_recoverable() {
    let error = TaskError::new("Io", "disk full");
    assert_eq!(error.clone().into_draft().finality, Some(Finality::None));
    let fatal = error.fatal().into_draft();
    assert_eq!(fatal.finality, Some(Finality::Session));
    // An item of a batch can fail for good while the batch goes on.
    let marked = fatal.with_finality(Finality::None);
    assert_eq!(place(marked, 0).finality(), Finality::None);
}

#[test]
fn a_completed_status_can_be_followed_by_a_last_event() {
    let status = Status::new(TaskState::Completed);
    let ends = place(status.clone().into_draft(), 0);
    assert_eq!(ends.finality(), Finality::Session);
    let followed = status.clone().into_draft().with_finality(Finality::None);
    let event = place(followed, 0);
    assert_eq!(event.finality(), Finality::None);
    assert_eq!(Status::from_event(&event), Ok(status));
    let result = TaskResult::new(Object::new()).into_draft();
    assert_eq!(result.finality, Some(Finality::Session));
}

#[test]
fn the_kind_tells_the_state_and_the_payload_must_not_contradict() {
    let read = |kind: &str, text: &str| {
        Status::from_payload(&kind.parse().unwrap(), &Payload::json_text(text).unwrap())
    };
    let kind = "task.status.cancelled";
    let cancelled = Status::new(TaskState::Cancelled);
    assert_eq!(read(kind, "{}"), Ok(cancelled.clone()));
    assert_eq!(read(kind, r#"{"state":"canceled"}"#), Ok(cancelled.clone()));
    let none = Status::from_payload(&kind.parse().unwrap(), &Payload::none());
    assert_eq!(none, Ok(cancelled));
    let refused = read(kind, r#"{"state":"working"}"#).unwrap_err();
    assert_eq!(refused.field(), "data.state");
    assert_eq!(read("task.progress", "{}").unwrap_err().field(), "type");
}

/// Requirement 001-D26, as far as states go.
#[test]
fn d001_26_every_state_comes_back_from_both_spellings_of_a2a() {
    for state in TaskState::ALL {
        assert_eq!(state.a2a().parse(), Ok(*state));
        assert_eq!(state.a2a_v03().parse(), Ok(*state));
        assert_eq!(state.as_str().parse(), Ok(*state));
        assert_eq!(TaskState::of_kind(state.kind()), Some(*state));
    }
    assert_eq!(TaskState::Cancelled.a2a_v03(), "canceled");
    assert_eq!(TaskState::Pending.a2a_v03(), "submitted");
    assert_eq!(TaskState::AuthRequired.a2a(), "TASK_STATE_AUTH_REQUIRED");
    for unknown in ["unknown", "TASK_STATE_UNSPECIFIED", "Working", ""] {
        let refused = unknown.parse::<TaskState>().unwrap_err();
        assert_eq!(refused.field(), "state", "{unknown}");
    }
}

/// Requirement 001-D26: the flags of an A2A `TaskArtifactUpdateEvent`.
#[test]
fn d001_26_chunks_of_an_artifact_have_the_flags_of_a2a() {
    let artifact = || Artifact::new("text", "art_1", Object::new());
    let flags = |artifact: Artifact| (artifact.append, artifact.is_last());
    assert_eq!(flags(artifact()), (false, true));
    assert_eq!(flags(artifact().first_chunk()), (false, false));
    assert_eq!(flags(artifact().next_chunk()), (true, false));
    assert_eq!(flags(artifact().last_chunk()), (true, true));
}

#[test]
fn a_payload_that_is_no_object_is_refused() {
    let array = Payload::json_text(r#"["a","b",[],"c"]"#).unwrap();
    let bytes = Payload::bytes(None, "{}").unwrap();
    for payload in [array, bytes, Payload::none(), Payload::json(&7).unwrap()] {
        let message = AgentMessage::from_payload(&"agent.message".parse().unwrap(), &payload);
        assert_eq!(message.unwrap_err().field(), "data");
    }
    let array = Payload::json_text(r#"["working",null,null]"#).unwrap();
    let status = Status::from_payload(&"task.status.working".parse().unwrap(), &array);
    assert_eq!(status.unwrap_err().field(), "data");
}

#[test]
fn older_names_of_kinds_are_read() {
    let payload = Payload::json(&json!({"worker_id": "w", "more": 1})).unwrap();
    for kind in WorkerCompletion::KINDS {
        let read = WorkerCompletion::from_payload(&kind.parse().unwrap(), &payload).unwrap();
        assert_eq!(read.worker_id, "w");
        assert_eq!((read.status.as_str(), read.changes.len()), ("", 0));
    }
}

#[test]
fn agents_and_workers_stand_in_the_envelope_if_they_are_labels() {
    let message = |agent_id: &str| AgentMessage {
        agent_id: agent_id.into(),
        status: String::new(),
        changes: Vec::new(),
        message: String::new(),
    };
    let agent = message("a").into_draft().agent;
    assert_eq!(agent.as_ref().map(Label::as_str), Some("a"));
    for no_label in ["", "\n", &"x".repeat(300)] {
        assert_eq!(round_trip(&message(no_label)).agent, None);
    }
}

fn texts() -> impl Strategy<Value = String> {
    "[ -~\\n\u{0}\u{85}\u{2028}é😀]{0,8}"
}

fn objects() -> impl Strategy<Value = Object> {
    let value = prop_oneof![
        texts().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop::collection::vec(any::<bool>(), 0..3).prop_map(Value::from),
    ];
    prop::collection::btree_map(texts(), value, 0..3).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #[test]
    fn status_comes_back(
        state in prop::sample::select(TaskState::ALL),
        phase in prop::option::of(texts()), message in prop::option::of(texts()),
    ) {
        round_trip(&Status { state, phase, message });
    }

    #[test]
    fn progress_comes_back_and_its_percentage_is_a_share(
        current in prop_oneof![0..20u64, any::<u64>()], total in prop_oneof![0..20u64, any::<u64>()],
        step in prop::option::of(texts()), details in prop::option::of(objects()),
    ) {
        let mut progress = Progress::new(current, total);
        if let Some(step) = step {
            progress = progress.with_step(step);
        }
        if let Some(details) = details {
            progress = progress.with_details(details);
        }
        round_trip(&progress);
        prop_assert!((0.0..=100.0).contains(&progress.percentage()));
        prop_assert_eq!(progress.is_overrun(), total > 0 && current > total);
        prop_assert_eq!(Progress::checked(current, total).is_err(), progress.is_overrun());
    }

    #[test]
    fn artifact_comes_back(
        artifact_type in texts(), artifact_id in texts(), data in objects(),
        is_partial: bool, append: bool, last_chunk: bool,
    ) {
        round_trip(&Artifact { artifact_type, artifact_id, data, is_partial, append, last_chunk });
    }

    #[test]
    fn error_comes_back(
        error_type in texts(), error_message in texts(), error_code in prop::option::of(texts()),
        context in prop::option::of(objects()), recoverable: bool,
    ) {
        let error = TaskError { error_type, error_message, error_code, context, recoverable };
        // What the registry would make of the payload alone is the same.
        let mut stated = round_trip(&error);
        let finality = stated.finality.take().unwrap();
        prop_assert_eq!(place(stated, 0).finality(), finality);
    }

    #[test]
    fn result_comes_back(
        result in objects(), summary in prop::option::of(texts()),
        millis in prop::option::of(0..1_000_000_000_000u64),
    ) {
        let mut data = TaskResult::new(result);
        data.summary = summary;
        if let Some(millis) = millis {
            data = data.with_execution_time(Duration::from_millis(millis));
        }
        round_trip(&data);
    }

    #[test]
    fn messages_and_completions_come_back(
        id in texts(), status in texts(), changes in prop::collection::vec(texts(), 0..3),
        message in texts(),
    ) {
        round_trip(&AgentMessage {
            agent_id: id.clone(),
            status: status.clone(),
            changes: changes.clone(),
            message: message.clone(),
        });
        round_trip(&WorkerCompletion { worker_id: id, status, changes, message });
    }
}
