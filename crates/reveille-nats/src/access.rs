//! Who connects, and whom he trusts: a user, and files of credentials and certificates.
//!
//! All files are read at each connect, so those that are replaced count from the next one on.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use async_nats::rustls::pki_types::pem::{Error as PemError, PemObject};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_nats::rustls::{ClientConfig, RootCertStore};
use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use nkeys::KeyPair;
use percent_encoding::percent_decode_str;

/// The files that a connection needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the file of `{parameter}` cannot be used")]
pub(crate) struct FileError {
    /// Which one, as the URL names it.
    pub(crate) parameter: &'static str,
    pub(crate) source: io::Error,
}

/// With the credentials of a file, else with the user and password, or the token, of the first address
/// that has any; over TLS if there are files for that.
pub(crate) async fn authenticated(
    addresses: &[ServerAddr],
    files: Files,
) -> Result<ConnectOptions, FileError> {
    files.check().await?;
    let options = match files.credentials {
        Some(path) => ConnectOptions::with_auth_callback(move |nonce| signed(path.clone(), nonce)),
        None => of_user(addresses),
    };
    let mut options = options.require_tls(files.ca.is_some() || files.cert.is_some());
    if let Some(ca) = files.ca {
        options = options.add_root_certificates(ca);
    }
    if let (Some(cert), Some(key)) = (files.cert, files.key) {
        options = options.add_client_certificate(cert, key);
    }
    Ok(options)
}

fn of_user(addresses: &[ServerAddr]) -> ConnectOptions {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = addresses.iter().find_map(|address| {
        let user = address.username()?;
        Some((decoded(user), address.password().map(decoded)))
    });
    match user {
        Some((user, Some(password))) => ConnectOptions::with_user_and_password(user, password),
        Some((token, None)) => ConnectOptions::with_token(token),
        None => ConnectOptions::new(),
    }
}

/// The answer to a server that asks who connects.
async fn signed(credentials: PathBuf, nonce: Vec<u8>) -> Result<Auth, AuthError> {
    let text = read(&credentials).await.map_err(AuthError::new)?;
    let (jwt, key) = user(&text).map_err(AuthError::new)?;
    let mut auth = Auth::new();
    auth.signature = Some(key.sign(&nonce).map_err(AuthError::new)?);
    auth.jwt = Some(jwt.to_owned());
    Ok(auth)
}

impl Files {
    /// Whether each can be used, so that the one that cannot is named.
    async fn check(&self) -> Result<(), FileError> {
        let wrong = |parameter| move |source| FileError { parameter, source };
        if let Some(path) = &self.credentials {
            let text = read(path).await.map_err(wrong("credentials"))?;
            user(&text).map(drop).map_err(wrong("credentials"))?;
        }
        let mut roots = RootCertStore::empty();
        if let Some(path) = &self.ca {
            let text = read(path).await.map_err(wrong("ca"))?;
            for certificate in certificates(&text).map_err(wrong("ca"))? {
                let added = roots.add(certificate);
                added.map_err(invalid).map_err(wrong("ca"))?;
            }
        }
        let (cert, key) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) => return Ok(()),
            (Some(_), None) => return Err(wrong("key")(invalid("`cert` is set without it"))),
            (None, Some(_)) => return Err(wrong("cert")(invalid("`key` is set without it"))),
        };
        let text = read(cert).await.map_err(wrong("cert"))?;
        let chain = certificates(&text).map_err(wrong("cert"))?;
        let text = read(key).await.map_err(wrong("key"))?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes());
        let key = key.map_err(of_pem).map_err(wrong("key"))?;
        let config = ClientConfig::builder().with_root_certificates(roots);
        // The key may be another certificate's.
        let config = config.with_client_auth_cert(chain, key);
        config.map(drop).map_err(invalid).map_err(wrong("key"))
    }
}

async fn read(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await?
}

/// The JWT and the key of a user, each the line behind one that says what begins.
fn user(text: &str) -> io::Result<(&str, KeyPair)> {
    let mut lines = text.lines().map(str::trim);
    let mut next = || {
        let is_begin = |line: &str| line.starts_with("---") && line.contains("BEGIN");
        lines.find(|line| is_begin(line))?;
        lines.next()
    };
    match (next(), next()) {
        (Some(jwt), Some(seed)) => Ok((jwt, KeyPair::from_seed(seed).map_err(invalid)?)),
        _ => Err(invalid("it holds no JWT and seed")),
    }
}

fn certificates(text: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(of_pem)?;
    match certificates.is_empty() {
        true => Err(invalid("it holds no certificate")),
        false => Ok(certificates),
    }
}

fn of_pem(error: PemError) -> io::Error {
    match error {
        PemError::Io(error) => error,
        other => invalid(other),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
