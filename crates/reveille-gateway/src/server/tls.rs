//! TLS: certificates from files, read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::first_byte::FirstByte;
use super::{Proto, ServeError};

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where certificate and key are. Files that change are read again; bad ones leave the old in place.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsConfig {
    /// The certificate and those between it and the root, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl TlsConfig {
    /// This certificate with this key.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Acceptor(Arc<Files>);

struct Files {
    config: TlsConfig,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    seen: [Option<SystemTime>; 2],
    looked_at: Instant,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.fmt(f)
    }
}

impl Acceptor {
    pub(super) fn new(config: TlsConfig) -> Result<Self, ServeError> {
        let current = Current {
            acceptor: load(&config)?,
            seen: seen(&config),
            looked_at: Instant::now(),
        };
        let current = Mutex::new(current);
        Ok(Self(Arc::new(Files { config, current })))
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        let current = self.0.current.lock();
        current.unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> TlsAcceptor {
        let mut current = self.lock();
        if current.looked_at.elapsed() >= LOOK_AGAIN {
            current.looked_at = Instant::now();
            let now = seen(&self.0.config);
            if now != current.seen {
                match load(&self.0.config) {
                    Ok(acceptor) => {
                        current.acceptor = acceptor;
                        current.seen = now;
                    }
                    Err(error) => tracing::warn!(%error, "the old certificate stays"),
                }
            }
        }
        current.acceptor.clone()
    }

    /// Reads the files now, changed or not.
    pub(super) fn reload(&self) -> Result<(), ServeError> {
        let seen = seen(&self.0.config);
        let acceptor = load(&self.0.config)?;
        let mut current = self.lock();
        current.acceptor = acceptor;
        current.seen = seen;
        Ok(())
    }

    /// Shakes hands, in time.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        time: Duration,
    ) -> io::Result<(FirstByte<TlsStream<TcpStream>>, Proto)> {
        let stream = tokio::time::timeout(time, self.current().accept(socket)).await??;
        let proto = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Proto::Http2,
            _ => Proto::Http1,
        };
        Ok((FirstByte::new(stream, time), proto))
    }
}

fn seen(config: &TlsConfig) -> [Option<SystemTime>; 2] {
    let modified = |path: &Path| std::fs::metadata(path).ok()?.modified().ok();
    [modified(&config.certificate), modified(&config.key)]
}

fn load(config: &TlsConfig) -> Result<TlsAcceptor, ServeError> {
    let problem = |path: &Path, problem: String| ServeError::Certificate {
        path: path.to_owned(),
        problem,
    };
    let path = &config.certificate;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| problem(path, e.to_string()))?;
    if chain.is_empty() {
        return Err(problem(path, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|e| problem(&config.key, e.to_string()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| problem(path, e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| problem(path, e.to_string()))?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}
