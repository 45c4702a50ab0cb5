//! The bus of a tenant: events of all its sessions in one order, in the same modes as one session.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_bus::{Bus, BusError, BusStart, BusSubscription, EventBus, SubscribeOptions};
use reveille_types::sets::{OverflowPolicy, PayloadAccess};
use reveille_types::wire::{CLOUDEVENT_BATCH_JSON, CURSOR_HEADER, EventPage, Open, SessionState};
use reveille_types::{
    Attributes, Cursor, CursorError, Filter, FilterSpec, Gap, GapReason, Seq, Start,
};

use crate::auth::Caller;
use crate::body::{answer, timed_out};
use crate::feed::Feed;
use crate::frames::{Dialect, json_of};
use crate::gateway::Gateway;
use crate::params::{Params, refused};
use crate::problem::Refusal;
use crate::read::{Asked, Asking, Mode, mode, page_limit, raw_json};
use crate::stream::{Beginning, EventStream, Seat};
use crate::waiting::waiting;

/// Most bytes on a page.
const PAGE_BYTES: usize = 1024 * 1024;

/// `GET /v1/events`: the filter is in the query.
pub(crate) async fn get(
    State(gateway): State<Gateway>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let asking = Asking::in_query(&gateway, &caller, &headers, params, spec)?;
    read(&gateway, &caller, &headers, asking).await
}

/// `POST /v1/events:query`, `QUERY /v1/events`: the filter is in the body, where it may be long.
pub(crate) async fn query(
    State(gateway): State<Gateway>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let asking = Asking::in_body(&gateway, &caller, &headers, params, body).await?;
    read(&gateway, &caller, &headers, asking).await
}

/// The filter that the parameters ask for: each may be repeated.
fn spec(params: &mut Params) -> Result<FilterSpec, Refusal> {
    let kinds = params.patterns()?;
    let mut texts = |name| Some(params.all(name)).filter(|values| !values.is_empty());
    Ok(FilterSpec {
        kinds: Some(kinds).filter(|kinds| !kinds.is_empty()),
        namespace: texts("namespace"),
        session: texts("session"),
        path: texts("path"),
        source: texts("source"),
        subject: texts("subject"),
        agent: texts("agent"),
        run: texts("run"),
        turn: texts("turn"),
        correlation: texts("correlation"),
        caused_by: texts("caused_by"),
        tag: texts("tag"),
        class: words(texts("class"), "class")?,
        finality: words(texts("final"), "final")?,
        privacy: words(texts("privacy"), "privacy")?,
        attributes: attributes(texts("attributes").as_deref())?,
    })
}

fn words<T: serde::de::DeserializeOwned>(
    texts: Option<Vec<String>>,
    name: &'static str,
) -> Result<Option<Vec<T>>, Refusal> {
    let word = |text: String| {
        serde_json::from_value(serde_json::Value::String(text))
            .map_err(|_| refused(name, "is not one of its values"))
    };
    texts
        .map(|texts| texts.into_iter().map(word).collect())
        .transpose()
}

/// Conditions on attributes, as JSON.
fn attributes(texts: Option<&[String]>) -> Result<Option<Attributes>, Refusal> {
    const NAME: &str = "attributes";
    match texts {
        None => Ok(None),
        Some([json]) => serde_json::from_str(json)
            .map(Some)
            .map_err(|_| refused(NAME, "is no set of conditions")),
        Some(_) => Err(refused(NAME, "is there twice")),
    }
}

async fn read(
    gateway: &Gateway,
    caller: &Caller,
    headers: &HeaderMap,
    asking: Asking,
) -> Result<Response, Refusal> {
    let limit = page_limit(gateway, asking.limit)?;
    let bus = gateway.bus(caller.tenant()).await?;
    match mode(headers)? {
        Mode::Sse => {
            let dialect = Dialect::Sse(asking.streaming.names);
            stream(gateway, caller, &bus, asking, dialect)
        }
        Mode::Ndjson => stream(gateway, caller, &bus, asking, Dialect::Ndjson),
        mode @ (Mode::Page | Mode::Batch) => page(gateway, caller, &bus, mode, asking, limit).await,
    }
}

/// A page as an answer; as a batch it has no place for anything but events, and the cursor stands in a
/// header.
fn paged(mode: Mode, page: &EventPage) -> Response {
    match mode {
        Mode::Batch => {
            let cursor = [(CURSOR_HEADER, page.cursor.to_string())];
            let batch = [(header::CONTENT_TYPE, CLOUDEVENT_BATCH_JSON)];
            (
                cursor,
                batch,
                answer(StatusCode::OK, &page.events).into_body(),
            )
                .into_response()
        }
        _ => answer(StatusCode::OK, page),
    }
}

