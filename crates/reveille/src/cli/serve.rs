//! `reveille serve`: the server.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reveille_gateway::{
    Certificate, Gateway, ListenOptions, Listener, ServeError, TlsConfig, bind, bind_admin, serve,
    serve_admin,
};
use reveille_types::{Durability, Tenant};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::calm::Calm;
use super::known::KnownInFile;
use super::output::note;
use super::settings::{Given, LogFormat, Settings, SettingsError};
use super::{CommandError, Outcome};

/// How long streams and requests may take to end after Ctrl-C.
const DRAIN_INTERRUPT: Duration = Duration::from_secs(3);

/// Serve sessions over HTTP
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    given: Given,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("{setting} {text:?} is no HOST:PORT of this machine")]
    Address {
        setting: &'static str,
        text: String,
        #[source]
        source: io::Error,
    },
    #[error("{setting} {text:?} names no address")]
    NoAddress { setting: &'static str, text: String },
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Archive(#[from] reveille_archive::OpenError),
    #[error(transparent)]
    Nats(#[from] reveille_nats::ConnectError),
    #[error("signals cannot reach other servers")]
    SignalNetwork(#[from] reveille_nats::JoinError),
    #[error(transparent)]
    Redis(#[from] reveille_redis::ConnectError),
    #[error("{backend} promises {}, and {} is asked for", promised.as_str(), asked.as_str())]
    Durability {
        asked: Durability,
        backend: String,
        promised: Durability,
    },
    #[error("stored sessions cannot be opened")]
    Stored(#[from] reveille_queue::SessionError),
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
}

impl StartError {
    /// 2 when the command line asks for what cannot be, 1 otherwise.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Address { .. }
            | Self::NoAddress { .. }
            | Self::Settings(_)
            | Self::Durability { .. }
            | Self::Nats(
                reveille_nats::ConnectError::Url
                | reveille_nats::ConnectError::Setting { .. }
                | reveille_nats::ConnectError::Credentials(_)
                | reveille_nats::ConnectError::Tls { .. },
            )
            | Self::Redis(
                reveille_redis::ConnectError::Url(_)
                | reveille_redis::ConnectError::Parameter { .. }
                | reveille_redis::ConnectError::Durability { .. },
            )
            | Self::Serve(
                ServeError::NotLoopback { .. }
                | ServeError::NotEncrypted { .. }
                | ServeError::Certificate { .. },
            ) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// A server that listens and has not begun to serve.
#[derive(Debug)]
pub(super) struct Listening {
    listener: Listener,
    /// For operators.
    admin: Option<Listener>,
    pub(super) gateway: Gateway,
    pub(super) url: String,
    read_again: ReadAgain,
    settings: Settings,
}

/// What asked the server to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody who sits at it, or the end of the work.
    Interrupt,
    /// Whatever manages processes here.
    Terminate,
}

impl Serve {
    /// Listens, and says where in the first line on standard error.
    pub(super) async fn listen(&self) -> Result<Listening, StartError> {
        let resolved = self.given.resolve(|name| std::env::var(name).ok())?;
        let (settings, file) = (resolved.settings, resolved.file);
        let address = address("listen", &settings.listen).await?;
        let known = match file {
            Some(file) if settings.has_auth() => Some(Arc::new(KnownInFile::new(file)?)),
            // Only the file can say who is known.
            _ => None,
        };
        let gateway = gateway(&settings, known.clone()).await?;
        let mut options = ListenOptions::default();
        if let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
            options.tls = Some(TlsConfig::new(certificate.clone(), key.clone()));
        }
        options.insecure_plain_http = settings.insecure_plain_http;
        let admin = match &settings.admin_listen {
            Some(text) => Some(bind_admin(self::address("admin_listen", text).await?).await?),
            None => None,
        };
        let listener = bind(address, &gateway, options).await?;
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Bind { address, source })?;
        let listening = Listening {
            url: format!("{}://{address}", listener.scheme()),
            read_again: ReadAgain {
                certificate: listener.certificate(),
                known,
            },
            listener,
            admin,
            gateway,
            settings,
        };
        note(&format!("reveille listening on {}", listening.url));
        Ok(listening)
    }

    /// Serves until Ctrl-C or a termination request.
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let stop = stop_signal()?;
        let mut again = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let listening = self.listen().await?;
        log_to_stderr(&listening.settings);
        let url = &listening.url;
        note(&format!(
            "{}; Ctrl-C stops it.",
            listening.settings.backend.promise()
        ));
        if listening.settings.has_auth() {
            note("requests need a credential: authorization: Bearer ...");
        } else {
            note("without authentication: only this machine is served. Try:");
            note(&format!(
                "  curl -N '{url}/v1/sessions/build/events?after=earliest'"
            ));
            note("  reveille wait build --type task.completed --timeout 20s");
            note("  reveille publish build --type task.completed --data '{\"ok\":true}'");
        }
        let read_again = listening.read_again.clone();
        let reading = tokio::spawn(async move {
            while again.recv().await.is_some() {
                read_again.now();
            }
        });
        listening.serve(stop).await;
        reading.abort();
        Ok(Outcome::Done)
    }
}

/// The first address of a host and a port.
async fn address(setting: &'static str, text: &str) -> Result<SocketAddr, StartError> {
    let addresses = tokio::net::lookup_host(text).await;
    let addresses = addresses.map_err(|source| StartError::Address {
        setting,
        text: text.to_owned(),
        source,
    })?;
    let first = addresses.into_iter().next();
    first.ok_or_else(|| StartError::NoAddress {
        setting,
        text: text.to_owned(),
    })
}

async fn gateway(
    settings: &Settings,
    known: Option<Arc<KnownInFile>>,
) -> Result<Gateway, StartError> {
    let sessions = settings.backend.sessions().await?;
    let sessions = sessions
        .tail(settings.tail)
        .limits(settings.limits)
        .default_ttl(settings.session_ttl)
        .sweep_stored(settings.store_sweep)
        .build();
    // What is stored is known from the beginning, so that it is listed, and expires in time.
    sessions.open_stored(&Tenant::default_tenant()).await?;
    let mut config = settings.gateway.clone();
    config.drain = DRAIN_INTERRUPT;
    config.streams.per_node = config.streams.per_node.min(most_connections());
    config.traffic.connections = config.traffic.connections.min(most_connections());
    let gateway = match known {
        Some(known) => Gateway::with_authorizer(sessions, config, known),
        None => Gateway::new(sessions, config),
    };
    Ok(match settings.backend.signals().await? {
        Some(network) => gateway.with_signal_network(network),
        None => gateway,
    })
}

/// What is read again when the process is told to (SIGHUP), without waiting until it is seen to have
/// changed.
#[derive(Debug, Clone)]
struct ReadAgain {
    certificate: Option<Certificate>,
    known: Option<Arc<KnownInFile>>,
}

impl ReadAgain {
    fn now(&self) {
        let certificate = self.certificate.as_ref().map(Certificate::reload);
        let known = self.known.as_ref().map(|known| known.reload());
        let failed = [
            certificate.and_then(Result::err).map(|e| e.to_string()),
            known.and_then(Result::err).map(|e| e.to_string()),
        ];
        for error in failed.iter().flatten() {
            note(&format!("the old stays: {error}"));
        }
        if failed.iter().all(Option::is_none) {
            note("certificate and keys were read again");
        }
    }
}

/// As many as there can be open files, less a tenth for everything else.
fn most_connections() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    files - files / 10
}

/// Logs to standard error.
fn log_to_stderr(settings: &Settings) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .parse_lossy(&settings.log);
    let filter = filter.and(Calm::default());
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let log = match settings.log_format {
        LogFormat::Text => log.with_filter(filter).boxed(),
        LogFormat::Json => log.json().with_filter(filter).boxed(),
    };
    // A second call finds the first one's subscriber, which is as good.
    let _ = tracing_subscriber::registry().with(log).try_init();
}

impl Listening {
    /// Serves until `stop` resolves, then ends what is open in an orderly way.
    pub(super) async fn serve(self, stop: impl Future<Output = Stop>) {
        let driving = tokio::spawn(self.gateway.sessions().drive());
        let (gateway, long) = (self.gateway.clone(), self.settings.drain);
        let stopped = async move {
            if stop.await == Stop::Terminate {
                gateway.drain(long);
            }
        };
        let admin = self.gateway.clone();
        let admin = self
            .admin
            .map(|listener| tokio::spawn(serve_admin(listener, admin)));
        serve(self.listener, self.gateway, stopped).await;
        driving.abort();
        if let Some(admin) = admin {
            admin.abort();
        }
    }
}

/// Resolves at Ctrl-C or a termination request. A second one ends the process at once.
pub(super) fn stop_signal() -> Result<impl Future<Output = Stop> + Send + 'static, StartError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    Ok(async move {
        let stop = tokio::select! {
            _ = interrupt.recv() => Stop::Interrupt,
            _ = terminate.recv() => Stop::Terminate,
        };
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(130);
        });
        stop
    })
}
