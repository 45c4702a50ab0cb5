//! Session logs in Redis Streams (Redis 6.2 and later, Valkey), for several processes at once.
//!
//! [`RedisBackend`] is a [`Backend`](reveille_backend::Backend) on one server, or on a cluster of
//! masters. Each operation on a log is one script, so that it happens in one step or not at all: an append compares the epoch, the seal,
//! the expected position and the idempotency keys, gives positions without holes, stores the batch as
//! entries of a stream and, if asked to, the seal. Appends to logs of one tenant that wait at the same time share
//! one call of that script. Two connections to each server are held whatever the
//! number of logs and watches: one for commands, pipelined, and one that hears what changes.
//!
//! # What it promises
//! | Settings of the server | Level in receipts | Lost when the server is killed | Lost with its power |
//! |---|---|---|---|
//! | `appendonly no` | `volatile` | everything: each start of the server is a new store | everything |
//! | `appendonly yes`, any `appendfsync` but `always` | `os` | nothing | the last second or two |
//! | `appendonly yes`, `appendfsync always`, `no-appendfsync-on-rewrite no` | `fsync` | nothing | nothing |
//!
//! The settings are read at each connect (`CONFIG GET`, else `INFO`); a server that promises less than
//! at first is refused. Replication is asynchronous: a failover may lose what was acknowledged last, unless
//! [more is asked for](RedisOptions::durability): `replicated` waits until replicas have it, which is no
//! consensus, and `replicated_fsync` until they have synced it.
//!
//! After each start of a server that writes a file, nothing is stored there until it has written that file anew,
//! which it is asked for (`BGREWRITEAOF`): Redis, and Valkey before 9.1.2, do not cut off what is left of a
//! transaction when they start, and what follows could be lost at the next start.
//!
//! An append whose answer is lost is
//! [`OutcomeUnknown`](reveille_backend::AppendError::OutcomeUnknown), never refused. What a server has
//! lost (`FLUSHALL`, an eviction) is never papered over: a log that is gone is not found and gets a new
//! epoch, a log of which a part is gone is [`Corrupt`](reveille_backend::BackendError::Corrupt).
//!
//! # In production
//! `maxmemory-policy noeviction`, `appendonly yes`, `appendfsync always` (or `everysec`), one database
//! or [prefix](RedisOptions::prefix) a store. All keys of a tenant have one hash tag: in a
//! cluster its master serves the tenant, redirections are followed, and while the slot moves, what needs keys
//! of both sides waits.

mod address;
mod answer;
mod aof;
mod appends;
mod backend;
mod error;
mod event;
mod link;
mod log;
mod names;
mod options;
mod order;
mod replicas;
mod scripts;
mod server;
mod servers;
mod slots;
mod tls;
mod wake;

pub use backend::RedisBackend;
pub use error::ConnectError;
pub use options::RedisOptions;
