//! An authority of certificates that nobody knows but who is told of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// Files of a server that speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Its certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// What its clients trust.
    pub authority: PathBuf,
}

/// An authority, and the certificate of this machine that it has made.
#[derive(Debug)]
pub struct Authority {
    _folder: TempDir,
    tls: Tls,
}

impl Authority {
    /// Makes one, with a certificate for `names`.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let tls = Tls { certificate: at("server.pem"), key: at("server.key"), authority: at("ca.pem") };
        let mut own = CertificateParams::new(Vec::new()).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.distinguished_name.push(DnType::CommonName, "An authority of the tests");
        let issuer = CertifiedIssuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(&tls.authority, issuer.pem()).unwrap();
        fs::write(&tls.certificate, certificate.pem()).unwrap();
        fs::write(&tls.key, key.serialize_pem()).unwrap();
        Self { _folder: folder, tls }
    }

    /// Makes one, with a certificate for 127.0.0.1 and localhost.
    #[must_use]
    pub fn local() -> Self {
        Self::of(&["127.0.0.1", "localhost"])
    }

    /// Files of a server.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The certificate of the authority itself (PEM).
    #[must_use]
    pub fn file(&self) -> &str {
        let file: &Path = &self.tls.authority;
        file.to_str().unwrap()
    }
}
