//! Where the server is: fixed, or whichever the sentinels name.

use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{Client, IntoConnectionInfo, RedisResult};
use tokio::sync::Mutex;

use crate::error::ConnectError;

/// Begins a URL of sentinels.
const SENTINEL: &str = "redis+sentinel://";

/// Where the server is.
pub(crate) enum Address {
    Fixed(Client),
    /// Asked anew for each connection, so that a connection after a failover goes to the new master.
    Sentinels(Box<Mutex<SentinelClient>>),
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A client's debug output holds its password.
        f.write_str(match self {
            Self::Fixed(_) => "Fixed",
            Self::Sentinels(_) => "Sentinels",
        })
    }
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let invalid = |error| ConnectError::Url(Some(error));
        let Some(rest) = url.strip_prefix(SENTINEL) else {
            return Client::open(url).map(Self::Fixed).map_err(invalid);
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (format!("{user}@"), rest),
            None => (String::new(), rest),
        };
        let (hosts, path) = rest.split_once('/').ok_or(ConnectError::Url(None))?;
        let (master, database) = path.split_once('/').unwrap_or((path, "0"));
        if master.is_empty() {
            return Err(ConnectError::Url(None));
        }
        let sentinels: Vec<String> = hosts.split(',').map(|h| format!("redis://{h}")).collect();
        // The user and the database are the server's; the library knows how they are written.
        let server = format!("redis://{user}server/{database}");
        let server = server.into_connection_info().map_err(invalid)?;
        let server = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(server.redis_settings().clone());
        let client = SentinelClient::build(
            sentinels,
            master.to_owned(),
            Some(server),
            SentinelServerType::Master,
        );
        let client = client.map_err(invalid)?;
        Ok(Self::Sentinels(Box::new(Mutex::new(client))))
    }

    /// What connects to the server as it is now.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Fixed(client) => Ok(client.clone()),
            Self::Sentinels(client) => client.lock().await.async_get_client().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_servers_and_sentinels_are_read() {
        for url in [
            "redis://127.0.0.1:1/2",
            "redis://u:p@h",
            "unix:///run/redis.sock",
        ] {
            assert!(
                matches!(Address::parse(url), Ok(Address::Fixed(_))),
                "{url}"
            );
        }
        for url in [
            "redis+sentinel://a:1,b:2/main",
            "redis+sentinel://u:p%40@a:1/main/3",
        ] {
            let parsed = Address::parse(url);
            assert!(matches!(parsed, Ok(Address::Sentinels(_))), "{url}");
        }
        for url in [
            "http://a",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+sentinel:///m",
        ] {
            let refused = Address::parse(url).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), "redis_url_invalid", "{url}");
        }
    }
}
