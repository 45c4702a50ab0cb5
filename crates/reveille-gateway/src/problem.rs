//! Errors on the wire (RFC 9457): one table from error codes to statuses.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_bus::BusError;
use reveille_core::SignalError;
use reveille_queue::{AppendError, ReadError, SessionError, SettleError, StoreFailure};
use reveille_types::wire::{PROBLEM_JSON, Problem};
use reveille_types::{CursorError, Invalid};

use crate::observe::trace_id;

/// A request that is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Problem>);

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &str) -> Self {
        Self(Box::new(Problem {
            kind: format!("urn:reveille:problem:{code}"),
            title: title(code),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: None,
            field: None,
            limit: None,
            actual: None,
            latest: None,
            retry_after_ms: None,
            trace_id: None,
        }))
    }

    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code).detail(detail)
    }

    /// As many as the limit says are there; it may be better soon.
    pub(crate) fn too_many(code: &str, limit: usize) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code)
            .limit(limit)
            .retry_after(Duration::from_secs(1))
    }

    /// The server is stopping: come back to the next one.
    pub(crate) fn draining() -> Self {
        Self::unavailable("draining")
    }

    /// It cannot be done now; it may be better soon.
    pub(crate) fn unavailable(code: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code).retry_after(Duration::from_secs(1))
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    pub(crate) fn sizes(mut self, limit: u64, actual: u64) -> Self {
        self.0.limit = Some(limit);
        self.0.actual = Some(actual);
        self
    }

    pub(crate) fn limit(mut self, limit: usize) -> Self {
        self.0.limit = Some(limit as u64);
        self
    }

    pub(crate) fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after_ms = Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self
    }

    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status.as_u16();
        self
    }

    /// The same on the wire between gateways.
    pub(crate) fn of(problem: Problem) -> Self {
        Self(Box::new(problem))
    }

    pub(crate) fn into_problem(self) -> Problem {
        *self.0
    }

    /// What is wrong with a value of the query or a header (400), or of the body (422).
    pub(crate) fn invalid(status: StatusCode, code: &str, invalid: &Invalid) -> Self {
        let refusal = Self::new(status, code)
            .detail(invalid.to_string())
            .field(invalid.field());
        match invalid.sizes() {
            Some((limit, actual)) => refusal.sizes(limit, actual),
            None => refusal,
        }
    }
}

/// `session_not_found` as a sentence.
fn title(code: &str) -> String {
    let mut title = code.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut problem = self.0;
        problem.trace_id = trace_id();
        // What went wrong inside is for the log.
        if status.is_server_error()
            && let Some(detail) = problem.detail.take()
        {
            match status {
                StatusCode::INTERNAL_SERVER_ERROR => {
                    tracing::error!(detail, code = problem.code, trace_id = problem.trace_id);
                }
                _ => tracing::warn!(detail, code = problem.code, trace_id = problem.trace_id),
            }
        }
        // A problem holds strings and numbers only.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        // RFC 6750: without a credential the scheme alone, with one what is wrong with it.
        let challenge = match &*problem.code {
            "missing_token" => Some("Bearer realm=\"reveille\""),
            "invalid_token" => Some("Bearer realm=\"reveille\", error=\"invalid_token\""),
            "insufficient_scope" => Some("Bearer realm=\"reveille\", error=\"insufficient_scope\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Some(after) = problem.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.div_ceil(1000)));
        }
        response
    }
}

