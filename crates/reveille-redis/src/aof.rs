//! The append-only file: what the start of a server may leave in it, and how it becomes whole.
//!
//! A server that is killed while it writes, or that loses its power, may leave the beginning of a transaction at
//! the end of its file; what a script writes is one. When they start, Redis, and Valkey before 9.1.2, cut off only
//! its last command. The transaction that is written next ends up inside the one that was left open, and
//! after another start what had been left is done first, in the place of what was acknowledged
//! (<https://github.com/valkey-io/valkey/pull/4342>). Such a server is written to only once it has written its
//! file anew since its start.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, InfoDict, RedisError, RedisResult, ServerErrorKind, Value};
use reveille_backend::BackendError;
use tokio::time::Instant;

use crate::error::unavailable;

/// How often it is looked whether the file is written.
const PAUSE: Duration = Duration::from_millis(10);
/// The first Valkey that cuts off what is left of a transaction as a whole.
const CUTS_TRANSACTIONS: [u32; 3] = [9, 1, 2];

/// The file of a server since its last start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aof {
    /// Nothing in it harms what is written after it, or there is none.
    Whole,
    /// It is written anew just now, or as soon as another file is written.
    Rewriting,
    /// It may end with the beginning of a transaction.
    Suspect,
}

impl Aof {
    /// By what the server tells of itself.
    pub(crate) fn of(info: &InfoDict) -> Self {
        let is = |name: &str| info.get::<u8>(name) == Some(1);
        let rewritten = info
            .get::<i64>("aof_last_rewrite_time_sec")
            .is_some_and(|seconds| seconds >= 0);
        let well = info.get::<String>("aof_last_bgrewrite_status").as_deref() == Some("ok");
        if !is("aof_enabled") || cuts_transactions(info) || rewritten && well {
            Self::Whole
        } else if is("aof_rewrite_in_progress") || is("aof_rewrite_scheduled") {
            Self::Rewriting
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

/// Makes the server begin to write its file anew; `false` if that is not allowed here.
pub(crate) async fn rewrite(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let command = redis::cmd("BGREWRITEAOF");
    match command.query_async::<Value>(connection).await {
        Err(error) if is_forbidden(&error) => Ok(false),
        // Somebody else was quicker.
        Err(error) if says(&error, "already in progress") => Ok(true),
        answer => answer.map(|_| true),
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) || says(error, "unknown command")
}

fn says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}

/// Waits so long until the file is whole. An error means that it is not yet.
pub(crate) async fn whole(
    mut connection: MultiplexedConnection,
    patience: Duration,
) -> Result<(), BackendError> {
    let until = Instant::now() + patience;
    let mut asked = false;
    loop {
        let mut command = redis::cmd("INFO");
        command.arg("persistence");
        let info = command.query_async(&mut connection).await;
        match Aof::of(&info.map_err(unavailable)?) {
            Aof::Whole => return Ok(()),
            Aof::Suspect if asked => {
                return Err(unavailable(
                    "the server could not write its append-only file anew, which it must after its start",
                ));
            }
            Aof::Suspect => {
                let allowed = rewrite(&mut connection).await.map_err(unavailable)?;
                if !allowed {
                    return Err(unavailable("BGREWRITEAOF is not allowed any more"));
                }
                asked = true;
            }
            Aof::Rewriting => asked = true,
        }
        if Instant::now() >= until {
            return Err(unavailable(
                "the server still writes its append-only file anew after its start",
            ));
        }
        tokio::time::sleep(PAUSE).await;
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
