//! E-mail over SMTP: TLS from the first byte, or STARTTLS that is not optional; in clear on loopback only.

use std::{io, path::Path, time::Duration};

use claviger_actors::alerts::{Parcel, Undelivered};
use claviger_config::{Email, EmailTls};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};

use super::text;
use crate::authorities;

/// Longest time for a step of the conversation.
const WITHIN: Duration = Duration::from_secs(10);

/// A mail server, and who writes to whom.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

fn invalid(text: &'static str) -> impl Fn() -> io::Error {
    move || io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn mailbox(text: &str) -> io::Result<Mailbox> {
    let address: Address = text.parse().map_err(|_| invalid("has an address that is none")())?;
    Ok(Mailbox::new(None, address))
}

impl Mailer {
    /// As configured; nobody is told yet.
    ///
    /// # Errors
    /// An address is none, or TLS can't be set up.
    pub(super) fn new(settings: &Email, ca_file: Option<&Path>) -> io::Result<Self> {
        let tls = match settings.tls {
            EmailTls::Tls => Tls::Wrapper(parameters(&settings.host, ca_file)?),
            EmailTls::StartTls => Tls::Required(parameters(&settings.host, ca_file)?),
            EmailTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(WITHIN));
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        let to = settings.to.iter().map(|to| mailbox(to)).collect::<io::Result<_>>()?;
        Ok(Self { transport: builder.build(), from: mailbox(&settings.from)?, to })
    }

    /// Writes to everybody.
    pub(super) async fn tell(&self, parcel: &Parcel) -> Result<(), Undelivered> {
        let never = |_| Undelivered::Never("the message can't be written".to_owned());
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(format!("Claviger: {}", text::subject(parcel)))
            // Whoever gets it twice may tell.
            .message_id(Some(format!("<{}@{}>", parcel.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.body(text::sentence(parcel)).map_err(never)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            // What the server says may hold addresses, and is nothing that helps.
            Err(error) => {
                let why = match (error.status(), error.is_tls(), error.is_timeout()) {
                    (Some(status), _, _) => format!("the mail server answered with {status}"),
                    (None, true, _) => "the mail server's TLS can't be trusted or used".to_owned(),
                    (None, false, true) => "the mail server took too long".to_owned(),
                    (None, false, false) => "the mail server can't be reached, or broke off".to_owned(),
                };
                Err(Undelivered::Now(why))
            }
        }
    }
}

fn parameters(host: &str, ca_file: Option<&Path>) -> io::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for authority in authorities::all(ca_file)? {
        builder = builder
            .add_root_certificate(Certificate::from_der(authority.to_vec()).map_err(io::Error::other)?);
    }
    builder.build_rustls().map_err(io::Error::other)
}
