//! Waiting without consuming.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use reveille_queue::{WaitOptions, WaitOutcome};
use reveille_types::Start;
use reveille_types::wire::{WaitAnswer, WaitOutcomeKind};

use crate::address::Addressed;
use crate::body::{answer, timed_out};
use crate::gateway::Gateway;
use crate::modes::binary_answer;
use crate::params::refused;
use crate::problem::Refusal;
use crate::read::{Asked, raw};
use crate::waiting::waiting;

/// Whether one match is enough.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Any,
    All,
}

/// How the event that was waited for is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// In an answer that tells how the wait came out.
    Answer,
    /// Alone, as a `CloudEvent` in binary mode.
    Binary,
}

pub(crate) async fn wait(
    State(gateway): State<Gateway>,
    Addressed {
        caller,
        key,
        mut params,
        ..
    }: Addressed,
) -> Result<Response, Refusal> {
    let patterns = params.patterns()?;
    let strict = params.strict()?;
    let mode = params.word("mode", &[("any", Mode::Any), ("all", Mode::All)])?;
    let content = [("answer", Content::Answer), ("binary", Content::Binary)];
    let content = params.word("content", &content)?.unwrap_or(Content::Answer);
    if matches!(mode, Some(Mode::All)) && content == Content::Binary {
        return Err(refused(
            "content",
            "is for one event, and all were asked for",
        ));
    }
    let asked = Asked::from_query(&mut params)?;
    let config = gateway.config();
    let timeout = params.duration("timeout")?.unwrap_or(config.wait_default);
    params.finish()?;

    let mut options = match mode {
        Some(Mode::All) if !patterns.is_empty() => {
            // The bound on the number of matchers holds for both modes.
            gateway.kinds(patterns.clone(), strict)?;
            let each = |p| caller.narrow(gateway.kinds(vec![p], strict)?);
            WaitOptions::all(patterns.into_iter().map(each).collect::<Result<_, _>>()?)
        }
        _ => WaitOptions::any(caller.narrow(gateway.kinds(patterns, strict)?)?),
    };
    options.start = match asked {
        Asked::Nothing => Start::Earliest,
        asked => asked.strict()?,
    };
    options.timeout = Some(timeout.min(config.wait_max));

    let log = gateway.session_or_new(key).await?;
    let outcome = waiting(&gateway, &caller, log.wait(options)).await??;
    let found = match outcome {
        WaitOutcome::TimedOut { next, .. } => {
            gateway.metrics().wait("timed_out");
            return Ok(timed_out(next));
        }
        // What is missing before the event has no place beside it, and must be told.
        WaitOutcome::Matched {
            events,
            cursor,
            gap: None,
        } if content == Content::Binary && events.len() == 1 => {
            gateway.metrics().wait("matched");
            return Ok(binary_answer(&events[0], cursor));
        }
        WaitOutcome::Matched {
            events,
            cursor,
            gap,
        } => WaitAnswer {
            outcome: WaitOutcomeKind::Matched,
            events: events.iter().map(raw).collect(),
            reason: None,
            cursor,
            gap,
        },
        WaitOutcome::Ended {
            reason,
            cursor,
            gap,
        } => WaitAnswer {
            outcome: WaitOutcomeKind::Ended,
            events: Vec::new(),
            reason: Some(reason),
            cursor,
            gap,
        },
    };
    gateway.metrics().wait(found.outcome.as_str());
    Ok(answer(StatusCode::OK, &found))
}