async fn page(
    gateway: &Gateway,
    caller: &Caller,
    bus: &Bus,
    mode: Mode,
    asking: Asking,
    limit: usize,
) -> Result<Response, Refusal> {
    let info = bus.tail().info();
    let after = match asking.asked.strict()? {
        Start::Latest => info.latest,
        Start::After(cursor) => cursor.resolve_bus(
            bus.tail().epoch(),
            asking.filter.fingerprint(),
            info.oldest,
            info.reach,
        )?,
        Start::Earliest | Start::At(_) => info.oldest,
    };
    let first = page_of(bus, after, &asking.filter, limit);
    let Some(wait) = asking.wait else {
        return Ok(paged(mode, &first));
    };
    if !first.events.is_empty() || first.gap.is_some() {
        return Ok(paged(mode, &first));
    }
    let start = BusStart::After(first.cursor);
    let wait = wait.min(gateway.config().wait_max);
    let found = bus.wait(asking.filter.clone(), start, wait);
    waiting(gateway, caller, found).await??;
    let page = page_of(bus, Seq(first.cursor.place()), &asking.filter, limit);
    if page.events.is_empty() && page.gap.is_none() {
        return Ok(timed_out(page.cursor));
    }
    Ok(paged(mode, &page))
}

/// A page of events after a place. What is missing before its first event is told with it.
fn page_of(bus: &Bus, after: Seq, filter: &Filter, limit: usize) -> EventPage {
    let tail = bus.tail();
    let cursor = |seq: Seq| bus.cursor(seq, filter);
    let mut read = tail.read(after, filter, limit, PAGE_BYTES);
    let mut gap = None;
    if !read.missing.is_empty() {
        gap = Some(Gap {
            reason: GapReason::Expired,
            missed: filter.is_all().then(|| read.missing.count()),
            ranges: std::mem::take(&mut read.missing),
            requested: Some(cursor(after)),
            resumes_at: cursor(read.read_to),
            repair: None,
            overflow: None,
        });
        let resumed = tail.read(read.read_to, filter, limit, PAGE_BYTES);
        // What is missing further on is told on the next page.
        if resumed.missing.is_empty() {
            read = resumed;
        }
    }
    let event = |event: &reveille_types::Event| {
        let (event, _) = bus.view(event, PayloadAccess::FullPayloadIfPolicyAllows);
        raw_json(&json_of(&event, cursor(event.place().seq)))
    };
    EventPage {
        events: read.events.iter().map(event).collect(),
        cursor: cursor(read.read_to),
        caught_up: read.read_to >= tail.info().latest,
        ended: false,
        reason: None,
        gap,
    }
}

fn stream(
    gateway: &Gateway,
    caller: &Caller,
    bus: &Bus,
    asking: Asking,
    dialect: Dialect,
) -> Result<Response, Refusal> {
    let filter = asking.filter;
    let (events, gap) = match subscribe(bus, asking.asked, &filter) {
        Ok(events) => (events, None),
        Err(BusError::Cursor(error)) => {
            let (reason, start) = match (error, asking.streaming.fallback) {
                (CursorError::Ahead { .. }, _) => (GapReason::Ahead, BusStart::Latest),
                (_, Start::Latest) => (GapReason::UnknownCursor, BusStart::Latest),
                _ => (GapReason::UnknownCursor, BusStart::Earliest),
            };
            let events = bus.subscribe(streaming(&filter, start))?;
            let requested = match asking.asked {
                Asked::After(cursor) => Some(cursor),
                _ => None,
            };
            let gap = Gap::unfollowable(reason, requested, events.cursor());
            (events, Some(gap))
        }
        Err(error) => return Err(error.into()),
    };
    let info = bus.tail().info();
    let at = events.cursor();
    if asking.streaming.gap_fails && (gap.is_some() || at.place() < info.oldest.0) {
        return Err(Refusal::new(StatusCode::GONE, "cursor_expired").field("after"));
    }
    let open = Open {
        connection: String::new(),
        session: None,
        cursor: at,
        oldest: bus.cursor(info.oldest, &filter),
        latest: bus.cursor(info.latest, &filter),
        resumed: matches!(asking.asked, Asked::After(_)) && gap.is_none(),
        state: SessionState::Open,
        heartbeat_ms: 0,
        expires_at: None,
    };
    let beginning = Beginning { open, gap };
    let feed = Feed::Bus(events);
    let seat = Seat::take(gateway, caller, &feed)?;
    let body = EventStream::new(seat, feed, beginning, &asking.streaming, dialect);
    Ok(body.into_response())
}

fn subscribe(bus: &Bus, asked: Asked, filter: &Filter) -> Result<BusSubscription, BusError> {
    let start = match asked {
        Asked::Nothing | Asked::Latest => BusStart::Latest,
        Asked::Earliest => BusStart::Earliest,
        Asked::After(cursor) => BusStart::After(cursor),
        Asked::Unreadable => {
            let start: Cursor = bus.cursor(Seq(0), filter);
            return Err(CursorError::EpochMismatch { start }.into());
        }
    };
    bus.subscribe(streaming(filter, start))
}

/// A client that is too slow is told to come back: it resumes where it was, and loses nothing that is
/// still retained.
fn streaming(filter: &Filter, start: BusStart) -> SubscribeOptions {
    SubscribeOptions::matching(filter.clone())
        .payloads()
        .from(start)
        .policy(OverflowPolicy::FailSubscriber)
}
