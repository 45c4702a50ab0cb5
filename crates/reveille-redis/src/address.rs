//! Where the server is: fixed, or whichever the sentinels name.

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;

use crate::error::ConnectError;
use crate::tls::Files;

/// Begins a URL of sentinels.
const SENTINEL: &str = "redis+sentinel://";
/// Begins a URL of sentinels that speak TLS, as the servers do.
const TLS_SENTINEL: &str = "rediss+sentinel://";

/// Where the server is.
pub(crate) enum Address {
    Fixed(Box<Client>),
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
        let (url, files) = Files::take(url)?;
        if let Some(rest) = url.strip_prefix(SENTINEL) {
            files.unused()?;
            return sentinels(rest, None);
        }
        if let Some(rest) = url.strip_prefix(TLS_SENTINEL) {
            return sentinels(rest, Some(files.certificates()?));
        }
        let client = Client::open(&*url).map_err(invalid)?;
        match client.get_connection_info().addr() {
            // What is not verified is not safe from anybody.
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(ConnectError::Url(None)),
            ConnectionAddr::TcpTls { .. } => {
                let info = client.get_connection_info().clone();
                let client = Client::build_with_tls(info, files.certificates()?);
                let client = client.map_err(invalid)?;
                Ok(Self::Fixed(Box::new(client)))
            }
            _ => files.unused().map(|()| Self::Fixed(Box::new(client))),
        }
    }

    /// What connects to the server as it is now.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Fixed(client) => Ok(Client::clone(client)),
            Self::Sentinels(client) => client.lock().await.async_get_client().await,
        }
    }
}

fn invalid(error: RedisError) -> ConnectError {
    ConnectError::Url(Some(error))
}

/// `[USER:PASSWORD@]HOST:PORT,.../MASTER[/DB]`, with TLS if there are certificates.
fn sentinels(rest: &str, tls: Option<TlsCertificates>) -> Result<Address, ConnectError> {
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (format!("{user}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, path) = rest.split_once('/').ok_or(ConnectError::Url(None))?;
    let (master, database) = path.split_once('/').unwrap_or((path, "0"));
    if master.is_empty() {
        return Err(ConnectError::Url(None));
    }
    let scheme = if tls.is_some() { "rediss" } else { "redis" };
    // The library knows how addresses, users and databases are written.
    let read = |host: &str| format!("{scheme}://{host}").into_connection_info();
    let sentinels: RedisResult<Vec<_>> = hosts.split(',').map(read).collect();
    let sentinels = sentinels.map_err(invalid)?;
    let server = read(&format!("{user}server/{database}")).map_err(invalid)?;
    let server = server.redis_settings();
    let mut builder = SentinelClientBuilder::new(
        sentinels.iter().map(|sentinel| sentinel.addr().clone()),
        master,
        SentinelServerType::Master,
    )
    .map_err(invalid)?
    .set_client_to_redis_db(server.db());
    if let Some(username) = server.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = server.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(certificates) = tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    let client = builder.build().map_err(invalid)?;
    Ok(Address::Sentinels(Box::new(Mutex::new(client))))
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
            "unix:///run/redis.sock?db=1&user=u",
            "rediss://u:p@h:1/2",
        ] {
            assert!(
                matches!(Address::parse(url), Ok(Address::Fixed(_))),
                "{url}"
            );
        }
        for url in [
            "redis+sentinel://a:1,b:2/main",
            "redis+sentinel://u:p%40@a:1/main/3",
            "rediss+sentinel://a:1,b:2/main",
        ] {
            let parsed = Address::parse(url);
            assert!(matches!(parsed, Ok(Address::Sentinels(_))), "{url}");
        }
        for url in [
            "http://a",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+sentinel:///m",
            "rediss://h/#insecure",
        ] {
            let refused = Address::parse(url).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), "redis_url_invalid", "{url}");
        }
    }
}
