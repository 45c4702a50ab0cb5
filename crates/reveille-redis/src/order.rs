//! The order of a tenant over all its logs: a stream beside them says which event has which number.
//!
//! It is trimmed to about as many events as a gateway retains of a tenant. What it does not name any more
//! is a hole.

use std::collections::HashMap;
use std::sync::Arc;

use redis::Value;
use reveille_backend::{BackendError, OrderPage, ReadLimit};
use reveille_types::{Event, Position, Seq, SessionKey, Tenant};

use crate::answer::{Answer, next, number};
use crate::error::corrupt;
use crate::event::decode;
use crate::link::Request;
use crate::log::{FAR, READ_BYTES, READ_EVENTS};
use crate::names::{TenantNames, parse_local_name};
use crate::scripts::ORDER;
use crate::servers::Servers;

/// Reads what follows `after`, in one step of the server.
pub(crate) async fn read(
    servers: &Servers,
    tenant: &Tenant,
    after: Seq,
    limit: ReadLimit,
) -> Result<OrderPage, BackendError> {
    let most = limit.events.clamp(1, READ_EVENTS);
    let bytes = limit.bytes.clamp(1, READ_BYTES);
    let asking = servers.repeatable::<Answer>(tenant, |live| {
        let names = TenantNames::new(&live.store, tenant);
        let keys = [names.logs(), names.counters(), names.sequence()];
        let mut call = Request::script(&ORDER, &keys);
        call.arg(names.base())
            .arg(after.0.min(FAR))
            .arg(most)
            .arg(bytes);
        call
    });
    let mut values = asking.await?.found()?;
    let through = Seq(number(&mut values)?).max(after);
    let mut keys: HashMap<String, Arc<SessionKey>> = HashMap::new();
    let mut events = Vec::new();
    for entry in next::<Vec<Value>>(&mut values)? {
        // What is damaged is told to those who read its log. Here it does not stop all others.
        match event(entry, tenant, &mut keys) {
            Ok(event) => events.push(event),
            Err(error) => tracing::warn!(%error, "an event is missing in the order of Redis"),
        }
    }
    Ok(OrderPage::first_of(events, through, limit))
}

/// The event that the script has found.
fn event(
    entry: Value,
    tenant: &Tenant,
    keys: &mut HashMap<String, Arc<SessionKey>>,
) -> Result<Event, BackendError> {
    let mut entry = next::<Vec<Value>>(&mut vec![entry].into_iter())?.into_iter();
    let name: String = next(&mut entry)?;
    let epoch: String = next(&mut entry)?;
    let position = Position(number(&mut entry)?);
    let damaged = || corrupt(format!("the order at {name:?}"));
    let epoch = epoch.parse().map_err(|_| damaged())?;
    let key = match keys.get(&name) {
        Some(key) => Arc::clone(key),
        None => {
            let key = Arc::new(parse_local_name(tenant, &name).ok_or_else(damaged)?);
            keys.insert(name.clone(), Arc::clone(&key));
            key
        }
    };
    decode(next(&mut entry)?, position, &key, epoch)
}
