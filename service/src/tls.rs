//! TLS of the listener, with certificates that may be replaced while it runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{
        ClientHello, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::sync::watch;

use crate::config::Tls;

/// The name of HTTP/2 in a handshake.
pub const HTTP2: &[u8] = b"h2";

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

/// Who judges certificates of clients: by authorities and revocations that may be replaced while it runs.
#[derive(Debug)]
pub struct Clients {
    authorities: PathBuf,
    revocations: Option<PathBuf>,
    current: ArcSwap<Judge>,
    /// Grows with each replacement.
    state: watch::Sender<u64>,
    seen: ArcSwap<Vec<Option<SystemTime>>>,
}

/// One that does not change.
#[derive(Debug)]
struct Judge(Arc<dyn ClientCertVerifier>);

impl Clients {
    /// Reads authorities, and what they have revoked, if that is given.
    ///
    /// # Errors
    /// A file can't be read or says nothing that can be used.
    pub fn load(authorities: PathBuf, revocations: Option<PathBuf>) -> io::Result<Arc<Self>> {
        let judge = judge(&authorities, revocations.as_deref())?;
        let seen = ArcSwap::from_pointee(times(&authorities, revocations.as_deref()));
        let current = ArcSwap::from_pointee(judge);
        Ok(Arc::new(Self { authorities, revocations, current, state: watch::Sender::new(0), seen }))
    }

    /// Reads the files anew when they have changed. What can't be used is refused, and what is in use goes on.
    pub fn reload_if_changed(&self) {
        let revocations = self.revocations.as_deref();
        let seen = times(&self.authorities, revocations);
        if **self.seen.load() == seen {
            return;
        }
        match judge(&self.authorities, revocations) {
            Ok(judge) => {
                self.current.store(Arc::new(judge));
                self.state.send_modify(|state| *state += 1);
                self.seen.store(Arc::new(seen));
                tracing::info!("authorities of client certificates and their revocations reloaded");
            }
            Err(error) => {
                tracing::warn!(%error, "the new authorities or revocations of client certificates are not used")
            }
        }
    }

    /// Which authorities and revocations it judges by.
    #[must_use]
    pub fn state(&self) -> u64 {
        *self.state.borrow()
    }

    /// Wakes whoever has let somebody in by a certificate when that may be judged otherwise.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.state.subscribe()
    }

    /// A chain holds now, by the authorities and revocations of now.
    #[must_use]
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: DateTime<Utc>) -> bool {
        let Some((leaf, between)) = chain.split_first() else { return false };
        let now =
            UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.timestamp()).unwrap_or(0)));
        self.current.load().0.verify_client_cert(leaf, between, now).is_ok()
    }
}

impl ClientCertVerifier for Clients {
    /// Nobody is named: many clients keep back a certificate whose authority is not, and those of tomorrow can't be named today.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.current.load().0.verify_client_cert(leaf, between, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().0.verify_tls12_signature(message, leaf, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.current.load().0.verify_tls13_signature(message, leaf, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}

fn judge(authorities: &Path, revocations: Option<&Path>) -> io::Result<Judge> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in chain(authorities)? {
        roots.add(authority).map_err(io::Error::other)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match revocations {
        Some(path) => {
            let lists = CertificateRevocationListDer::pem_file_iter(path).map_err(|_| unreadable(path))?;
            let lists: Vec<_> = lists.collect::<Result<_, _>>().map_err(|_| unreadable(path))?;
            if lists.is_empty() {
                return Err(unreadable(path));
            }
            // A list of each authority is not asked for: one that has revoked nothing may have none. A list that is given must be of now.
            builder.with_crls(lists).allow_unknown_revocation_status().enforce_revocation_expiration()
        }
        None => builder,
    };
    builder.build().map(Judge).map_err(io::Error::other)
}

fn times(authorities: &Path, revocations: Option<&Path>) -> Vec<Option<SystemTime>> {
    [Some(authorities), revocations]
        .into_iter()
        .flatten()
        .map(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
        .collect()
}

/// The configuration of the listener.
///
/// # Errors
/// The versions of TLS are none.
pub fn server_config(
    certificate: Arc<Certificate>,
    clients: Option<Arc<Clients>>,
) -> io::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = Vec::from([HTTP2, b"http/1.1"].map(<[u8]>::to_vec));
    Ok(config)
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
        let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        let files = Tls { cert, key, client_ca: None, client_crl: None, client_roles: Default::default() };
        assert!(Certificate::load(files.clone()).is_err());
        let began = SystemTime::UNIX_EPOCH;
        write(&files, began);
        let certificate = Certificate::load(files.clone()).unwrap();
        server_config(Arc::clone(&certificate), None).unwrap();
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
