//! Whom this node believes, where it is the client: the authorities of `tls.ca_file` and those of the machine.

use std::{fs, io, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Certificate, ClientBuilder};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Those of a file and those of the machine, as PEM.
///
/// # Errors
/// The file can't be read or is no list of authorities. A machine that has none is no error.
pub fn beside_the_machines(path: &Path) -> io::Result<Vec<u8>> {
    Ok(all(Some(path))?.iter().map(|authority| pem(authority)).collect::<String>().into_bytes())
}

/// Those of a file, if there is one, and those of the machine.
///
/// # Errors
/// As [`beside_the_machines`].
pub fn all(ca_file: Option<&Path>) -> io::Result<Vec<CertificateDer<'static>>> {
    let mut all = ca_file.map(read).transpose()?.unwrap_or_default();
    for authority in rustls_native_certs::load_native_certs().certs {
        // One that can't be used would spoil the whole list.
        if RootCertStore::empty().add(authority.clone()).is_ok() {
            all.push(authority);
        }
    }
    Ok(all)
}

/// A client that believes them.
///
/// # Errors
/// As [`beside_the_machines`].
pub fn client(ca_file: Option<&Path>) -> io::Result<ClientBuilder> {
    let Some(path) = ca_file else { return Ok(ClientBuilder::new()) };
    let all = Certificate::from_pem_bundle(&beside_the_machines(path)?).map_err(io::Error::other)?;
    Ok(ClientBuilder::new().tls_certs_only(all))
}

fn read(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let named = |error: &dyn std::fmt::Display| format!("{} {error}", path.display());
    let text = fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), named(&format!("can't be read ({})", error.kind()))))?;
    judged(&text).map_err(|rule| io::Error::new(io::ErrorKind::InvalidData, named(&rule)))
}

/// The authorities in a text, or what is wrong with it.
///
/// # Errors
/// It holds no certificate, or one that is no authority.
pub fn judged(text: &str) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let unusable = "holds a certificate that can't be used";
    let authorities: Vec<_> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|_| unusable)?;
    if authorities.is_empty() {
        return Err("holds no certificate (PEM)");
    }
    let mut store = RootCertStore::empty();
    for authority in &authorities {
        store.add(authority.clone()).map_err(|_| unusable)?;
    }
    Ok(authorities)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on stops")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_beside_the_machines_list() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, format!("a comment\n{}", made.cert.pem())).unwrap();
        let all = String::from_utf8(beside_the_machines(&path).unwrap()).unwrap();
        let all = judged(&all).unwrap();
        assert_eq!(all.first(), Some(made.cert.der()));
    }

    #[test]
    fn what_is_no_list_of_authorities_is_refused() {
        assert!(
            beside_the_machines(Path::new("/nowhere"))
                .is_err_and(|error| error.to_string().contains("/nowhere"))
        );
        for bad in ["", "hunter2", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(judged(bad).is_err(), "{bad}");
        }
    }
}
