//! Replicas: what is written is acknowledged once enough of them have it.
//!
//! A server answers before its replicas have anything. `WAIT` and `WAITAOF` on the same connection tell how
//! many have what was written over it: in their memory, or on their disks.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, ParsingError, Value};
use reveille_types::Durability;

use crate::options::RedisOptions;

/// For how many replicas is waited, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replicas {
    count: u32,
    /// Until they and the server itself have synced it.
    synced: bool,
}

impl Replicas {
    /// Those that the options ask for, if they do.
    pub(crate) fn asked(options: &RedisOptions) -> Option<Self> {
        let synced = match options.durability {
            Some(Durability::Replicated) => false,
            Some(Durability::ReplicatedFsync) => true,
            _ => return None,
        };
        let count = options.replicas.max(1);
        Some(Self { count, synced })
    }

    /// Whether they are waited for until they have synced it.
    pub(crate) fn synced(self) -> bool {
        self.synced
    }

    /// What an acknowledged command survives, if it is waited for on a server that promises this by itself. One
    /// that starts again without its data makes its replicas forget theirs.
    pub(crate) fn over(self, server: Durability, knows_waitaof: bool) -> Durability {
        match (server.covers(Durability::Os), self.synced) {
            (true, false) => Durability::Replicated,
            (true, true) if knows_waitaof => Durability::ReplicatedFsync,
            _ => server,
        }
    }

    /// What asks for the number of those who have it, and waits so long for them.
    pub(crate) fn command(self, patience: Duration) -> Cmd {
        // None at all would be for ever.
        let millis = u64::try_from(patience.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        match self.synced {
            false => {
                let mut command = redis::cmd("WAIT");
                command.arg(self.count).arg(millis);
                command
            }
            true => {
                let mut command = redis::cmd("WAITAOF");
                command.arg(1).arg(self.count).arg(millis);
                command
            }
        }
    }

    /// Whether the answer says that enough have it.
    pub(crate) fn have(self, answer: Value) -> Result<bool, ParsingError> {
        match self.synced {
            false => Ok(u32::from_redis_value(answer)? >= self.count),
            true => {
                let (here, there): (u32, u32) = FromRedisValue::from_redis_value(answer)?;
                Ok(here >= 1 && there >= self.count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(level: Option<Durability>) -> Option<Replicas> {
        let mut options = RedisOptions::default();
        (options.durability, options.replicas) = (level, 2);
        Replicas::asked(&options)
    }

    #[test]
    fn replicas_are_waited_for_where_that_is_asked_and_promises_something() {
        use Durability::{Fsync, Os, Replicated, ReplicatedFsync, Volatile};
        for level in [None, Some(Volatile), Some(Os), Some(Fsync)] {
            assert_eq!(asking(level), None, "{level:?}");
        }
        for (asked, server, knows_waitaof, promised) in [
            (Replicated, Volatile, true, Volatile),
            (Replicated, Os, false, Replicated),
            (Replicated, Fsync, true, Replicated),
            (ReplicatedFsync, Volatile, true, Volatile),
            (ReplicatedFsync, Os, true, ReplicatedFsync),
            (ReplicatedFsync, Fsync, false, Fsync),
        ] {
            let replicas = asking(Some(asked)).unwrap_or_else(|| panic!("{asked:?}"));
            assert_eq!(replicas.over(server, knows_waitaof), promised, "{asked:?}");
        }
    }

    #[test]
    fn answers_are_counted() {
        let count = |synced, answer| Replicas { count: 2, synced }.have(answer).ok();
        assert_eq!(count(false, Value::Int(1)), Some(false));
        assert_eq!(count(false, Value::Int(2)), Some(true));
        assert_eq!(count(false, Value::Nil), None);
        for (here, there, enough) in [(0, 2, false), (1, 1, false), (1, 2, true)] {
            let answer = Value::Array(vec![Value::Int(here), Value::Int(there)]);
            assert_eq!(count(true, answer), Some(enough));
        }
        assert_eq!(count(true, Value::Int(2)), None);
    }
}
