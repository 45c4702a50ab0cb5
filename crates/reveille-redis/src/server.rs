//! What the server's own settings promise.

use redis::aio::MultiplexedConnection;
use redis::{InfoDict, RedisResult, Value};
use reveille_types::Durability;
use std::collections::HashMap;

use crate::replicas::Replicas;

/// What is known of the server behind a connection.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// What an acknowledged command survives there.
    pub(crate) durability: Durability,
    /// Names this run of the server: another one after each start.
    pub(crate) run: String,
}

impl Server {
    /// Asks the server. One that hides its settings is believed what it tells of its state: that it
    /// writes a file, not that it syncs it.
    pub(crate) async fn ask(
        connection: &mut MultiplexedConnection,
        replicas: Option<Replicas>,
    ) -> RedisResult<Self> {
        let info: InfoDict = redis::cmd("INFO").query_async(connection).await?;
        let settings: RedisResult<HashMap<String, String>> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("*append*")
            .query_async(connection)
            .await;
        let durability = match settings {
            Ok(settings) if !settings.is_empty() => of_settings(&settings),
            _ => match info.get::<u8>("aof_enabled") {
                Some(1) => Durability::Os,
                _ => Durability::Volatile,
            },
        };
        let durability = match replicas {
            None => durability,
            Some(replicas) => {
                let waits_for_syncs = replicas.synced() && knows_waitaof(connection).await?;
                replicas.over(durability, waits_for_syncs)
            }
        };
        let run = info.get("run_id").unwrap_or_default();
        Ok(Self { durability, run })
    }
}

async fn knows_waitaof(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let mut command = redis::cmd("COMMAND");
    command.arg("INFO").arg("WAITAOF");
    let known: Vec<Value> = command.query_async(connection).await?;
    Ok(known.first().is_some_and(|known| *known != Value::Nil))
}

/// An acknowledged command was written to the append-only file, if there is one, and synced if that is
/// done always, also while the file is rewritten.
fn of_settings(settings: &HashMap<String, String>) -> Durability {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|v| v == value);
    if !is("appendonly", "yes") {
        Durability::Volatile
    } else if is("appendfsync", "always") && is("no-appendfsync-on-rewrite", "no") {
        Durability::Fsync
    } else {
        Durability::Os
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_promise_no_more_than_they_keep() {
        for (appendonly, fsync, rewrite, expected) in [
            ("no", "always", "no", Durability::Volatile),
            ("yes", "everysec", "no", Durability::Os),
            ("yes", "no", "no", Durability::Os),
            ("yes", "always", "no", Durability::Fsync),
            ("yes", "always", "yes", Durability::Os),
        ] {
            let settings = HashMap::from(
                [
                    ("appendonly", appendonly),
                    ("appendfsync", fsync),
                    ("no-appendfsync-on-rewrite", rewrite),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
            assert_eq!(of_settings(&settings), expected, "{settings:?}");
        }
        assert_eq!(of_settings(&HashMap::new()), Durability::Volatile);
    }
}
