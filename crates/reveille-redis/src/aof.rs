//! The append-only file: what the start of a server may leave in it, and how it becomes whole.
//!
//! A server that is killed while it writes, or that loses its power, may leave the beginning of a transaction at
//! the end of its file; what a script writes is one. When they start, Redis, and Valkey before 9.1.2, cut off only
//! its last command. The transaction that is written next ends up inside the one that was left open, and
//! after another start what had been left is done first, in the place of what was acknowledged
//! (<https://github.com/valkey-io/valkey/pull/4342>). Such a server is written to only once it has written its
//! file anew since its start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, InfoDict, RedisError, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How often it is looked whether the file is written.
const GLANCE: Duration = Duration::from_millis(10);
/// How long after a failed attempt the next one is made.
const PAUSE: Duration = Duration::from_secs(1);
/// The first Valkey that cuts off what is left of a transaction as a whole.
const CUTS_TRANSACTIONS: [u32; 3] = [9, 1, 2];

/// The file of a server since its last start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aof {
    /// Nothing in it harms what is written after it, or there is none.
    Whole,
    /// It is written anew just now, or as soon as another file is written. It may not be in use yet.
    Rewriting,
    /// It may end with the beginning of a transaction.
    Suspect,
}

impl Aof {
    /// By what the server tells of itself.
    fn of(info: &InfoDict) -> Self {
        let is = |name: &str| info.get::<u8>(name) == Some(1);
        let rewritten = info
            .get::<i64>("aof_last_rewrite_time_sec")
            .is_some_and(|seconds| seconds >= 0);
        let well = info.get::<String>("aof_last_bgrewrite_status").as_deref() == Some("ok");
        if !is("aof_enabled") {
            Self::Whole
        } else if is("aof_rewrite_in_progress") || is("aof_rewrite_scheduled") {
            Self::Rewriting
        } else if cuts_transactions(info) || rewritten && well {
            Self::Whole
        } else {
            Self::Suspect
        }
    }
}

fn cuts_transactions(info: &InfoDict) -> bool {
    let version: Option<String> = info.get("valkey_version");
    version.is_some_and(|version| {
        let numbers = version
            .split('.')
            .map_while(|number| number.parse::<u32>().ok());
        numbers.ge(CUTS_TRANSACTIONS)
    })
}

/// Whether the server behind a connection may be written to. Connections are made anew when it starts.
#[derive(Debug, Default)]
pub(crate) struct Writable {
    is_whole: AtomicBool,
    /// Why it could not become so when that was last tried.
    failed: Mutex<Option<(Instant, RedisError)>>,
}

impl Writable {
    /// Waits until it is so, for as long as the caller has patience. An error means that it is not yet.
    pub(crate) async fn wait(
        &self,
        connection: &MultiplexedConnection,
        patience: Duration,
    ) -> RedisResult<()> {
        if self.is_whole.load(Ordering::Acquire) {
            return Ok(());
        }
        let waiting = tokio::time::timeout(patience, self.become_whole(connection.clone()));
        match waiting.await {
            Ok(outcome) => outcome,
            Err(_) => Err(lacking("the server still writes its append-only file anew")),
        }
    }

    /// One caller does it, and the others wait for that one, or take his place.
    async fn become_whole(&self, connection: MultiplexedConnection) -> RedisResult<()> {
        let mut failed = self.failed.lock().await;
        if self.is_whole.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some((at, error)) = &*failed
            && at.elapsed() < PAUSE
        {
            return Err(error.clone());
        }
        let outcome = rewritten(connection).await;
        match &outcome {
            Ok(()) => self.is_whole.store(true, Ordering::Release),
            Err(error) => *failed = Some((Instant::now(), error.clone())),
        }
        outcome
    }
}

/// Has the server write its file anew, unless it has done so since its start.
async fn rewritten(mut connection: MultiplexedConnection) -> RedisResult<()> {
    let mut begun = false;
    loop {
        let info = redis::cmd("INFO").query_async(&mut connection).await?;
        match Aof::of(&info) {
            Aof::Whole => return Ok(()),
            Aof::Rewriting => {}
            Aof::Suspect if begun => {
                return Err(lacking(
                    "the server could not write its append-only file anew",
                ));
            }
            Aof::Suspect => begin(&mut connection).await?,
        }
        begun = true;
        tokio::time::sleep(GLANCE).await;
    }
}

/// What is missing after a start.
fn lacking(what: &'static str) -> RedisError {
    (ErrorKind::Client, what).into()
}

async fn begin(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let says = |error: &RedisError, words| error.detail().is_some_and(|all| all.contains(words));
    let command = redis::cmd("BGREWRITEAOF");
    match command.query_async::<Value>(connection).await {
        // Somebody else was quicker.
        Err(error) if says(&error, "already in progress") => Ok(()),
        answer => answer.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Aof {
        Aof::of(&InfoDict::new(&lines.replace(' ', "\r\n")))
    }

    #[test]
    fn a_file_is_suspect_until_it_was_written_since_the_start() {
        let started = "aof_enabled:1 aof_rewrite_in_progress:0 aof_rewrite_scheduled:0 \
                       aof_last_rewrite_time_sec:-1 aof_last_bgrewrite_status:ok";
        assert_eq!(told(started), Aof::Suspect);
        for (instead_of, now, file) in [
            ("aof_enabled:1", "aof_enabled:0", Aof::Whole),
            ("sec:-1", "sec:0", Aof::Whole),
            ("in_progress:0", "in_progress:1", Aof::Rewriting),
            ("scheduled:0", "scheduled:1", Aof::Rewriting),
        ] {
            assert_eq!(told(&started.replace(instead_of, now)), file, "{now}");
        }
        let failed = started.replace("sec:-1", "sec:0").replace(":ok", ":err");
        assert_eq!(told(&failed), Aof::Suspect);
        let again = started
            .replace("sec:-1", "sec:0")
            .replace("progress:0", "progress:1");
        assert_eq!(told(&again), Aof::Rewriting);
    }

    #[test]
    fn a_server_that_cuts_transactions_is_known_by_its_version() {
        let of_version = |version: &str| told(&format!("aof_enabled:1 {version}"));
        for version in ["9.1.2", "9.1.10", "9.2.0", "10.0.0"] {
            let told = of_version(&format!("valkey_version:{version}"));
            assert_eq!(told, Aof::Whole, "{version}");
        }
        for version in ["9.1.1", "8.1.4", "9.1", "unstable"] {
            let told = of_version(&format!("valkey_version:{version}"));
            assert_eq!(told, Aof::Suspect, "{version}");
        }
        assert_eq!(of_version("redis_version:9.1.2"), Aof::Suspect);
    }
}
