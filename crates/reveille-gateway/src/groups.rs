//! Groups of takers as resources: where one stands, where it goes on, and what it could not do.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use reveille_queue::{DeadLetter, SessionLog};
use reveille_types::wire::{
    DeadLetterAnswer, DeadLetterInfo, DeadLetterList, DeadLetterRequest, GroupInfo, GroupMoved,
    GroupSkip,
};
use reveille_types::{Invalid, Label, Position};

use crate::address::Addressed;
use crate::auth::Caller;
use crate::body::{answer, json};
use crate::gateway::Gateway;
use crate::problem::Refusal;
use crate::read::{Asked, raw};

/// A group of a session that is there.
struct Group {
    caller: Caller,
    log: SessionLog,
    name: Label,
}

impl Group {
    async fn of(gateway: &Gateway, addressed: Addressed) -> Result<Self, Refusal> {
        let name = addressed.group.clone().unwrap_or_default();
        let name = Label::parse(name)
            .map_err(|e| Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_parameter", &e))?;
        let caller = addressed.caller.clone();
        let log = gateway.session(&addressed.only()?).await?;
        log.load_groups().await?;
        Ok(Self { caller, log, name })
    }

    /// Its dead letters, as far as the caller may see them.
    fn letters(&self) -> Vec<DeadLetter> {
        let mut letters = self.log.dead_letters(&self.name);
        letters.retain(|letter| {
            let kind = letter.event.kind();
            self.caller.check_kind(self.log.key(), kind).is_ok()
        });
        letters
    }
}

/// Where a group stands.
pub(crate) async fn info(
    State(gateway): State<Gateway>,
    addressed: Addressed,
) -> Result<Response, Refusal> {
    let group = Group::of(&gateway, addressed).await?;
    let info = group
        .log
        .group_info(&group.name)
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "group_not_found").field("group"))?;
    let info = GroupInfo {
        group: group.name.as_str().to_owned(),
        cursor: info.cursor,
        pending: info.pending,
        leased: info.leased as u64,
        waiting: info.waiting as u64,
        dead: info.dead as u64,
        lost: info.lost,
        died: info.died,
    };
    Ok(answer(StatusCode::OK, &info))
}

/// Moves a group on: what lies before counts as done.
pub(crate) async fn skip(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let group = Group::of(&gateway, addressed).await?;
    let request: GroupSkip = json(&headers, body, gateway.config()).await?;
    if request.to.is_empty() {
        return Err(unfit(&Invalid::Empty { field: "to".into() }));
    }
    let start = Asked::parse(&request.to).strict();
    let start = start.map_err(|refusal| refusal.field("to"))?;
    let cursor = group.log.skip_to(&group.name, start).await?;
    Ok(answer(StatusCode::OK, &GroupMoved { cursor }))
}

/// Events that were delivered as often as they may be and came back.
pub(crate) async fn dead_letters(
    State(gateway): State<Gateway>,
    addressed: Addressed,
) -> Result<Response, Refusal> {
    let group = Group::of(&gateway, addressed).await?;
    let letters = group.letters();
    let list = DeadLetterList {
        letters: letters
            .iter()
            .map(|letter| DeadLetterInfo {
                position: letter.event.position().0,
                deliveries: letter.deliveries,
                event: raw(&letter.event),
            })
            .collect(),
    };
    Ok(answer(StatusCode::OK, &list))
}

/// Offers dead letters again, or lets go of them.
pub(crate) async fn settle_dead_letters(
    State(gateway): State<Gateway>,
    addressed: Addressed,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let group = Group::of(&gateway, addressed).await?;
    let request: DeadLetterRequest = json(&headers, body, gateway.config()).await?;
    let visible: Vec<Position> = group.letters().iter().map(|l| l.event.position()).collect();
    let seen = |at: &&u64| visible.contains(&Position(**at));
    let mut done = DeadLetterAnswer::default();
    for at in request.retry.iter().filter(seen) {
        let there = group.log.retry_dead_letter(&group.name, Position(*at));
        done.retried += u64::from(there.await?);
    }
    for at in request.discard.iter().filter(seen) {
        let there = group.log.discard_dead_letter(&group.name, Position(*at));
        done.discarded += u64::from(there.await?);
    }
    Ok(answer(StatusCode::OK, &done))
}

fn unfit(invalid: &Invalid) -> Refusal {
    Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, "invalid_option", invalid)
}
