//! An authority of certificates that nobody knows but who is told of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use claviger_actors::clock::{Clock as _, SystemClock};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
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
pub struct Authority {
    _folder: TempDir,
    tls: Tls,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The present, since 1970.
fn now() -> Duration {
    Duration::from_secs(SystemClock.now().timestamp().try_into().unwrap())
}

fn alternative(name: &str) -> SanType {
    let (kind, name) = name.split_once(':').unwrap();
    let name = name.try_into().unwrap();
    match kind {
        "uri" => SanType::URI(name),
        "dns" => SanType::DnsName(name),
        _ => SanType::Rfc822Name(name),
    }
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
        // Lists of revocations go by the name.
        let name = format!("An authority of the tests {}", folder.path().display());
        own.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(own, KeyPair::generate().unwrap()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(&tls.authority, issuer.pem()).unwrap();
        fs::write(&tls.certificate, certificate.pem()).unwrap();
        fs::write(&tls.key, key.serialize_pem()).unwrap();
        Self { _folder: folder, tls, issuer }
    }

    /// Makes one, with a certificate for 127.0.0.1 and localhost.
    #[must_use]
    pub fn local() -> Self {
        Self::of(&["127.0.0.1", "localhost"])
    }

    /// A certificate of a client for names as `uri:…`, `dns:…` and `email:…`, which ends after some time, and its key (PEM).
    #[must_use]
    pub fn client(&self, names: &[&str], serial: u64, lifetime: Duration) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now() - Duration::from_secs(3_600);
        params.not_after = epoch + now() + lifetime;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        format!("{}{}", certificate.pem(), key.serialize_pem())
    }

    /// The list of revoked certificates (PEM).
    #[must_use]
    pub fn revoking(&self, serials: &[u64]) -> String {
        let present = rcgen::date_time_ymd(1970, 1, 1) + now();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: present,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: present,
            next_update: present + Duration::from_secs(86_400),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
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
