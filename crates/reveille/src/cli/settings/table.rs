//! What can be set: one row each.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use reveille_gateway::{Rate, is_origin};
use reveille_types::Durability;

use super::{LogFormat, Settings};
use crate::cli::backend::{BackendName, Level};
use crate::cli::duration;

/// Something that can be set.
pub(crate) struct Setting {
    /// Its name in the file; with dashes the flag, in capitals after `REVEILLE_` the variable.
    pub(crate) key: &'static str,
    pub(crate) value_name: &'static str,
    pub(crate) help: &'static str,
    /// Whether it has many values, which variables separate by commas.
    pub(crate) is_list: bool,
    /// A name that the flag also has.
    pub(crate) old_flag: Option<&'static str>,
    pub(super) set: fn(&mut Settings, &[String]) -> Result<(), &'static str>,
    pub(super) get: fn(&Settings) -> Vec<String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

impl Setting {
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.key.replace('_', "-"))
    }

    pub(crate) fn variable(&self) -> String {
        format!("REVEILLE_{}", self.key.to_ascii_uppercase())
    }

    /// The values in the text of a variable.
    pub(super) fn split(&self, text: &str) -> Vec<String> {
        match self.is_list {
            true => text.split(',').map(|part| part.trim().to_owned()).collect(),
            false => vec![text.to_owned()],
        }
    }
}

/// A type that values can have.
trait Read: Sized {
    fn read(text: &str) -> Result<Self, &'static str>;
    fn show(&self) -> String;
}