impl From<CursorError> for Refusal {
    /// Malformed, foreign, of another epoch or scope: one answer, so that nothing leaks.
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Ahead { latest } => {
                let mut refusal = Self::bad_request("cursor_ahead", error.to_string());
                refusal.0.latest = Some(latest);
                refusal
            }
            _ => Self::bad_request("unknown_cursor", "the cursor cannot be followed here"),
        }
        .field("after")
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        match error {
            SessionError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, code),
            SessionError::AlreadyExists { .. } | SessionError::Ended { .. } => {
                Self::new(StatusCode::CONFLICT, code)
            }
            SessionError::TooManySessions { limit, .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, code)
                    .limit(limit)
                    .retry_after(Duration::from_secs(60))
            }
            SessionError::InvalidOption(invalid) => {
                return Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, code, &invalid);
            }
            SessionError::ReservedNamespace { .. } => {
                Self::new(StatusCode::FORBIDDEN, code).field("namespace")
            }
            _ => Self::unavailable(code),
        }
        .detail(detail)
    }
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        match error {
            AppendError::InvalidEvent { index, source } => {
                let source = source.within(&format!("[{index}]"));
                return Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, code, &source);
            }
            AppendError::BatchTooLarge { limit, actual } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, code).sizes(limit as u64, actual as u64)
            }
            AppendError::StoreFull { limit, actual } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, code).sizes(limit as u64, actual as u64)
            }
            AppendError::EventTooLarge {
                index,
                limit,
                actual,
            } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, code)
                .sizes(limit as u64, actual as u64)
                .field(format!("[{index}]")),
            AppendError::EmptyBatch
            | AppendError::AfterFinal { .. }
            | AppendError::TenantMismatch { .. }
            | AppendError::SessionMismatch { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code)
            }
            AppendError::Ended { .. } => Self::new(StatusCode::CONFLICT, code),
            AppendError::IdempotencyConflict { .. } => {
                Self::new(StatusCode::CONFLICT, code).field("idempotency-key")
            }
            AppendError::PositionConflict { actual, .. } => {
                let mut refusal = Self::new(StatusCode::PRECONDITION_FAILED, code);
                refusal.0.latest = Some(actual);
                refusal
            }
            AppendError::Backend(_) if code == "store_full" => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, code)
            }
            _ => Self::unavailable(code),
        }
        .detail(detail)
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        match error {
            ReadError::Cursor(error) => return error.into(),
            ReadError::InvalidOption(invalid) => {
                return Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, code, &invalid);
            }
            ReadError::UnknownKind(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code).field("match")
            }
            ReadError::TooManyWaiters { limit }
            | ReadError::TooManyGroups { limit }
            | ReadError::TooManyLeases { limit } => Self::too_many(code, limit),
            ReadError::Store(_) => Self::unavailable(code),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code),
        }
        .detail(detail)
    }
}

impl From<BusError> for Refusal {
    fn from(error: BusError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        match error {
            BusError::Cursor(error) => return error.into(),
            BusError::Session(error) => return error.into(),
            BusError::Append(error) => return error.into(),
            BusError::InvalidOption(invalid) => {
                return Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, code, &invalid);
            }
            BusError::NoTail => Self::new(StatusCode::NOT_IMPLEMENTED, code),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code),
        }
        .detail(detail)
    }
}

impl From<SettleError> for Refusal {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Store(failure) => failure.into(),
            other => Self::new(StatusCode::CONFLICT, other.code()).detail(other.to_string()),
        }
    }
}

impl From<StoreFailure> for Refusal {
    fn from(failure: StoreFailure) -> Self {
        ReadError::Store(failure).into()
    }
}

impl From<SignalError> for Refusal {
    fn from(error: SignalError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        match error {
            // Another tenant's handle, or one of a process before this: one answer, so that nothing
            // leaks.
            SignalError::UnknownSignal | SignalError::ForeignHandle { .. } => {
                return Self::new(StatusCode::NOT_FOUND, "unknown_signal").detail(
                    "there is no such signal here: signals end with the server process that made them",
                );
            }
            SignalError::AlreadyTriggered
            | SignalError::AlreadyPoisoned { .. }
            | SignalError::AlreadyCancelled { .. }
            | SignalError::Derived => Self::new(StatusCode::CONFLICT, code),
            SignalError::OutcomeForgotten => Self::new(StatusCode::GONE, code),
            SignalError::EmptyMerge => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code).field("inputs")
            }
            SignalError::UnreachableMerge { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code).field("mode")
            }
            SignalError::Exhausted { limit } => Self::too_many(code, limit),
            SignalError::ShutDown { .. } | SignalError::NotCarried { .. } => {
                Self::unavailable(code)
            }
            SignalError::OwnerLost { .. } => {
                return Self::unavailable(code).detail(
                    "the gateway that made the signal does not answer: whether this had an effect is not known",
                );
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, code),
        }
        .detail(detail)
    }
}
