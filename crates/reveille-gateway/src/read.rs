//! Reading: one resource, five modes, one cursor.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_queue::{
    Page, PageOptions, ReadError, SessionLog, SubscribeOptions, Subscription, WaitOptions,
};
use reveille_types::cloudevents::encode_batch;
use reveille_types::wire::{
    self, CLOUDEVENT_BATCH_JSON, EVENT_STREAM, EventPage, EventQuery, LATEST_HEADER, NDJSON,
    OLDEST_HEADER, Open, SessionState,
};
use reveille_types::{
    Cursor, CursorError, Event, Filter, FilterSpec, Gap, GapReason, Position, SessionKey, Start,
};
use serde_json::value::RawValue;

use crate::address::Addressed;
use crate::auth::Caller;
use crate::body::{answer, json, timed_out};
use crate::feed::Feed;
use crate::frames::{Dialect, Names};
use crate::gateway::Gateway;
use crate::params::{Params, duration, refused};
use crate::problem::Refusal;
use crate::stream::{Beginning, EventStream, Seat, reads_gzip};
use crate::waiting::waiting;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a request asks to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    Earliest,
    Latest,
    After(Cursor),
    /// Something that is no cursor.
    Unreadable,
}

impl Asked {
    /// The first that is present: the header, then `after`, then its aliases. The header wins because
    /// a browser repeats the old URL when it reconnects.
    pub(crate) fn from_request(headers: &HeaderMap, params: &mut Params) -> Result<Self, Refusal> {
        let from_query = Self::from_query(params)?;
        match headers.get(LAST_EVENT_ID) {
            Some(value) if !value.is_empty() => {
                Ok(value.to_str().map_or(Self::Unreadable, Self::parse))
            }
            _ => Ok(from_query),
        }
    }

    pub(crate) fn from_query(params: &mut Params) -> Result<Self, Refusal> {
        let after = params.one("after")?;
        let alias = params.one("last_event_id")?;
        let polyfill = params.one("lastEventId")?;
        let given = after.or(alias).or(polyfill);
        Ok(given.as_deref().map_or(Self::Nothing, Self::parse))
    }

    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "earliest" => Self::Earliest,
            "latest" => Self::Latest,
            text => text.parse().map_or(Self::Unreadable, Self::After),
        }
    }

    /// The place of the header or query, else that of the body.
    pub(crate) fn or_body(self, after: Option<&str>) -> Self {
        match (self, after) {
            (Self::Nothing, Some(after)) if !after.is_empty() => Self::parse(after),
            (asked, _) => asked,
        }
    }

    /// Has the log know what another gateway has shown before this place.
    pub(crate) async fn reached(self, log: SessionLog) -> Result<SessionLog, Refusal> {
        if let Self::After(cursor) = self {
            log.load_to(Start::After(cursor)).await?;
        }
        Ok(log)
    }

    /// Where to begin, for requests that can be told that the cursor is bad.
    pub(crate) fn strict(self) -> Result<Start, Refusal> {
        match self {
            Self::Nothing | Self::Earliest => Ok(Start::Earliest),
            Self::Latest => Ok(Start::Latest),
            Self::After(cursor) => Ok(Start::After(cursor)),
            Self::Unreadable => Err(Refusal::bad_request(
                "unknown_cursor",
                "the cursor cannot be followed here",
            )
            .field("after")),
        }
    }
}

/// What a request asks for, whichever way it was said.
pub(crate) struct Asking {
    pub(crate) filter: Filter,
    pub(crate) asked: Asked,
    pub(crate) limit: Option<u64>,
    pub(crate) wait: Option<Duration>,
    pub(crate) streaming: Streaming,
}

impl Asking {
    /// All of it is in the query, `filter` as well.
    pub(crate) fn in_query(
        gateway: &Gateway,
        caller: &Caller,
        headers: &HeaderMap,
        mut params: Params,
        filter: impl FnOnce(&mut Params) -> Result<FilterSpec, Refusal>,
    ) -> Result<Self, Refusal> {
        let asking = Self {
            asked: Asked::from_request(headers, &mut params)?,
            filter: {
                let strict = params.strict()?;
                caller.narrow(gateway.filter(filter(&mut params)?, strict)?)?
            },
            limit: params.number("limit")?,
            wait: params.duration("wait")?,
            streaming: Streaming::from_query(gateway, headers, &mut params)?,
        };
        params.finish()?;
        Ok(asking)
    }

