//! Where the server is: fixed, or whichever the sentinels name.

use std::borrow::Cow;
use std::num::NonZeroU32;

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    RedisResult, TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;

use crate::error::ConnectError;
use crate::slots::Node;
use crate::tls::Files;

/// Begins a URL of sentinels.
const SENTINEL: &str = "redis+sentinel://";
/// Begins a URL of sentinels that speak TLS, as the servers do.
const TLS_SENTINEL: &str = "rediss+sentinel://";

/// Begins a URL of a cluster.
const CLUSTER: &str = "redis+cluster://";
/// Begins a URL of a cluster that speaks TLS.
const TLS_CLUSTER: &str = "rediss+cluster://";

/// Names the number of replicas behind a URL.
const REPLICAS: &str = "replicas";

/// What a URL names.
#[derive(Debug)]
pub(crate) enum Target {
    Server(Address),
    Cluster(Nodes),
}

/// How the servers of a cluster are reached, whichever it names.
pub(crate) struct Nodes {
    seeds: Vec<Node>,
    /// What is the same for all.
    settings: RedisConnectionInfo,
    tls: Option<TlsCertificates>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nodes")
            .field("seeds", &self.seeds)
            .finish_non_exhaustive()
    }
}

impl Nodes {
    /// `[USER:PASSWORD@]HOST:PORT,...`, with TLS if there are certificates.
    fn parse(rest: &str, tls: Option<TlsCertificates>) -> Result<Self, ConnectError> {
        let (user, hosts) = split_user(rest);
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        // The library knows how addresses and users are written.
        let read = |host: &str| format!("redis://{user}{host}").into_connection_info();
        let infos: RedisResult<Vec<_>> = hosts.split(',').map(read).collect();
        let infos = infos.map_err(invalid)?;
        let settings = infos.first().ok_or(ConnectError::Url(None))?;
        let settings = settings.redis_settings().clone();
        let seed = |info: &ConnectionInfo| match info.addr() {
            // A cluster has one database.
            ConnectionAddr::Tcp(host, port) if info.redis_settings().db() == 0 => Some(Node {
                host: host.as_str().into(),
                port: *port,
            }),
            _ => None,
        };
        let seeds: Option<Vec<_>> = infos.iter().map(seed).collect();
        let seeds = seeds.ok_or(ConnectError::Url(None))?;
        Ok(Self {
            seeds,
            settings,
            tls,
        })
    }

    /// Those that the URL names.
    pub(crate) fn seeds(&self) -> &[Node] {
        &self.seeds
    }

    pub(crate) fn address(&self, node: &Node) -> RedisResult<Address> {
        let (host, port) = (node.host.to_string(), node.port);
        let plain = ConnectionAddr::Tcp(host.clone(), port).into_connection_info()?;
        let info = plain.set_redis_settings(self.settings.clone());
        let client = match &self.tls {
            None => Client::open(info)?,
            Some(certificates) => {
                let address = ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure: false,
                    tls_params: None,
                };
                Client::build_with_tls(info.set_addr(address), certificates.clone())?
            }
        };
        Ok(Address::Fixed(Box::new(client)))
    }
}

/// Where a server is.
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

/// What stands behind a URL under one of these names, in order, and the URL without it.
pub(crate) fn take<'a>(
    url: &'a str,
    names: &[&'static str],
) -> (Cow<'a, str>, Vec<(&'static str, &'a str)>) {
    let Some((rest, query)) = url.split_once('?') else {
        return (Cow::Borrowed(url), Vec::new());
    };
    let (mut taken, mut others) = (Vec::new(), Vec::new());
    for setting in query.split('&') {
        let given = setting.split_once('=');
        let ours = given.and_then(|(name, value)| {
            let name = names.iter().find(|known| **known == name)?;
            Some((*name, value))
        });
        match ours {
            Some(ours) => taken.push(ours),
            None => others.push(setting),
        }
    }
    let rest = match others.is_empty() {
        true => Cow::Borrowed(rest),
        false => Cow::Owned(format!("{rest}?{}", others.join("&"))),
    };
    (rest, taken)
}

