//! What a transaction has changed of what the writer knows, so that it can be taken back.

use std::collections::{HashMap, HashSet};

use reveille_types::{Position, Seq, SessionKey, Tenant};

use super::Head;
use crate::store::{LogId, TenantId};

/// How it was before.
#[derive(Debug)]
pub(super) enum Undo {
    Head(LogId, Option<Head>),
    Id(SessionKey, Option<LogId>),
    Seq(Tenant, Seq),
    /// A key was remembered.
    Key(Tenant),
    /// A tenant was not known.
    Tenant(Tenant),
}

/// A row of events that is being put together.
#[derive(Debug)]
pub(super) struct PendingRow {
    pub(super) first: Position,
    pub(super) count: u64,
    pub(super) at: i64,
    pub(super) body: Vec<u8>,
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// In the order of the changes.
    pub(super) undo: Vec<Undo>,
    /// The logs whose ends have moved.
    pub(super) grown: HashSet<LogId>,
    /// What is appended to each log.
    pub(super) rows: HashMap<LogId, PendingRow>,
    /// The tenants that append, each with its first sequence number in this transaction.
    pub(super) tenants: HashMap<Tenant, (TenantId, Seq)>,
}