    /// The filter is in the body, where it may be long.
    pub(crate) async fn in_body(
        gateway: &Gateway,
        caller: &Caller,
        headers: &HeaderMap,
        mut params: Params,
        body: Body,
    ) -> Result<Self, Refusal> {
        let asked = Asked::from_request(headers, &mut params)?;
        let streaming = Streaming::from_query(gateway, headers, &mut params)?;
        params.finish()?;
        let request: EventQuery = json(headers, body, gateway.config()).await?;
        let spec = request.filter.unwrap_or_default();
        Ok(Self {
            asked: asked.or_body(request.after.as_deref()),
            filter: caller.narrow(gateway.filter(spec, request.strict)?)?,
            limit: request.limit,
            wait: request.wait_ms.map(Duration::from_millis),
            streaming,
        })
    }
}

/// How the answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Events and what is to be known of them.
    Page,
    /// Events alone, as a `CloudEvents` batch.
    Batch,
    Sse,
    Ndjson,
}

/// The mode of the media range that the client prefers; the first of several equals.
pub(crate) fn mode(headers: &HeaderMap) -> Result<Mode, Refusal> {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return Ok(Mode::Sse);
    };
    let mut best: Option<(f32, Mode)> = None;
    for range in accept.to_str().unwrap_or_default().split(',') {
        let mut parts = range.split(';').map(str::trim);
        let found = match &*parts.next().unwrap_or_default().to_ascii_lowercase() {
            "" => continue,
            "application/json" => Mode::Page,
            CLOUDEVENT_BATCH_JSON => Mode::Batch,
            NDJSON => Mode::Ndjson,
            EVENT_STREAM | "text/*" | "*/*" => Mode::Sse,
            _ => continue,
        };
        let quality = parts
            .find_map(|p| p.strip_prefix("q="))
            .and_then(|q| q.parse().ok())
            .unwrap_or(1.0);
        if quality > 0.0 && best.is_none_or(|(q, _)| quality > q) {
            best = Some((quality, found));
        }
    }
    best.map(|(_, mode)| mode).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable")
            .field("accept")
            .detail(format!(
                "offered are application/json, {CLOUDEVENT_BATCH_JSON}, {EVENT_STREAM}, {NDJSON}"
            ))
    })
}

pub(crate) async fn events(
    State(gateway): State<Gateway>,
    Addressed {
        caller,
        key,
        params,
        ..
    }: Addressed,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let asking = Asking::in_query(&gateway, &caller, &headers, params, |params| {
        let kinds = Some(params.patterns()?).filter(|kinds| !kinds.is_empty());
        Ok(FilterSpec {
            kinds,
            ..FilterSpec::default()
        })
    })?;
    read(&gateway, &caller, key, &headers, asking).await
}

/// `POST .../events:query`, `QUERY .../events`: the filter is in the body, where it may be long.
pub(crate) async fn query(
    State(gateway): State<Gateway>,
    Addressed {
        caller,
        key,
        params,
        ..
    }: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let asking = Asking::in_body(&gateway, &caller, &headers, params, body).await?;
    read(&gateway, &caller, key, &headers, asking).await
}

async fn read(
    gateway: &Gateway,
    caller: &Caller,
    key: SessionKey,
    headers: &HeaderMap,
    asking: Asking,
) -> Result<Response, Refusal> {
    let Asking {
        asked,
        filter,
        streaming,
        ..
    } = asking;
    // A stream has no pages, but a mistake in the request is one there as well.
    let limit = page_limit(gateway, asking.limit)?;
    let dialect = match mode(headers)? {
        mode @ (Mode::Page | Mode::Batch) => {
            let mut options = PageOptions::from(asked.strict()?, limit).matching(filter);
            let Some(wait) = asking.wait else {
                let log = asked.reached(gateway.session(&key).await?).await?;
                return Ok(page(mode, &log, &log.page(&options)?));
            };
            let log = asked.reached(gateway.session_or_new(key).await?).await?;
            return long_poll(gateway, caller, mode, &log, &mut options, wait).await;
        }
        Mode::Ndjson => Dialect::Ndjson,
        Mode::Sse => Dialect::Sse(streaming.names),
    };
    let log = asked.reached(gateway.session_or_new(key).await?).await?;
    let asked = match asked {
        Asked::Nothing => Asked::Latest,
        asked => asked,
    };
    stream(gateway, caller, &log, asked, filter, &streaming, dialect)
}

