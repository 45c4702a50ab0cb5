//! TLS: whom to trust and what to show, as the parameters of a URL say.

use std::borrow::Cow;
use std::fs;

use percent_encoding::percent_decode_str;
use redis::{ClientTlsConfig, TlsCertificates};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::address::take;
use crate::error::ConnectError;

/// The certificates in files that a URL names. Without any, the authorities that the system trusts are.
#[derive(Default)]
pub(crate) struct Files {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl Files {
    /// Reads the files that the URL names behind its `?`, and gives the URL without them.
    pub(crate) fn take(url: &str) -> Result<(Cow<'_, str>, Self), ConnectError> {
        let mut files = Self::default();
        let (rest, taken) = take(url, &["ca", "cert", "key"]);
        for (name, path) in taken {
            let place = match name {
                "ca" => &mut files.ca,
                "cert" => &mut files.cert,
                _ => &mut files.key,
            };
            if place.is_some() {
                return Err(wrong(name, "it is given twice"));
            }
            *place = Some(read(path).map_err(|error| wrong(name, error))?);
        }
        Ok((rest, files))
    }

    /// Refuses files where nothing is encrypted.
    pub(crate) fn unused(self) -> Result<(), ConnectError> {
        let given = [("ca", self.ca), ("cert", self.cert), ("key", self.key)];
        match given.into_iter().find(|(_, file)| file.is_some()) {
            Some((name, _)) => Err(wrong(name, "it is for rediss:// only")),
            None => Ok(()),
        }
    }

    /// What the files say. Whatever a connection would stumble over is told here.
    pub(crate) fn certificates(self) -> Result<TlsCertificates, ConnectError> {
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &self.ca {
            for root in chain("ca", ca)? {
                roots.add(root).map_err(|error| wrong("ca", error))?;
            }
        }
        let client_tls = match (self.cert, self.key) {
            (None, None) => None,
            (Some(_), None) => return Err(wrong("cert", "it needs its key=FILE")),
            (None, Some(_)) => return Err(wrong("key", "it needs its cert=FILE")),
            (Some(client_cert), Some(client_key)) => {
                let chain = chain("cert", &client_cert)?;
                let key = PrivateKeyDer::from_pem_slice(&client_key);
                let key = key.map_err(|error| wrong("key", error))?;
                ClientConfig::builder()
                    .with_root_certificates(roots)
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| wrong("key", error))?;
                Some(ClientTlsConfig {
                    client_cert,
                    client_key,
                })
            }
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert: self.ca,
        })
    }
}

/// One certificate or more.
fn chain(name: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| wrong(name, error))?;
    match chain.is_empty() {
        true => Err(wrong(name, "the file holds no certificate in PEM")),
        false => Ok(chain),
    }
}

fn read(path: &str) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let path = percent_decode_str(path).decode_utf8()?;
    Ok(fs::read(&*path)?)
}

fn wrong(
    name: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ConnectError {
    ConnectError::Parameter {
        name,
        source: source.into(),
    }
}
