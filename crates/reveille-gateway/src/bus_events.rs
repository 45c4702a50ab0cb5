//! The bus of a tenant: events of all its sessions in one order, in the same modes as one session.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reveille_bus::{
    Bus, BusError, BusFrame, BusPage, BusStart, BusSubscription, EventBus, PageQuery,
    SubscribeOptions,
};
use reveille_types::sets::OverflowPolicy;
use reveille_types::wire::{CLOUDEVENT_BATCH_JSON, CURSOR_HEADER, EventPage, Open, SessionState};
use reveille_types::{
    Attributes, Cursor, CursorError, Filter, FilterSpec, Gap, GapReason, Seq, Start,
};
use tokio::time::Instant;

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
            stream(gateway, caller, &bus, asking, dialect).await
        }
        Mode::Ndjson => stream(gateway, caller, &bus, asking, Dialect::Ndjson).await,
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
    let start = match asking.asked.strict()? {
        // "From now on" is one place for the whole request.
        Start::Latest => BusStart::After(bus.cursor(bus.tail().info().latest, &asking.filter)),
        Start::After(cursor) => BusStart::After(cursor),
        Start::Earliest | Start::At(_) => BusStart::Earliest,
    };
    let query = PageQuery::new(asking.filter, start);
    let query = query.payloads().limit(limit, PAGE_BYTES);
    let Some(wait) = asking.wait else {
        return Ok(paged(mode, &wire_page(&bus.page(&query).await?)));
    };
    let wait = wait.min(gateway.config().wait_max);
    let page = waiting(gateway, caller, page_within(bus, query, wait)).await??;
    if page.is_empty() {
        return Ok(timed_out(page.cursor));
    }
    Ok(paged(mode, &wire_page(&page)))
}

/// A page as soon as there is something to tell, and an empty one when the time is up.
async fn page_within(bus: &Bus, mut query: PageQuery, wait: Duration) -> Result<BusPage, BusError> {
    let deadline = Instant::now() + wait;
    loop {
        let page = bus.page(&query).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !page.is_empty() || left.is_zero() {
            return Ok(page);
        }
        query.start = BusStart::After(page.cursor);
        if page.caught_up {
            bus.wait(query.filter.clone(), query.start, left).await?;
        }
    }
}

fn wire_page(page: &BusPage) -> EventPage {
    let event = |frame: &BusFrame| raw_json(&json_of(&frame.event, frame.cursor));
    EventPage {
        events: page.events.iter().map(event).collect(),
        cursor: page.cursor,
        caught_up: page.caught_up,
        ended: false,
        reason: None,
        gap: page.gap.clone(),
    }
}

async fn stream(
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
    if asking.streaming.gap_fails && (gap.is_some() || begins_with_a_gap(bus, &filter, at).await?) {
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

/// Whether something is missing before the first event, in the store, too.
async fn begins_with_a_gap(bus: &Bus, filter: &Filter, at: Cursor) -> Result<bool, BusError> {
    if at.place() >= bus.tail().info().oldest.0 {
        return Ok(false);
    }
    let first = PageQuery::new(filter.clone(), BusStart::After(at)).limit(1, 0);
    Ok(bus.page(&first).await?.gap.is_some())
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
