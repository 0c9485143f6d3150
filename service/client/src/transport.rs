//! The way to a server: TCP, TLS, and the upgrade to a WebSocket.

use std::{net::Ipv4Addr, net::Ipv6Addr, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Error, protocol::WebSocketConfig},
};

use crate::{
    address::Address,
    ending::{Ending, one_line},
};

/// Largest frame that is taken, in bytes: the public state of some ten thousand keys.
const FRAME_MAX_BYTES: usize = 16 << 20;

/// Whom to believe that a server is who it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The authorities of the machine.
    #[default]
    Machine,
    /// Those, and these (PEM).
    Also(Vec<u8>),
    /// These alone (PEM).
    Only(Vec<u8>),
}

impl Trust {
    /// A connector that believes them.
    ///
    /// # Errors
    /// What is wrong with the list.
    pub(crate) fn connector(&self) -> Result<TlsConnector, String> {
        let mut roots = RootCertStore::empty();
        let (pem, with_machine) = match self {
            Self::Machine => (None, true),
            Self::Also(pem) => (Some(pem), true),
            Self::Only(pem) => (Some(pem), false),
        };
        if let Some(pem) = pem {
            let unusable = || "the list of authorities holds a certificate that can't be used".to_owned();
            for authority in CertificateDer::pem_slice_iter(pem) {
                roots.add(authority.map_err(|_| unusable())?).map_err(|_| unusable())?;
            }
            if roots.is_empty() {
                return Err("the list of authorities holds no certificate (PEM)".to_owned());
            }
        }
        if with_machine {
            // One that can't be used spoils nothing.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            return Err("this machine has no authorities; name a file that has".to_owned());
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        // A WebSocket begins as HTTP/1.1; a server that may choose would choose 2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// What a WebSocket runs over.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Pipe>>;

/// Opens a WebSocket.
///
/// # Errors
/// Why there is none.
pub(crate) async fn open(address: &Address, tls: Option<&TlsConnector>) -> Result<Socket, Ending> {
    let unreachable = |error: &dyn std::fmt::Display| Ending::Unreachable(one_line(&error.to_string()));
    let connected = if address.is_localhost {
        let places = [(Ipv4Addr::LOCALHOST, address.port).into(), (Ipv6Addr::LOCALHOST, address.port).into()];
        TcpStream::connect(&places as &[std::net::SocketAddr]).await
    } else {
        TcpStream::connect((address.host.as_str(), address.port)).await
    };
    let stream = connected.map_err(|error| unreachable(&error))?;
    stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
    let pipe: Box<dyn Pipe> = match tls.filter(|_| address.is_tls) {
        Some(tls) => Box::new(secured(tls, address, stream).await?),
        None if address.is_tls => return Err(Ending::Protocol("there is no TLS on this side")),
        None => Box::new(stream),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_MAX_BYTES))
        .max_frame_size(Some(FRAME_MAX_BYTES));
    match client_async_with_config(address.socket.as_str(), pipe, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let after =
                response.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
            let status = response.status().as_u16();
            Err(Ending::NotUpgraded { status, retry_after: after.map(Duration::from_secs) })
        }
        Err(error) => Err(fault(&error)),
    }
}

async fn secured(
    tls: &TlsConnector,
    address: &Address,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Ending> {
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| Ending::Protocol("the name of the server can't be in a certificate"))?;
    tls.connect(name, stream).await.map_err(|error| {
        let text = one_line(&error.to_string());
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        if matches!(cause, Some(rustls::Error::InvalidCertificate(_))) {
            Ending::Untrusted(text)
        } else {
            Ending::Unreachable(text)
        }
    })
}

/// What a fault of the socket means.
pub(crate) fn fault(error: &Error) -> Ending {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Tls(_) => {
            Ending::closed(1_006, "")
        }
        Error::Capacity(_) => Ending::Protocol("it has sent a frame of more than 16 MiB"),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => Ending::closed(1_006, ""),
        Error::Protocol(_)
        | Error::Utf8(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_)
        | Error::WriteBufferFull(_) => Ending::Protocol("it has sent what is no WebSocket frame"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_authorities_must_be_one() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let pem = made.cert.pem().into_bytes();
        assert!(Trust::Only(pem.clone()).connector().is_ok());
        assert!(Trust::Also(pem).connector().is_ok());
        for bad in ["", "hunter2", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Trust::Only(bad.into()).connector().is_err(), "{bad}");
        }
    }
}
