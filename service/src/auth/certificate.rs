//! Callers whom their certificate names.
//!
//! A connection with mutual TLS bears a certificate that was verified when it was made. What it says is read once, with the connection;
//! that it still holds is asked with each request, since connections outlive certificates.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix_web::http::header::{HeaderMap, HeaderName, ORIGIN};
use chrono::{DateTime, Utc};
use claviger_actors::session::origin;
use claviger_config::ClientNames;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{Identity, Refusal, is_name};
use crate::tls::Clients;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who is at the other end of a connection, as their certificate says. No part of it is secret.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    identity: Option<Arc<Identity>>,
    ends_at: DateTime<Utc>,
    clients: Arc<Clients>,
    /// The state of authorities and revocations by which it was judged last.
    judged: AtomicU64,
}

impl Peer {
    /// Reads the chain of a connection, which TLS has verified.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'_>], names: &ClientNames, clients: Arc<Clients>) -> Self {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let parsed = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let identity = parsed.and_then(|(_, leaf)| identity(&leaf, names)).map(Arc::new);
        // What can't be read has never been valid.
        let ends_at = chain.iter().map(ends_at).min().flatten();
        // TLS has just judged it, by this state or the one before it; it is judged anew with the first request.
        Self { chain, identity, ends_at: ends_at.unwrap_or_default(), clients, judged: u64::MAX.into() }
    }

    /// When it ends: the certificate, or one that was shown with it.
    #[must_use]
    pub const fn ends_at(&self) -> DateTime<Utc> {
        self.ends_at
    }

    /// The certificate still holds.
    ///
    /// # Errors
    /// [`Refusal::Certificate`].
    pub fn still(&self, now: DateTime<Utc>) -> Result<(), Refusal> {
        if self.ends_at < now {
            return Err(Refusal::Certificate);
        }
        let state = self.clients.state();
        if self.judged.load(Ordering::Acquire) == state {
            return Ok(());
        }
        // Authorities or revocations have changed since.
        self.clients.verify(&self.chain, now).then_some(()).ok_or(Refusal::Certificate)?;
        self.judged.store(state, Ordering::Release);
        Ok(())
    }

    /// Whom it names, if the configuration knows them.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }
}

fn ends_at(certificate: &CertificateDer<'_>) -> Option<DateTime<Utc>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)
}

/// A page of somebody else asks: a browser shows certificates with whatever any page asks for, so they say nothing of who wants it.
#[must_use]
pub fn is_of_strange_page(headers: &HeaderMap, allowed: &[String]) -> bool {
    let is_strange = |text: &str| !origin::is_allowed(text, None, allowed);
    headers.get_all(ORIGIN).any(|origin| origin.to_str().map_or(true, is_strange))
        || headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none")
            && !headers.contains_key(ORIGIN)
}

/// The first of its names that the configuration gives a role: URIs, then names of hosts, then addresses of mail.
fn identity(leaf: &X509Certificate<'_>, names: &ClientNames) -> Option<Identity> {
    let san = leaf.subject_alternative_name().ok()??;
    let all = &san.value.general_names;
    let uris = all
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some(format!("uri:{uri}")) } else { None });
    let hosts = all.iter().filter_map(|name| {
        if let GeneralName::DNSName(host) = name {
            Some(format!("dns:{}", host.to_ascii_lowercase()))
        } else {
            None
        }
    });
    let mail = all.iter().filter_map(|name| {
        if let GeneralName::RFC822Name(mail) = name { Some(format!("email:{mail}")) } else { None }
    });
    let mut known = uris.chain(hosts).chain(mail).filter(|name| is_name(name)).filter_map(|name| {
        let roles = names.roles_of(&name);
        (!roles.is_empty()).then(|| Identity::by_certificate(name, roles))
    });
    known.next()
}