/// How many replicas the URL wants, and the URL without that.
pub(crate) fn take_replicas(url: &str) -> Result<(Cow<'_, str>, Option<u32>), ConnectError> {
    let (rest, taken) = take(url, &[REPLICAS]);
    let Some((_, number)) = taken.last() else {
        return Ok((rest, None));
    };
    let number: Result<NonZeroU32, _> = number.parse();
    let number = number.map_err(|error| ConnectError::Parameter {
        name: REPLICAS,
        source: error.into(),
    })?;
    Ok((rest, Some(number.get())))
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        let (url, files) = Files::take(url)?;
        if let Some(rest) = url.strip_prefix(SENTINEL) {
            files.unused()?;
            return sentinels(rest, None).map(Self::Server);
        }
        if let Some(rest) = url.strip_prefix(TLS_SENTINEL) {
            return sentinels(rest, Some(files.certificates()?)).map(Self::Server);
        }
        if let Some(rest) = url.strip_prefix(CLUSTER) {
            files.unused()?;
            return Nodes::parse(rest, None).map(Self::Cluster);
        }
        if let Some(rest) = url.strip_prefix(TLS_CLUSTER) {
            return Nodes::parse(rest, Some(files.certificates()?)).map(Self::Cluster);
        }
        let client = Client::open(&*url).map_err(invalid)?;
        match client.get_connection_info().addr() {
            // What is not verified is not safe from anybody.
            ConnectionAddr::TcpTls { insecure: true, .. } => Err(ConnectError::Url(None)),
            ConnectionAddr::TcpTls { .. } => {
                let info = client.get_connection_info().clone();
                let client = Client::build_with_tls(info, files.certificates()?);
                let client = client.map_err(invalid)?;
                Ok(Self::Server(Address::Fixed(Box::new(client))))
            }
            _ => {
                files.unused()?;
                Ok(Self::Server(Address::Fixed(Box::new(client))))
            }
        }
    }
}

impl Address {
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

/// Who uses the servers, with the `@` behind it, and the rest.
fn split_user(rest: &str) -> (&str, &str) {
    rest.split_at(rest.rfind('@').map_or(0, |at| at + 1))
}

/// `[USER:PASSWORD@]HOST:PORT,.../MASTER[/DB]`, with TLS if there are certificates.
fn sentinels(rest: &str, tls: Option<TlsCertificates>) -> Result<Address, ConnectError> {
    let (user, rest) = split_user(rest);
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
    fn a_number_of_replicas_is_taken_from_a_url() {
        for (url, rest, number) in [
            ("redis://h", "redis://h", None),
            ("redis://h?replicas=2", "redis://h", Some(2)),
            (
                "rediss://h?ca=f&replicas=1&key=k",
                "rediss://h?ca=f&key=k",
                Some(1),
            ),
            ("unix:///p?db=1", "unix:///p?db=1", None),
        ] {
            let taken = take_replicas(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((&*taken.0, taken.1), (rest, number));
        }
        for wrong in [
            "redis://h?replicas=0",
            "redis://h?replicas=",
            "redis://h?replicas=x",
        ] {
            let refused = take_replicas(wrong).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), "redis_url_parameter_invalid", "{wrong}");
        }
    }

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
                matches!(Target::parse(url), Ok(Target::Server(Address::Fixed(_)))),
                "{url}"
            );
        }
        for url in [
            "redis+sentinel://a:1,b:2/main",
            "redis+sentinel://u:p%40@a:1/main/3",
            "rediss+sentinel://a:1,b:2/main",
        ] {
            let parsed = Target::parse(url);
            assert!(
                matches!(parsed, Ok(Target::Server(Address::Sentinels(_)))),
                "{url}"
            );
        }
        for url in [
            "redis+cluster://u:p%40@a:1,[::1]:2",
            "rediss+cluster://a:1,b/",
        ] {
            let parsed = Target::parse(url);
            let Ok(Target::Cluster(nodes)) = parsed else {
                panic!("{url}: {parsed:?}");
            };
            assert_eq!(nodes.seeds().len(), 2, "{url}");
            assert!(nodes.seeds().iter().all(|node| nodes.address(node).is_ok()));
        }
        for url in [
            "http://a",
            "redis+sentinel://a:1",
            "redis+sentinel://a:1/",
            "redis+sentinel:///m",
            "rediss://h/#insecure",
            "redis+cluster://",
            "redis+cluster://a:1/2",
            "redis+cluster://a:1,b:x",
        ] {
            let refused = Target::parse(url).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), "redis_url_invalid", "{url}");
        }
    }
}