pub(crate) fn page_limit(gateway: &Gateway, limit: Option<u64>) -> Result<usize, Refusal> {
    let config = gateway.config();
    let limit = limit.map_or(Ok(config.page_default), usize::try_from);
    match limit {
        Ok(limit) if (1..=config.page_max).contains(&limit) => Ok(limit),
        _ => Err(refused(
            "limit",
            format!("is not between 1 and {}", config.page_max),
        )),
    }
}

/// An event as it stands in an answer.
pub(crate) fn raw(event: &Event) -> Box<RawValue> {
    raw_json(event.json())
}

/// The JSON of an event, which is JSON.
pub(crate) fn raw_json(json: &[u8]) -> Box<RawValue> {
    RawValue::from_string(String::from_utf8_lossy(json).into_owned()).unwrap_or_default()
}

/// A page as an answer. A batch has no place for anything but events: what else is to be known of it
/// stands in headers, and positions in its events show what is missing between them.
fn page(mode: Mode, log: &SessionLog, page: &Page) -> Response {
    if mode == Mode::Batch {
        let headers = [
            (header::CONTENT_TYPE.as_str(), CLOUDEVENT_BATCH_JSON.into()),
            (header::CACHE_CONTROL.as_str(), "no-store".into()),
            (wire::CURSOR_HEADER, page.cursor.to_string()),
            (OLDEST_HEADER, log.oldest().to_string()),
            (LATEST_HEADER, log.latest().to_string()),
        ];
        return (headers, encode_batch(&page.events)).into_response();
    }
    let page = EventPage {
        events: page.events.iter().map(raw).collect(),
        cursor: page.cursor,
        caught_up: page.caught_up,
        ended: page.ended.is_some(),
        reason: page.ended,
        gap: page.gap.clone(),
    };
    answer(StatusCode::OK, &page)
}

/// A page as soon as one event is there: 204 at the deadline, because intermediaries and browsers
/// repeat a 408 by themselves.
async fn long_poll(
    gateway: &Gateway,
    caller: &Caller,
    mode: Mode,
    log: &SessionLog,
    options: &mut PageOptions,
    wait: Duration,
) -> Result<Response, Refusal> {
    // "From now on" is one place for the whole request.
    if options.start == Start::Latest {
        options.start = Start::After(log.latest());
    }
    let first = log.page(options)?;
    if !first.events.is_empty() || first.ended.is_some() || first.gap.is_some() {
        return Ok(page(mode, log, &first));
    }
    let wanted = WaitOptions::any(options.filter.clone())
        .from(Start::After(first.cursor))
        .timeout(wait.min(gateway.config().wait_max));
    waiting(gateway, caller, log.wait(wanted)).await??;
    options.start = Start::After(first.cursor);
    let second = log.page(options)?;
    if second.events.is_empty() && second.ended.is_none() && second.gap.is_none() {
        return Ok(timed_out(second.cursor));
    }
    Ok(page(mode, log, &second))
}

/// What a stream can be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streaming {
    pub(crate) heartbeat: Duration,
    /// Whether heartbeats are frames, which pages can see.
    pub(crate) visible: bool,
    pub(crate) names: Names,
    /// Answer 410 instead of a gap frame.
    pub(crate) gap_fails: bool,
    /// Where to go on when the cursor cannot be followed.
    pub(crate) fallback: Start,
    /// Whether the stream is compressed.
    pub(crate) gzip: bool,
}

impl Streaming {
    pub(crate) fn from_query(
        gateway: &Gateway,
        headers: &HeaderMap,
        params: &mut Params,
    ) -> Result<Self, Refusal> {
        let configured = gateway.config().heartbeat;
        let (heartbeat, visible) = match params.one("heartbeat")?.as_deref() {
            None => (configured, false),
            Some("event") => (configured, true),
            Some(text) => match duration(text) {
                Some(asked) if (5..=55).contains(&asked.as_secs()) => (asked, false),
                _ => {
                    return Err(refused(
                        "heartbeat",
                        "is neither event nor between 5s and 55s",
                    ));
                }
            },
        };
        let names = [("type", Names::Type), ("none", Names::None)];
        let on_gap = [("earliest", Start::Earliest), ("latest", Start::Latest)];
        Ok(Self {
            heartbeat,
            visible,
            names: params.word("names", &names)?.unwrap_or(Names::None),
            gap_fails: params
                .word("gap", &[("frame", false), ("fail", true)])?
                .unwrap_or(false),
            fallback: params.word("on_gap", &on_gap)?.unwrap_or(Start::Earliest),
            gzip: params
                .word("compress", &[("0", false), ("1", true)])?
                .is_some_and(|asked| asked && reads_gzip(headers)),
        })
    }
}