impl Read for String {
    fn read(text: &str) -> Result<Self, &'static str> {
        Ok(text.to_owned())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Read for PathBuf {
    fn read(text: &str) -> Result<Self, &'static str> {
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Read for bool {
    fn read(text: &str) -> Result<Self, &'static str> {
        text.parse().map_err(|_| "is neither true nor false")
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Read for BackendName {
    fn read(text: &str) -> Result<Self, &'static str> {
        text.parse()
            .map_err(|_| "is not memory, archive:DIR, redis://HOST or nats://HOST")
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Read for Level {
    fn read(text: &str) -> Result<Self, &'static str> {
        let levels = "is not volatile, os, fsync, replicated or replicated_fsync";
        <Self as ValueEnum>::from_str(text, false).map_err(|_| levels)
    }

    fn show(&self) -> String {
        Durability::from(*self).as_str().to_owned()
    }
}

impl Read for LogFormat {
    fn read(text: &str) -> Result<Self, &'static str> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("is neither text nor json"),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

impl Read for Duration {
    fn read(text: &str) -> Result<Self, &'static str> {
        match text {
            "0" => Ok(Self::ZERO),
            text => duration(text).map_err(|_| "is no duration such as 250ms, 25s, 5m or 1h"),
        }
    }

    fn show(&self) -> String {
        let millis = self.as_millis();
        match millis {
            0 => "0".to_owned(),
            _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
            _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
            _ => format!("{millis}ms"),
        }
    }
}

/// A count, or an amount of bytes with `KiB`, `MiB` or `GiB`.
impl Read for usize {
    fn read(text: &str) -> Result<Self, &'static str> {
        let wrong = "is no number, with KiB, MiB or GiB if it is about bytes";
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let count: Self = text[..digits].parse().map_err(|_| wrong)?;
        let unit = match text[digits..].trim() {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(wrong),
        };
        count.checked_mul(unit).ok_or(wrong)
    }

    fn show(&self) -> String {
        match *self {
            n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{} MiB", n >> 20),
            n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{} KiB", n >> 10),
            n => n.to_string(),
        }
    }
}

impl Read for u32 {
    fn read(text: &str) -> Result<Self, &'static str> {
        Self::try_from(usize::read(text)?).map_err(|_| "is 4 GiB or more")
    }

    fn show(&self) -> String {
        usize::try_from(*self).map_or_else(|_| self.to_string(), |n| n.show())
    }
}

/// A network, or one address.
impl Read for IpNet {
    fn read(text: &str) -> Result<Self, &'static str> {
        let address = || text.parse().map(|address: IpAddr| Self::from(address));
        text.parse()
            .or_else(|_| address())
            .map_err(|_| "is no address, and no network such as 10.0.0.0/8")
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

fn one<T: Read>(values: &[String]) -> Result<T, &'static str> {
    match values {
        [only] => T::read(only),
        _ => Err("is not one value"),
    }
}

/// A row: the field of a setting that has one value, none or one, or many.
macro_rules! row {
    (@base $key:literal, $value:literal, $help:literal, $list:literal, $set:expr, $get:expr) => {
        Setting {
            key: $key,
            value_name: $value,
            help: $help,
            is_list: $list,
            old_flag: None,
            set: $set,
            get: $get,
        }
    };
    ($key:literal $value:literal $help:literal, one $($field:ident).+) => {
        row!(@base $key, $value, $help, false,
            |s, v| { s.$($field).+ = one(v)?; Ok(()) },
            |s| vec![Read::show(&s.$($field).+)])
    };
    ($key:literal $value:literal $help:literal, option $($field:ident).+) => {
        row!(@base $key, $value, $help, false,
            |s, v| { s.$($field).+ = Some(one(v)?); Ok(()) },
            |s| s.$($field).+.iter().map(Read::show).collect())
    };
    ($key:literal $value:literal $help:literal, many $($field:ident).+) => {
        row!(@base $key, $value, $help, true,
            |s, v| { s.$($field).+ = v.to_vec(); Ok(()) },
            |s| s.$($field).+.clone())
    };
}

/// Everything that can be set.
pub(crate) static SETTINGS: [Setting; 70] = [
    row!("listen" "HOST:PORT" "Where to listen; port 0 picks a free one", one listen),
    row!("admin_listen" "HOST:PORT" "Where to answer /metrics, /healthz and /readyz without credentials; a loopback address", option admin_listen),
    row!("tls_cert" "FILE" "The certificate chain in PEM, read again when it changes", option tls_cert),
    row!("tls_key" "FILE" "The private key of the certificate in PEM", option tls_key),
    row!("insecure_plain_http" "BOOL" "Serve plain HTTP on other than loopback addresses, because a proxy in front speaks TLS", one insecure_plain_http),
    row!("backend" "BACKEND" "Where sessions are kept: memory, archive:DIR for a directory, redis://HOST:PORT or nats://HOST:PORT", one backend.backend),
    row!("durability" "LEVEL" "What an acknowledged event must survive, or the server does not start: volatile (nothing), os (the end of the process), fsync (a loss of power), replicated (the loss of a machine) or replicated_fsync; if not said, what the settings of the backend promise, and fsync in an archive", option backend.durability),
    row!(@base "origins", "ORIGIN", "An origin of web pages that may read answers, and whose cookies count; may be repeated", true,
        |s, v| {
            if !v.iter().all(|origin| is_origin(origin)) {
                return Err("is no origin such as https://example.org");
            }
            s.gateway.origins = v.to_vec();
            Ok(())
        },
        |s| s.gateway.origins.clone()),
    row!(@base "public_url", "URL", "Where clients find the server, such as https://example.org, for what it tells of itself; if not said, where each request was sent to", false,
        |s, v| {
            let url: String = one(v)?;
            if !is_origin(&url) {
                return Err("is no origin such as https://example.org");
            }
            s.gateway.public_url = Some(url);
            Ok(())
        },
        |s| s.gateway.public_url.iter().cloned().collect()),
    row!(@base "trusted_proxies", "NETWORK", "A proxy, or a network of them, that is believed when it says whose request it is; may be repeated", true,
        |s, v| {
            s.gateway.trusted_proxies = v.iter().map(|text| Read::read(text)).collect::<Result<_, _>>()?;
            Ok(())
        },
        |s| s.gateway.trusted_proxies.iter().map(Read::show).collect()),
    Setting {
        old_flag: Some("webhook-origin"),
        ..row!("webhook_origins" "ORIGIN" "An origin that may send events as web hooks (CloudEvents); may be repeated", many gateway.webhook_origins)
    },
    row!("auto_create" "BOOL" "Create sessions on first use; if not said, only without authentication", option gateway.auto_create),
    row!("log" "FILTER" "What to log, such as warn or reveille_gateway=debug", one log),
    row!("log_format" "FORMAT" "How log lines look: text or json", one log_format),
    row!("drain" "DURATION" "How long streams and requests may take to end after a termination request", one drain),
    row!("heartbeat" "DURATION" "Silence on a stream after which a heartbeat is sent; 0 is never", one gateway.heartbeat),
    row!("retry" "DURATION" "How long clients should wait before they reconnect", one gateway.retry),
    row!("connection_age" "DURATION" "How long a stream stays on one connection; 0 is without end", one gateway.max_age),
    row!("backend_lost_after" "DURATION" "How long streams stay while a store that servers share is not well; 0 is for ever", one gateway.backend_lost_after),
    row!("wait_default" "DURATION" "How long a wait waits if the request does not say", one gateway.wait_default),
    row!("wait_max" "DURATION" "The longest wait", one gateway.wait_max),
    row!("lease_default" "DURATION" "How long a taken event stays with its taker if the request does not say", one gateway.lease_default),
    row!("body_bytes" "BYTES" "Most bytes of a request's body", one gateway.body_bytes),
    row!("url_bytes" "BYTES" "Most bytes of a request's URL", one gateway.url_bytes),
    row!("header_bytes" "BYTES" "Most bytes of a request's headers", one gateway.header_bytes),
    row!("body_deadline" "DURATION" "How long a request's body may take to begin", one gateway.body_deadline),
    row!("page_default" "COUNT" "Events on a page if the request does not say", one gateway.page_default),
    row!("page_max" "COUNT" "Most events on a page", one gateway.page_max),
    row!("streams_per_token" "COUNT" "Most open streams of one token", one gateway.streams.per_token),
    row!("streams_per_tenant" "COUNT" "Most open streams of one tenant", one gateway.streams.per_tenant),
    row!("streams_per_node" "COUNT" "Most open streams", one gateway.streams.per_node),
    row!("streams_per_second" "COUNT" "Most new streams of one tenant in a second", one gateway.traffic.streams.count),
    row!("streams_burst" "COUNT" "New streams of one tenant at once", one gateway.traffic.streams.burst),
    row!("replays" "COUNT" "Most streams of one token that read the history of one session at once", one gateway.streams.replays),
    row!("replay_bytes" "BYTES" "Bytes of history that one stream reads in a second", one gateway.streams.replay_bytes),
    row!("events_per_second" "COUNT" "Most events that one tenant publishes in a second", one gateway.traffic.events.count),
    row!("events_burst" "COUNT" "Events that one tenant publishes at once", one gateway.traffic.events.burst),
    row!("bytes_per_second" "BYTES" "Most bytes that one tenant publishes in a second", one gateway.traffic.bytes.count),
    row!("bytes_burst" "BYTES" "Bytes that one tenant publishes at once", one gateway.traffic.bytes.burst),
    row!("delivered_bytes_per_second" "BYTES" "Most bytes that one tenant publishes in a second, times the streams that read them", one gateway.traffic.delivered_bytes.count),
    row!("delivered_bytes_burst" "BYTES" "The same at once", one gateway.traffic.delivered_bytes.burst),
    row!("unauthenticated_per_second" "COUNT" "Most requests without a credential from one address in a second", one gateway.traffic.anonymous.count),
    row!("unauthenticated_burst" "COUNT" "Requests without a credential from one address at once", one gateway.traffic.anonymous.burst),
    row!(@base "failures_per_minute", "COUNT", "Most credentials from one address that are refused in a minute", false,
        |s, v| { s.gateway.traffic.failures = Rate::per_minute(one(v)?); Ok(()) },
        |s| vec![s.gateway.traffic.failures.count.show()]),
    row!("tickets_per_tenant" "COUNT" "Most tickets of one tenant that are good at once", one gateway.tickets_per_tenant),
    row!("connections" "COUNT" "Most open connections", one gateway.traffic.connections),
    row!("connections_per_address" "COUNT" "Most open connections from one address", one gateway.traffic.connections_per_address),
    row!("session_ttl" "DURATION" "Silence after which a session expires", one session_ttl),
    row!("store_sweep" "DURATION" "How often the store is looked through for sessions that are over and open nowhere; 0 is never", one store_sweep),
    row!("session_events" "COUNT" "Events that a session retains", one limits.session_events),
    row!("session_bytes" "BYTES" "Bytes that a session retains", one limits.session_bytes),
    row!("event_bytes" "BYTES" "Most bytes of one event", one limits.event_bytes),
    row!("batch_events" "COUNT" "Most events in one publish", one limits.batch_events),
    row!("bytes" "BYTES" "Bytes that all sessions hold together", one limits.bytes),
    row!("bytes_per_tenant" "BYTES" "Bytes that the sessions of one tenant hold together", one limits.bytes_per_tenant),
    row!("sessions" "COUNT" "Most sessions", one limits.sessions),
    row!("sessions_per_tenant" "COUNT" "Most sessions of one tenant", one limits.sessions_per_tenant),
    row!("waits_per_session" "COUNT" "Most waits, takes and streams that wait in one session", one limits.waiters_per_session),
    row!("waits_per_tenant" "COUNT" "Most requests of one tenant that wait", one gateway.waits_per_tenant),
    row!("groups_per_session" "COUNT" "Most groups of takers of one session", one limits.groups_per_session),
    row!("leases_per_group" "COUNT" "Most events of one group on lease at once", one limits.leases_per_group),
    row!("max_deliveries" "COUNT" "How often an event is delivered on lease before it becomes a dead letter", option limits.max_deliveries),
    row!("bus_events" "COUNT" "Events of each tenant that are kept in one order", one tail.events),
    row!("bus_bytes" "BYTES" "Bytes of them", one tail.bytes),
    row!("signals_pending" "COUNT" "Most signals of one tenant that are not complete", one gateway.signals.pending),
    row!("signal_value_bytes" "BYTES" "Most bytes of the value of a signal", one gateway.signals.value_bytes),
    row!("signal_waiters" "COUNT" "Most requests of one tenant that wait for signals", one gateway.signals.waiters),
    row!("merge_inputs" "COUNT" "Most inputs of one merge", one gateway.signals.merge_inputs),
    row!("merge_inputs_pending" "COUNT" "Most inputs of all merges of one tenant that are not complete", one gateway.signals.merge_inputs_pending),
    row!("signal_history" "COUNT" "Outcomes of signals of one tenant that can still be asked for", one gateway.signals.history),
];
