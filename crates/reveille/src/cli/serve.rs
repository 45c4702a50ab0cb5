//! `reveille serve`: the server on this machine.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reveille_gateway::{Gateway, GatewayConfig, ServeError, bind, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::backend::BackendArgs;
use super::output::note;
use super::{CommandError, Outcome};

/// How long streams and requests may take to end after Ctrl-C, and after a termination request.
const DRAIN_INTERRUPT: Duration = Duration::from_secs(3);

/// Serve sessions over HTTP on this machine
#[derive(Debug, Clone, Args)]
pub(super) struct Serve {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7600")]
    pub(super) listen: String,
    /// An origin that may send events as web hooks (CloudEvents); may be repeated
    #[arg(long, value_name = "ORIGIN")]
    webhook_origin: Vec<String>,
    #[command(flatten)]
    pub(super) backend: BackendArgs,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7600".to_owned(),
            webhook_origin: Vec::new(),
            backend: BackendArgs::default(),
        }
    }
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("--listen {text:?} is no HOST:PORT of this machine")]
    Address {
        text: String,
        #[source]
        source: io::Error,
    },
    #[error("--listen {text:?} names no address")]
    NoAddress { text: String },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Archive(#[from] reveille_archive::OpenError),
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
            | Self::Serve(ServeError::NotLoopback { .. }) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// A server that listens and has not begun to serve.
#[derive(Debug)]
pub(super) struct Listening {
    listener: TcpListener,
    pub(super) gateway: Gateway,
    pub(super) url: String,
}

impl Serve {
    /// Listens, and says where in the first line on standard error.
    pub(super) async fn listen(&self) -> Result<Listening, StartError> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.listen)
            .await
            .map_err(|source| StartError::Address {
                text: self.listen.clone(),
                source,
            })?
            .collect();
        let address = *addresses.first().ok_or_else(|| StartError::NoAddress {
            text: self.listen.clone(),
        })?;
        let listener = bind(address).await?;
        let address = listener
            .local_addr()
            .map_err(|source| ServeError::Bind { address, source })?;
        let sessions = self.backend.sessions().await?;
        let mut config = GatewayConfig::default();
        config.drain = DRAIN_INTERRUPT;
        config.webhook_origins.clone_from(&self.webhook_origin);
        let listening = Listening {
            listener,
            gateway: Gateway::new(sessions, config),
            url: format!("http://{address}"),
        };
        note(&format!("reveille listening on {}", listening.url));
        Ok(listening)
    }

    /// Serves until Ctrl-C or a termination request.
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let stop = stop_signal()?;
        let listening = self.listen().await?;
        log_to_stderr();
        let url = &listening.url;
        note(&format!(
            "{}; Ctrl-C stops it. Try:",
            self.backend.promise()
        ));
        note(&format!(
            "  curl -N '{url}/v1/sessions/build/events?after=earliest'"
        ));
        note("  reveille wait build --type task.completed --timeout 20s");
        note("  reveille publish build --type task.completed --data '{\"ok\":true}'");
        listening.serve(stop).await;
        Ok(Outcome::Done)
    }
}

/// Logs warnings, or what `REVEILLE_LOG` asks for, to standard error.
fn log_to_stderr() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("REVEILLE_LOG")
        .from_env_lossy();
    // A second call finds the first one's subscriber, which is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .try_init();
}

impl Listening {
    /// Serves until `stop` resolves, then ends what is open in an orderly way.
    pub(super) async fn serve(self, stop: impl Future<Output = ()>) {
        let driving = tokio::spawn(self.gateway.sessions().drive());
        serve(self.listener, self.gateway, stop).await;
        driving.abort();
    }
}

/// Resolves at Ctrl-C or a termination request. A second one ends the process at once.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, StartError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