/// Answers with a stream. A cursor that cannot be followed is a gap frame and not an error status,
/// which would stop a browser for good that only repeats what it was given.
pub(crate) fn stream(
    gateway: &Gateway,
    caller: &Caller,
    log: &SessionLog,
    asked: Asked,
    filter: Filter,
    streaming: &Streaming,
    dialect: Dialect,
) -> Result<Response, Refusal> {
    let (subscription, gap) = match subscribe(log, asked, filter.clone()) {
        Ok(subscription) => (subscription, None),
        Err(unfollowable) => {
            let (reason, start) = match unfollowable {
                ReadError::Cursor(CursorError::Ahead { .. }) => (GapReason::Ahead, Start::Latest),
                ReadError::Cursor(_) => (GapReason::UnknownCursor, streaming.fallback),
                other => return Err(other.into()),
            };
            let subscription = log.subscribe(SubscribeOptions::from(start).matching(filter))?;
            let requested = match asked {
                Asked::After(cursor) => Some(cursor),
                _ => None,
            };
            let gap = Gap::unfollowable(reason, requested, subscription.cursor());
            (subscription, Some(gap))
        }
    };
    let outline = log.outline();
    let resumed = matches!(asked, Asked::After(_)) && gap.is_none();
    let at = subscription.cursor();
    if resumed && outline.ended.is_some() && at == outline.latest {
        // Nothing is left and nothing will come: this is what stops an EventSource.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let missing = gap.is_some() || at.position() < outline.oldest.position();
    if streaming.gap_fails && missing {
        return Err(Refusal::new(StatusCode::GONE, "cursor_expired").field("after"));
    }
    let key = log.key();
    let open = Open {
        connection: String::new(),
        session: Some(match dialect {
            Dialect::Task => format!("{}/{}", key.namespace, key.id),
            _ => key.name(),
        }),
        cursor: at,
        oldest: outline.oldest,
        latest: outline.latest,
        resumed,
        state: match outline.ended {
            None => SessionState::Open,
            Some(_) => SessionState::Ended,
        },
        heartbeat_ms: 0,
        expires_at: outline.expires_at,
    };
    let beginning = Beginning { open, gap };
    let feed = Feed::Session(subscription);
    let seat = Seat::take(gateway, caller, &feed)?;
    let body = EventStream::new(seat, feed, beginning, streaming, dialect);
    Ok(body.into_response())
}

fn subscribe(log: &SessionLog, asked: Asked, filter: Filter) -> Result<Subscription, ReadError> {
    let start = match asked {
        Asked::Nothing | Asked::Earliest => Start::Earliest,
        Asked::Latest => Start::Latest,
        Asked::After(cursor) => Start::After(cursor),
        Asked::Unreadable => {
            let start = Cursor::session(log.epoch(), Position::START);
            return Err(CursorError::EpochMismatch { start }.into());
        }
    };
    log.subscribe(SubscribeOptions::from(start).matching(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(accept: &str) -> Result<Mode, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        mode(&headers)
    }

    #[test]
    fn the_mode_follows_the_preferred_media_range() {
        assert_eq!(mode(&HeaderMap::new()).unwrap(), Mode::Sse);
        assert_eq!(mode_of("*/*").unwrap(), Mode::Sse);
        assert_eq!(mode_of("application/json").unwrap(), Mode::Page);
        assert_eq!(mode_of("application/x-ndjson").unwrap(), Mode::Ndjson);
        let batch = mode_of("Application/CloudEvents-Batch+JSON").unwrap();
        assert_eq!(batch, Mode::Batch);
        assert_eq!(
            mode_of("application/json, text/event-stream").unwrap(),
            Mode::Page
        );
        assert_eq!(
            mode_of("application/json;q=0.5, text/event-stream").unwrap(),
            Mode::Sse
        );
        assert_eq!(mode_of("text/html, */*;q=0.1").unwrap(), Mode::Sse);
        assert!(mode_of("text/html").is_err());
        assert!(mode_of("application/json;q=0").is_err());
    }
}
