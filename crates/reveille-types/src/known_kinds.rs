//! The known kinds, row by row.

use crate::kind::{Class, EndReason, Finality, Kind};
use crate::registry::KindInfo;

/// A kind, its older names, and what is known of it.
pub(crate) type Row = (&'static str, &'static [&'static str], KindInfo);

const fn row(kind: &'static str, class: Class, finality: Finality, end: Option<EndReason>) -> Row {
    let info = KindInfo {
        class,
        finality,
        end,
    };
    (kind, &[], info)
}

const fn ends(kind: &'static str, end: EndReason) -> Row {
    row(kind, Class::Normal, Finality::Session, Some(end))
}

const fn operation(kind: &'static str) -> Row {
    row(kind, Class::Normal, Finality::Operation, None)
}

const fn normal(kind: &'static str) -> Row {
    row(kind, Class::Normal, Finality::None, None)
}

const fn progress(kind: &'static str) -> Row {
    row(kind, Class::Progress, Finality::None, None)
}

const fn metering(kind: &'static str) -> Row {
    row(kind, Class::Metering, Finality::None, None)
}

/// The same row under older names, too.
const fn also((kind, _, info): Row, aliases: &'static [&'static str]) -> Row {
    (kind, aliases, info)
}

/// Kinds of messages, tasks, workflows, workers, supervised agents and storage.
///
/// `task.error` is not final here on purpose: whether it ends the session depends on its payload
/// (`recoverable`), see [`EventDraft`](crate::EventDraft).
pub(crate) const WORK: [Row; 49] = [
    also(normal("agent.message"), &["agent_message"]),
    also(
        operation("worker.complete"),
        &["worker_complete", "worker_completed"],
    ),
    normal("agent.spawned"),
    normal("agent.notify_parent"),
    normal("agent.message_sent"),
    normal("pr.merged"),
    normal("pr.merge_failed"),
    normal("task.status.pending"),
    normal("task.status.working"),
    normal("task.status.input_required"),
    normal("task.status.auth_required"),
    ends("task.status.completed", EndReason::Completed),
    ends("task.status.failed", EndReason::Failed),
    ends("task.status.cancelled", EndReason::Cancelled),
    ends("task.status.rejected", EndReason::Rejected),
    row(Kind::CANCEL_REQUESTED, Class::Control, Finality::None, None),
    progress("task.progress"),
    normal("task.artifact"),
    normal("task.artifact.chunk"),
    row(
        "task.error",
        Class::Normal,
        Finality::None,
        Some(EndReason::Failed),
    ),
    also(
        ends("task.result", EndReason::Completed),
        &["task.complete"],
    ),
    normal("checkpoint.saved"),
    normal("checkpoint.superseded"),
    normal("task.started"),
    operation("task.completed"),
    operation("task.failed"),
    operation("task.skipped"),
    normal("workflow.started"),
    ends("workflow.completed", EndReason::Completed),
    ends("workflow.failed", EndReason::Failed),
    ends("workflow.cancelled", EndReason::Cancelled),
    progress("agent.heartbeat"),
    operation("agent.failed"),
    normal("agent.recovered"),
    normal("agent.registered"),
    normal("agent.degraded"),
    normal("agent.recovering"),
    operation("agent.gave_up"),
    operation("agent.unregistered"),
    normal("compression.started"),
    operation("compression.completed"),
    operation("storage.uploaded"),
    operation("storage.retrieved"),
    operation("storage.deleted"),
    normal("error.occurred"),
    normal("error.loop_detected"),
    normal("error.handler_failed"),
    normal("warning.issued"),
    progress("info.logged"),
];

/// Kinds of runs of agents: turns, models, tools, approvals, hooks, isolation, pools, telemetry, recovery.
pub(crate) const RUNS: [Row; 172] = [
    also(normal("run.started"), &["run_started"]),
    also(normal("run.checkpointed"), &["run_checkpointed"]),
    also(
        ends("run.completed", EndReason::Completed),
        &["run_completed"],
    ),
    also(ends("run.failed", EndReason::Failed), &["run_failed"]),
    also(
        ends("run.cancelled", EndReason::Cancelled),
        &["run_cancelled"],
    ),
    also(normal("run.cancel_requested"), &["run_cancel_requested"]),
    also(normal("run.resume_requested"), &["run_resume_requested"]),
    also(normal("run.resume_failed"), &["run_resume_failed"]),
    also(normal("turn.started"), &["turn_started"]),
    also(normal("context.assembled"), &["context_assembled"]),
    also(
        normal("provider.request_projected"),
        &["provider_request_projected"],
    ),
    also(operation("turn.completed"), &["turn_completed"]),
    also(operation("turn.failed"), &["turn_failed"]),
    also(normal("message.accepted"), &["message_accepted"]),
    also(normal("message.part_added"), &["message_part_added"]),
    also(normal("message.committed"), &["message_committed"]),
    also(normal("message.redacted"), &["message_redacted"]),
    also(normal("message.projected"), &["message_projected"]),
    also(operation("message.dropped"), &["message_dropped"]),
    also(normal("model.attempt_started"), &["model_attempt_started"]),
    also(progress("model.stream_delta"), &["model_stream_delta"]),
    also(
        operation("model.message_completed"),
        &["model_message_completed"],
    ),
    also(metering("model.usage_recorded"), &["model_usage_recorded"]),
    also(normal("model.attempt_retried"), &["model_attempt_retried"]),
    also(operation("model.attempt_failed"), &["model_attempt_failed"]),
    also(
        operation("model.attempt_cancelled"),
        &["model_attempt_cancelled"],
    ),
    also(
        normal("stream_rule.registered"),
        &["stream_rule_registered"],
    ),
    also(
        normal("stream_rule.compile_failed"),
        &["stream_rule_compile_failed"],
    ),
    also(normal("stream_rule.matched"), &["stream_rule_matched"]),
    also(
        normal("stream_intervention.requested"),
        &["stream_intervention_requested"],
    ),
    also(
        normal("stream_intervention.applied"),
        &["stream_intervention_applied"],
    ),
    also(
        operation("stream_intervention.failed"),
        &["stream_intervention_failed"],
    ),
    also(
        normal("stream_rule.injection_appended"),
        &["stream_rule_injection_appended"],
    ),
    also(
        progress("stream_rule.repeat_state_recorded"),
        &["stream_rule_repeat_state_recorded"],
    ),
    also(
        normal("structured_output.requested"),
        &["structured_output_requested"],
    ),
    also(
        normal("structured_output.validation_started"),
        &["structured_output_validation_started"],
    ),
    also(
        normal("structured_output.validation_failed"),
        &["structured_output_validation_failed"],
    ),
    also(
        normal("structured_output.repair_requested"),
        &["structured_output_repair_requested"],
    ),
    also(
        operation("structured_output.validated"),
        &["structured_output_validated"],
    ),
    also(
        operation("structured_output.failed"),
        &["structured_output_failed"],
    ),
    also(normal("tool.requested"), &["tool_requested"]),
    also(
        normal("tool.approval_required"),
        &["tool_approval_required"],
    ),
    also(normal("tool.started"), &["tool_started"]),
    also(progress("tool.progress"), &["tool_progress"]),
    also(operation("tool.completed"), &["tool_completed"]),
    also(operation("tool.failed"), &["tool_failed"]),
    also(normal("tool.retried"), &["tool_retried"]),
    also(operation("tool.cancelled"), &["tool_cancelled"]),
    also(operation("tool.interrupted"), &["tool_interrupted"]),
    also(operation("tool.denied"), &["tool_denied"]),
    also(
        operation("tool.recovery_required"),
        &["tool_recovery_required"],
    ),
    also(normal("isolation.requested"), &["isolation_requested"]),
    also(
        normal("isolation.adapter_health_checked"),
        &["isolation_adapter_health_checked"],
    ),
    also(
        normal("isolation.capability_matched"),
        &["isolation_capability_matched"],
    ),
    also(
        normal("isolation.downgrade_denied"),
        &["isolation_downgrade_denied"],
    ),
    also(
        normal("isolation.downgrade_approved"),
        &["isolation_downgrade_approved"],
    ),
    also(
        normal("isolation.image_resolved"),
        &["isolation_image_resolved"],
    ),
    also(
        normal("isolation.rootfs_prepared"),
        &["isolation_rootfs_prepared"],
    ),
    also(
        normal("isolation.session_prepared"),
        &["isolation_session_prepared"],
    ),
    also(
        normal("isolation.mounts_resolved"),
        &["isolation_mounts_resolved"],
    ),
    also(
        normal("isolation.network_prepared"),
        &["isolation_network_prepared"],
    ),
    also(
        normal("isolation.secrets_prepared"),
        &["isolation_secrets_prepared"],
    ),
    also(
        normal("isolation.environment_prepared"),
        &["isolation_environment_prepared"],
    ),
    also(
        normal("isolation.process_started"),
        &["isolation_process_started"],
    ),
    also(
        progress("isolation.process_io_captured"),
        &["isolation_process_io_captured"],
    ),
    also(
        progress("isolation.process_stats_recorded"),
        &["isolation_process_stats_recorded"],
    ),
    also(
        normal("isolation.process_signalled"),
        &["isolation_process_signalled"],
    ),
    also(
        operation("isolation.process_exited"),
        &["isolation_process_exited"],
    ),
    also(
        normal("isolation.cleanup_started"),
        &["isolation_cleanup_started"],
    ),
    also(
        operation("isolation.cleanup_completed"),
        &["isolation_cleanup_completed"],
    ),
    also(
        operation("isolation.cleanup_failed"),
        &["isolation_cleanup_failed"],
    ),
    also(operation("isolation.failed"), &["isolation_failed"]),
    also(normal("approval.requested"), &["approval_requested"]),
    also(normal("approval.dispatched"), &["approval_dispatched"]),
    also(
        operation("approval.dispatch_unavailable"),
        &["approval_dispatch_unavailable"],
    ),
    also(operation("approval.responded"), &["approval_responded"]),
    also(operation("approval.timed_out"), &["approval_timed_out"]),
    also(operation("approval.denied"), &["approval_denied"]),
    also(operation("approval.cancelled"), &["approval_cancelled"]),
    also(normal("hook.registered"), &["hook_registered"]),
    also(normal("hook.invoked"), &["hook_invoked"]),
    also(operation("hook.completed"), &["hook_completed"]),
    also(operation("hook.failed"), &["hook_failed"]),
    also(operation("hook.timed_out"), &["hook_timed_out"]),
    also(operation("hook.cancelled"), &["hook_cancelled"]),
    also(
        operation("hook.response_applied"),
        &["hook_response_applied"],
    ),
    also(
        operation("hook.response_rejected"),
        &["hook_response_rejected"],
    ),
    also(
        normal("child.shutdown_requested"),
        &["child_lifecycle_shutdown_requested"],
    ),
    also(
        operation("child.shutdown_completed"),
        &["child_lifecycle_shutdown_completed"],
    ),
    also(
        operation("child.shutdown_failed"),
        &["child_lifecycle_shutdown_failed"],
    ),
    also(
        normal("child.detach_requested"),
        &["child_lifecycle_detach_requested"],
    ),
    also(
        normal("child.detach_acknowledged"),
        &["child_lifecycle_detach_acknowledged"],
    ),
    also(operation("child.detached"), &["child_lifecycle_detached"]),
    also(
        operation("child.detach_denied"),
        &["child_lifecycle_detach_denied"],
    ),
    also(
        normal("child.reclaim_requested"),
        &["child_lifecycle_reclaim_requested"],
    ),
    also(operation("child.reclaimed"), &["child_lifecycle_reclaimed"]),
    also(
        operation("child.reclaim_failed"),
        &["child_lifecycle_reclaim_failed"],
    ),
    also(normal("child.requested"), &["child_lifecycle_requested"]),
    also(operation("child.completed"), &["child_lifecycle_completed"]),
    also(normal("memory.retrieved"), &["memory_retrieved"]),
    also(
        normal("context.contribution_received"),
        &["context_contribution_received"],
    ),
    also(
        normal("context.contribution_selected"),
        &["context_contribution_selected"],
    ),
    also(
        normal("context.contribution_omitted"),
        &["context_contribution_omitted"],
    ),
    also(normal("memory.stored"), &["memory_stored"]),
    also(normal("context.item_injected"), &["context_item_injected"]),
    also(
        normal("context.compaction_started"),
        &["context_compaction_started"],
    ),
    also(
        normal("context.compaction_completed"),
        &["context_compaction_completed"],
    ),
    also(
        normal("context.projection_audited"),
        &["context_projection_audited"],
    ),
    also(normal("realtime.connected"), &["realtime_connected"]),
    also(progress("realtime.input_sent"), &["realtime_input_sent"]),
    also(
        progress("realtime.output_received"),
        &["realtime_output_received"],
    ),
    also(normal("realtime.interrupted"), &["realtime_interrupted"]),
    also(
        normal("realtime.restart_requested"),
        &["realtime_restart_requested"],
    ),
    also(
        normal("realtime.restart_started"),
        &["realtime_restart_started"],
    ),
    also(
        normal("realtime.restart_completed"),
        &["realtime_restart_completed"],
    ),
    also(
        operation("realtime.restart_failed"),
        &["realtime_restart_failed"],
    ),
    also(
        normal("realtime.connection_restarted"),
        &["realtime_connection_restarted"],
    ),
    also(operation("realtime.closed"), &["realtime_closed"]),
    also(
        progress("realtime.backpressure_applied"),
        &["realtime_backpressure_applied"],
    ),
    also(
        normal("realtime.connect_requested"),
        &["realtime_connect_requested"],
    ),
    also(
        normal("realtime.input_send_requested"),
        &["realtime_input_send_requested"],
    ),
    also(
        normal("realtime.output_receive_requested"),
        &["realtime_output_receive_requested"],
    ),
    also(
        normal("realtime.close_requested"),
        &["realtime_close_requested"],
    ),
    also(normal("agent_pool.created"), &["agent_pool_created"]),
    also(normal("agent_pool.run_joined"), &["agent_pool_run_joined"]),
    also(normal("agent_pool.run_left"), &["agent_pool_run_left"]),
    also(normal("run_message.accepted"), &["run_message_accepted"]),
    also(normal("run_message.delivered"), &["run_message_delivered"]),
    also(
        operation("run_message.responded"),
        &["run_message_responded"],
    ),
    also(operation("run_message.failed"), &["run_message_failed"]),
    also(
        operation("run_message.timed_out"),
        &["run_message_timed_out"],
    ),
    also(operation("run_message.expired"), &["run_message_expired"]),
    also(
        operation("run_message.cancelled"),
        &["run_message_cancelled"],
    ),
    also(normal("wake.registered"), &["wake_condition_registered"]),
    also(operation("wake.triggered"), &["wake_condition_triggered"]),
    also(operation("wake.timed_out"), &["wake_condition_timed_out"]),
    also(operation("wake.cancelled"), &["wake_condition_cancelled"]),
    also(operation("wake.failed"), &["wake_condition_failed"]),
    also(normal("subagent.started"), &["subagent_started"]),
    also(normal("subagent.handoff"), &["subagent_handoff"]),
    also(normal("subagent.event"), &["subagent_event"]),
    also(operation("subagent.completed"), &["subagent_completed"]),
    also(operation("subagent.failed"), &["subagent_failed"]),
    also(operation("subagent.cancelled"), &["subagent_cancelled"]),
    also(
        normal("subagent.usage_rolled_up"),
        &["subagent_usage_rolled_up"],
    ),
    also(
        normal("subagent.event_wrapped"),
        &["subagent_event_wrapped"],
    ),
    also(
        normal("extension.capability_loaded"),
        &["extension_capability_loaded"],
    ),
    also(
        normal("extension.hook_invoked"),
        &["extension_hook_invoked"],
    ),
    also(
        normal("extension.tool_requested"),
        &["extension_tool_requested"],
    ),
    also(
        normal("extension.event_observed"),
        &["extension_event_observed"],
    ),
    also(
        normal("extension.action_submitted"),
        &["extension_action_submitted"],
    ),
    also(
        normal("extension.action_started"),
        &["extension_action_started"],
    ),
    also(
        operation("extension.action_completed"),
        &["extension_action_completed"],
    ),
    also(
        operation("extension.action_failed"),
        &["extension_action_failed"],
    ),
    also(
        operation("extension.action_denied"),
        &["extension_action_denied"],
    ),
    also(normal("output.requested"), &["output_dispatch_requested"]),
    also(
        operation("output.completed"),
        &["output_dispatch_completed"],
    ),
    also(operation("output.failed"), &["output_dispatch_failed"]),
    also(operation("output.deduped"), &["output_dispatch_deduped"]),
    also(normal("telemetry.sink_failed"), &["telemetry_sink_failed"]),
    also(
        normal("telemetry.sink_recovered"),
        &["telemetry_sink_recovered"],
    ),
    also(metering("usage.recorded"), &["usage_recorded"]),
    also(metering("cost.estimated"), &["cost_estimated"]),
    also(metering("cost.corrected"), &["cost_corrected"]),
    also(normal("recovery.invariant_failed"), &["invariant_failed"]),
    also(
        operation("recovery.journal_append_failed"),
        &["journal_append_failed"],
    ),
    also(normal("recovery.planned"), &["recovery_planned"]),
    also(normal("replay.started"), &["replay_started"]),
    also(operation("replay.completed"), &["replay_completed"]),
    also(operation("replay.failed"), &["replay_failed"]),
    also(
        normal("anti_entropy.repair_suggested"),
        &["anti_entropy_repair_suggested"],
    ),
    also(
        normal("anti_entropy.repair_applied"),
        &["anti_entropy_repair_applied"],
    ),
];
