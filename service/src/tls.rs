//! TLS of the listener, with certificates that may be replaced while it runs.

use std::{fs, io, path::Path, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::config::Tls;

/// Certificate and key as they are now, looked up at each handshake.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
    files: Tls,
    seen: ArcSwap<Vec<Option<SystemTime>>>,
}

impl Certificate {
    /// Loads certificate and key.
    ///
    /// # Errors
    /// A file can't be read or the two do not belong together.
    pub fn load(files: Tls) -> io::Result<Arc<Self>> {
        let current = ArcSwap::from_pointee(certified(&files)?);
        let seen = ArcSwap::from_pointee(modified(&files));
        Ok(Arc::new(Self { current, files, seen }))
    }

    /// The certificate itself, DER.
    #[must_use]
    pub fn first(&self) -> Option<Vec<u8>> {
        self.current.load().cert.first().map(|der| der.to_vec())
    }

    /// Loads the files anew when they have changed. A pair that does not fit is refused and the one in use goes on.
    pub fn reload_if_changed(&self) {
        let seen = modified(&self.files);
        if **self.seen.load() == seen {
            return;
        }
        match certified(&self.files) {
            Ok(certified) => {
                self.current.store(Arc::new(certified));
                self.seen.store(Arc::new(seen));
                tracing::info!("TLS certificate reloaded");
            }
            Err(error) => tracing::warn!(%error, "the new TLS certificate is not used"),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// The configuration of the listener.
///
/// # Errors
/// The authorities of client certificates can't be read.
pub fn server_config(certificate: Arc<Certificate>) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &certificate.files.client_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in chain(path)? {
                roots.add(authority).map_err(io::Error::other)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(io::Error::other)?)
        }
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_cert_resolver(certificate))
}

fn certified(files: &Tls) -> io::Result<CertifiedKey> {
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|_| unreadable(&files.key))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain(&files.cert)?, key, &provider).map_err(io::Error::other)
}

fn chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|_| unreadable(path))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|_| unreadable(path))?;
    if certificates.is_empty() { Err(unreadable(path)) } else { Ok(certificates) }
}

fn unreadable(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no PEM that can be used", path.display()))
}

fn modified(files: &Tls) -> Vec<Option<SystemTime>> {
    [&files.cert, &files.key]
        .iter()
        .map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use super::*;

    fn write(files: &Tls, at: SystemTime) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        for path in [&files.cert, &files.key] {
            File::options().append(true).open(path).unwrap().set_modified(at).unwrap();
        }
    }

    #[test]
    fn a_new_pair_is_used_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            Tls { cert: folder.path().join("c.pem"), key: folder.path().join("k.pem"), client_ca: None };
        assert!(Certificate::load(files.clone()).is_err());
        let began = SystemTime::UNIX_EPOCH;
        write(&files, began);
        let certificate = Certificate::load(files.clone()).unwrap();
        server_config(Arc::clone(&certificate)).unwrap();
        let leaf = || certificate.current.load().cert.first().unwrap().to_vec();
        let first = leaf();
        certificate.reload_if_changed();
        assert_eq!(leaf(), first);
        write(&files, began + Duration::from_secs(1));
        certificate.reload_if_changed();
        let second = leaf();
        assert_ne!(second, first);
        fs::write(&files.key, "no key").unwrap();
        certificate.reload_if_changed();
        assert_eq!(leaf(), second);
    }
}
