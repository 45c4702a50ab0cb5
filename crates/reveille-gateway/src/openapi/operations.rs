//! What each route is for, takes and answers.

/// A route as it is described.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) about: &'static str,
    pub(super) query: &'static [(&'static str, Query, &'static str)],
    pub(super) body: Body,
    pub(super) answers: &'static [(u16, Answer)],
}

/// What a parameter looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Query {
    Text,
    /// May be repeated.
    Texts,
    Number,
    /// From 1 to 1000.
    Count,
    Duration,
    Words(&'static [&'static str]),
    /// Any of these, and may be repeated.
    AnyOf(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    None,
    /// JSON of this schema, or none.
    Json(&'static str),
    /// JSON of this schema.
    Required(&'static str),
    /// Events, in any mode of `CloudEvents`.
    Events,
    /// A notification in protobuf.
    Protobuf,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Empty(&'static str),
    /// JSON of this schema.
    Json(&'static str),
    /// JSON of a shape of its own.
    Any,
    /// Text of this media type.
    Text(&'static str),
    /// A stream of server-sent events.
    Stream,
    /// What is wrong, as a problem or, where senders know it so, as text.
    Malformed,
    /// A page or a stream of events.
    Events,
    /// What a wait found.
    Found,
}

use Answer::{Any, Empty, Events, Found, Json, Malformed, Stream, Text};
use Query::{AnyOf, Count, Duration, Number, Texts, Words};

type Parameters = &'static [(&'static str, Query, &'static str)];

const NAMESPACE: (&str, Query, &str) = (
    "namespace",
    Query::Text,
    "The namespace, if the path names the id alone",
);
const MATCH: (&str, Query, &str) = ("match", Texts, "A pattern of kinds; any of several");
const AFTER: (&str, Query, &str) = ("after", Query::Text, "A cursor, earliest or latest");
const STRICT: (&str, Query, &str) = (
    "strict",
    Words(&["true", "false"]),
    "Whether kinds that are not known are refused",
);
const HEARTBEAT: (&str, Query, &str) = (
    "heartbeat",
    Query::Text,
    "Silence after which a heartbeat comes, 5s to 55s; event makes heartbeats frames",
);
const NAMES: (&str, Query, &str) = (
    "names",
    Words(&["type", "none"]),
    "What stands in the event field of events",
);
const GAP: (&str, Query, &str) = (
    "gap",
    Words(&["frame", "fail"]),
    "Whether a gap is a frame or the status 410",
);
const ON_GAP: (&str, Query, &str) = (
    "on_gap",
    Words(&["earliest", "latest"]),
    "Where to go on when the cursor cannot be followed",
);
const COMPRESS: (&str, Query, &str) = (
    "compress",
    Words(&["0", "1"]),
    "Whether a stream comes in gzip, each frame for itself",
);
const ERRORS: (&str, Query, &str) = (
    "errors",
    Words(&["stream"]),
    "Refusals as a stream of one frame",
);
const LIMIT: (&str, Query, &str) = ("limit", Count, "Most of them on a page");
const WAIT: (&str, Query, &str) = ("wait", Duration, "How long to wait for an event on a page");
const TIMEOUT: (&str, Query, &str) = ("timeout", Duration, "How long to wait");
const READ: Parameters = &[
    NAMESPACE, MATCH, STRICT, AFTER, LIMIT, WAIT, HEARTBEAT, NAMES, GAP, ON_GAP, COMPRESS, ERRORS,
];
const QUERY: Parameters = &[AFTER, HEARTBEAT, NAMES, GAP, ON_GAP, COMPRESS];
const SESSION_QUERY: Parameters = &[NAMESPACE, AFTER, HEARTBEAT, NAMES, GAP, ON_GAP, COMPRESS];
const BUS: Parameters = &[
    MATCH,
    STRICT,
    AFTER,
    LIMIT,
    WAIT,
    HEARTBEAT,
    NAMES,
    GAP,
    ON_GAP,
    COMPRESS,
    ERRORS,
    ("namespace", Texts, "Of these namespaces"),
    ("session", Texts, "Of these sessions"),
    ("source", Texts, "From these sources"),
    ("subject", Texts, "About these subjects"),
    ("agent", Texts, "Concerning these agents"),
    ("run", Texts, "Of these runs"),
    ("turn", Texts, "Of these turns"),
    ("correlation", Texts, "Of these correlations"),
    ("caused_by", Texts, "With these causes"),
    ("tag", Texts, "With any of these tags"),
    ("path", Texts, "On or below these paths"),
    (
        "attributes",
        Query::Text,
        "Conditions on attributes, as JSON",
    ),
    (
        "class",
        AnyOf(&["normal", "progress", "metering", "control"]),
        "Of these classes",
    ),
    (
        "final",
        AnyOf(&["none", "operation", "session"]),
        "Of these finalities",
    ),
    (
        "privacy",
        AnyOf(&[
            "public",
            "internal",
            "content_refs_only",
            "sensitive",
            "secret",
        ]),
        "Of these privacies",
    ),
];
const TASK: Parameters = &[
    ("from_offset", Number, "How many events to skip"),
    MATCH,
    STRICT,
    AFTER,
    HEARTBEAT,
    NAMES,
    GAP,
    ON_GAP,
    COMPRESS,
    ERRORS,
];
const SESSION: Parameters = &[NAMESPACE];
const NOTHING: Parameters = &[];
const TIME_UP: (u16, Answer) = (204, Empty("The time is up; go on at Reveille-Cursor"));

macro_rules! operations {
    ($($method:literal $path:literal $id:ident $tag:literal $about:literal, $query:expr, $body:expr, $answers:expr;)*) => {
        /// Every operation.
        pub(super) const OPERATIONS: &[Operation] = &[$(Operation {
            method: $method,
            path: $path,
            id: stringify!($id),
            tag: $tag,
            about: $about,
            query: $query,
            body: $body,
            answers: &$answers,
        },)*];
    };
}

operations! {
    "GET" "/healthz" healthz "server" "Whether the process answers", NOTHING, Body::None, [(200, Any)];
    "GET" "/readyz" readyz "server" "Whether the server and its store are ready", NOTHING, Body::None, [(200, Any)];
    "GET" "/metrics" metrics "server" "Numbers for Prometheus", NOTHING, Body::None, [(200, Text("application/openmetrics-text"))];
    "GET" "/openapi.json" openapi "server" "This document", NOTHING, Body::None, [(200, Any)];
    "GET" "/.well-known/oauth-protected-resource" protected_resource "server" "Who issues tokens (RFC 9728)", NOTHING, Body::None, [(200, Any)];
    "GET" "/v1/limits" limits "server" "The bounds that hold", NOTHING, Body::None, [(200, Any)];
    "GET" "/v1/stats" stats "server" "Counters of the tenant", NOTHING, Body::None, [(200, Any)];
    "GET" "/v1/events" read_bus "events" "Read all sessions of the tenant in one order", BUS, Body::None, [(200, Events), TIME_UP];
    "POST" "/v1/events:query" query_bus "events" "The same with the filter in the body", QUERY, Body::Json("EventQuery"), [(200, Events), TIME_UP];
    "POST" "/v1/sessions/{session}/events:query" query_session "events" "Read or follow a session with the filter in the body", SESSION_QUERY, Body::Json("EventQuery"), [(200, Events), (204, Empty("The time is up, or the session is over and read to its end"))];
    "GET" "/v1/sessions" list_sessions "sessions" "List sessions", &[
        ("namespace", Query::Text, "Of this namespace"),
        ("state", Words(&["open", "ended"]), "In this state"),
        LIMIT,
        ("page", Query::Text, "What follows that page"),
    ], Body::None, [(200, Json("SessionList"))];
    "PUT" "/v1/sessions/{session}" create_session "sessions" "Create a session", SESSION, Body::Json("CreateRequest"), [(200, Json("SessionInfo")), (201, Json("SessionInfo"))];
    "GET" "/v1/sessions/{session}" session_info "sessions" "Look at a session", SESSION, Body::None, [(200, Json("SessionInfo"))];
    "DELETE" "/v1/sessions/{session}" remove_session "sessions" "Remove a session and its events", SESSION, Body::None, [(204, Empty("It is gone"))];
    "GET" "/v1/sessions/{session}/events" read_session "events" "Read or follow a session", READ, Body::None, [(200, Events), (204, Empty("The time is up, or the session is over and read to its end"))];
    "POST" "/v1/sessions/{session}/events" publish "events" "Publish events, all or none", SESSION, Body::Events, [(201, Json("Receipt")), (204, Empty("Stored, and Prefer asked for no more"))];
    "OPTIONS" "/v1/sessions/{session}/events" webhook_handshake "events" "The handshake of web hooks", NOTHING, Body::None, [(200, Empty("The origin may send events")), (204, Empty("It may not"))];
    "GET" "/v1/sessions/{session}/wait" wait "events" "Wait for events without consuming them", &[
        NAMESPACE,
        MATCH,
        STRICT,
        AFTER,
        TIMEOUT,
        ("mode", Words(&["any", "all"]), "Whether one match is enough"),
        ("content", Words(&["answer", "binary"]), "Whether the event comes alone, as a CloudEvent in binary mode"),
    ], Body::None, [(200, Found), TIME_UP];
    "POST" "/v1/sessions/{session}/take" take "groups" "Consume events as a group, on lease", SESSION, Body::Json("TakeRequest"), [(200, Json("TakeAnswer")), TIME_UP];
    "POST" "/v1/sessions/{session}/ack" ack "groups" "Events are done", SESSION, Body::Required("SettleRequest"), [(200, Json("SettleAnswer"))];
    "POST" "/v1/sessions/{session}/nack" nack "groups" "Events are given back", SESSION, Body::Required("SettleRequest"), [(200, Json("SettleAnswer"))];
    "GET" "/v1/sessions/{session}/groups/{group}" group_info "groups" "Where a group stands", SESSION, Body::None, [(200, Json("GroupInfo"))];
    "POST" "/v1/sessions/{session}/groups/{group}/skip" skip "groups" "Move a group on", SESSION, Body::Required("GroupSkip"), [(200, Json("GroupMoved"))];
    "GET" "/v1/sessions/{session}/groups/{group}/dead-letters" dead_letters "groups" "Events that came back too often", SESSION, Body::None, [(200, Json("DeadLetterList"))];
    "POST" "/v1/sessions/{session}/groups/{group}/dead-letters" settle_dead_letters "groups" "Try dead letters again, or let go of them", SESSION, Body::Json("DeadLetterRequest"), [(200, Json("DeadLetterAnswer"))];
    "POST" "/v1/sessions/{session}/cancel" cancel_session "sessions" "Ask the producer to stop", SESSION, Body::Json("CancelRequest"), [(200, Json("CancelAnswer"))];
    "POST" "/v1/sessions/{session}/close" close_session "sessions" "End a session", SESSION, Body::Json("CloseRequest"), [(200, Json("SessionInfo"))];
    "POST" "/v1/signals" create_signal "signals" "Make a signal", NOTHING, Body::Json("SignalRequest"), [(201, Json("SignalCreated"))];
    "POST" "/v1/signals:merge" merge_signals "signals" "Make a signal that others complete", NOTHING, Body::Required("MergeRequest"), [(201, Json("SignalMerged"))];
    "GET" "/v1/signals/{handle}" look_at_signal "signals" "Look at a signal, or wait for it", &[TIMEOUT], Body::None, [(200, Json("SignalInfo")), (204, Empty("The time is up"))];
    "GET" "/v1/signals/{handle}/why" why "signals" "What blocks a signal", NOTHING, Body::None, [(200, Json("SignalWhy"))];
    "POST" "/v1/signals/{handle}/renew" renew_signal "signals" "Put off the end of a lease", NOTHING, Body::Json("SignalRenewRequest"), [(200, Json("SignalRenewed"))];
    "POST" "/v1/signals/{handle}/trigger" trigger "signals" "Complete a signal", NOTHING, Body::Json("TriggerRequest"), [(200, Json("SignalInfo"))];
    "POST" "/v1/signals/{handle}/poison" poison "signals" "Complete a signal with a failure", NOTHING, Body::Required("PoisonRequest"), [(200, Json("SignalInfo"))];
    "POST" "/v1/signals/{handle}/cancel" cancel_signal "signals" "Complete a signal as cancelled", NOTHING, Body::Json("SignalCancelRequest"), [(200, Json("SignalInfo"))];
    "POST" "/v1/tickets" create_ticket "access" "A ticket for a stream of one session", NOTHING, Body::Required("TicketRequest"), [(201, Json("TicketCreated"))];
    "POST" "/v1/connections/{id}/token" renew_connection "access" "Let a stream go on with the credential of this request", NOTHING, Body::None, [(200, Json("ConnectionRenewed"))];
    "POST" "/events" notify "tasks" "Publish what an agent has to say, in protobuf", SESSION, Body::Protobuf, [(200, Text("text/plain")), (400, Malformed)];
    "GET" "/events/workflows/{id}" follow_workflow "tasks" "Follow a workflow", TASK, Body::None, [(200, Stream), (204, Empty("It is over and read to its end"))];
    "GET" "/events/ingestion/{id}" follow_ingestion "tasks" "Follow an ingestion", TASK, Body::None, [(200, Stream), (204, Empty("It is over and read to its end"))];
    "POST" "/events/workflows/{id}/cancel" cancel_workflow "tasks" "Ask a workflow to stop", NOTHING, Body::Json("CancelRequest"), [(200, Any)];
    "POST" "/events/ingestion/{id}/cancel" cancel_ingestion "tasks" "Ask an ingestion to stop", NOTHING, Body::Json("CancelRequest"), [(200, Any)];
    "GET" "/events/queues" list_queues "tasks" "List open sessions", &[("tenant_id", Query::Text, "The tenant; it must be the caller's")], Body::None, [(200, Any)];
    "GET" "/events/queues/{id}" queue_info "tasks" "Look at a session", SESSION, Body::None, [(200, Any)];
    "GET" "/events/queues/{id}/offset" queue_offset "tasks" "How many events a session has had", SESSION, Body::None, [(200, Any)];
}
