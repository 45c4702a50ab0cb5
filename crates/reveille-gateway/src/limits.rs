//! The bounds that hold, so that nobody has to find them out by running into them.

use std::time::Duration;

use reveille_types::limits;
use serde_json::{Value, json};

use crate::config::Rate;
use crate::gateway::Gateway;
use crate::{consume, json_shape};

impl Gateway {
    /// The bounds that hold, for whoever asks. Rates hold where there is authentication.
    pub(crate) fn limits(&self) -> Value {
        let (config, queue) = (self.config(), self.sessions().limits());
        let (streams, traffic, signals) = (config.streams, &config.traffic, &config.signals);
        let mut all = json!({
            "event_bytes": queue.event_bytes,
            "body_bytes": config.body_bytes,
            "body_deadline_ms": millis(config.body_deadline),
            "url_bytes": config.url_bytes,
            "header_bytes": config.header_bytes,
            "json_depth": json_shape::DEPTH,
            "json_members": json_shape::MEMBERS,
            "batch_events": queue.batch_events,
            "page_events": config.page_max,
            "session_id_bytes": limits::SESSION_ID_BYTES,
            "kind_bytes": limits::KIND_BYTES,
            "idempotency_key_bytes": limits::IDEMPOTENCY_KEY_BYTES,
            "matchers": limits::FILTER_VALUES,
            "matcher_bytes": limits::PATTERN_BYTES,
            "session_events": queue.session_events,
            "session_bytes": queue.session_bytes,
            "bytes_per_tenant": queue.bytes_per_tenant,
            "bytes": queue.bytes,
            "sessions_per_tenant": queue.sessions_per_tenant,
            "sessions": queue.sessions,
            "waits_per_session": queue.waiters_per_session,
            "waits_per_tenant": config.waits_per_tenant,
            "groups_per_session": queue.groups_per_session,
            "leases_per_group": queue.leases_per_group,
            "take_events": consume::TAKE_MAX,
            "tickets_per_tenant": config.tickets_per_tenant,
        });
        let more = json!({
            "streams_per_token": streams.per_token,
            "streams_per_tenant": streams.per_tenant,
            "streams": streams.per_node,
            "streams_per_second": per_second(traffic.streams),
            "replays_per_token_and_session": streams.replays,
            "replay_bytes_per_second": streams.replay_bytes,
            "events_per_second": per_second(traffic.events),
            "bytes_per_second": per_second(traffic.bytes),
            "delivered_bytes_per_second": per_second(traffic.delivered_bytes),
            "unauthenticated_per_second": per_second(traffic.anonymous),
            "failures_per_minute": traffic.failures.burst,
            "connections_per_address": traffic.connections_per_address,
            "connections": traffic.connections,
            "signals_pending": signals.pending,
            "signal_outcomes": signals.history,
            "signal_value_bytes": signals.value_bytes,
            "merge_inputs": signals.merge_inputs,
            "merge_inputs_pending": signals.merge_inputs_pending,
            "signal_waiters": signals.waiters,
            "wait_max_ms": millis(config.wait_max),
            "heartbeat_ms": millis(config.heartbeat),
            "connection_age_ms": millis(config.max_age),
            "backend_lost_after_ms": millis(config.backend_lost_after),
            "drain_ms": millis(self.drain_over()),
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many in a second, and how many at once.
fn per_second(rate: Rate) -> Value {
    let count = f64::from(rate.count) / rate.per.as_secs_f64();
    json!({"count": count.round() as u64, "burst": rate.burst})
}
