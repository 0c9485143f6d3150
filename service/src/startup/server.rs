//! The server: who is let in to its connections, and what they reach.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    App, HttpServer,
    dev::Server,
    rt::net::TcpStream,
    web::{Data, PayloadConfig},
};

use super::StartError;
use crate::{
    auth::Peer,
    config::{Settings, Tls},
    http::{self, openapi, state::AppState, ws},
    tls::{self, Certificate, Clients},
};

/// Time for a request's head to arrive.
pub(crate) const HEAD_ARRIVAL: Duration = Duration::from_secs(5);
/// How often certificate files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(10);

/// What the listener shows, and who judges what its clients show, where that is asked for.
type Certificates = (Option<Arc<Certificate>>, Option<Arc<Clients>>);

/// Reads what the settings name.
pub(super) fn certificates(tls: Option<&Tls>) -> Result<Certificates, StartError> {
    let at = |setting| move |cause| StartError::Setting { setting, cause };
    let Some(tls) = tls else { return Ok((None, None)) };
    let certificate = Certificate::load(tls.clone()).map_err(at("tls.cert"))?;
    let clients = tls.client_ca.clone().map(|authorities| Clients::load(authorities, tls.client_crl.clone()));
    let clients = clients.transpose().map_err(at("tls.client_ca"))?;
    Ok((Some(certificate), clients))
}

/// Serves by the listener, with what the settings say of connections.
pub(super) fn serve(
    settings: &Settings,
    listener: TcpListener,
    state: Data<AppState>,
    certificate: Option<Arc<Certificate>>,
) -> Result<Server, StartError> {
    let at = |setting| move |cause| StartError::Setting { setting, cause };
    let document = Data::new(openapi::document());
    let body_limit = settings.body_limit;
    let connections = Arc::clone(&state.connections);
    let of_a_worker = connections.of_a_worker();
    let clients = state.clients.clone();
    let names = settings.tls.as_ref().map(|tls| tls.client_roles.clone()).unwrap_or_default();
    let judges = clients.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(document.clone())
            .app_data(PayloadConfig::new(body_limit))
            .app_data(ws::Inside::default())
            .configure(http::configure)
    })
    .on_connect(move |connection, data| {
        connections.enter(connection, data);
        if let Some(clients) = &judges
            && let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>()
            && let Some(chain) = stream.get_ref().1.peer_certificates()
        {
            data.insert(Arc::new(Peer::new(chain, &names, Arc::clone(clients))));
        }
    })
    .workers(settings.workers)
    .max_connections(of_a_worker)
    // Those who begin to shake hands and say no more hold up nobody but themselves.
    .max_connection_rate(of_a_worker)
    .client_request_timeout(HEAD_ARRIVAL)
    // What a session says is small, and must not wait for word that what it said before has come.
    .tcp_nodelay(true)
    .shutdown_timeout(settings.shutdown_timeout.as_secs())
    .disable_signals();
    let server = match certificate {
        None => server.listen(listener).map_err(at("server.listen"))?,
        Some(certificate) => {
            let config =
                tls::server_config(Arc::clone(&certificate), clients.clone()).map_err(at("tls.cert"))?;
            actix_web::rt::spawn(async move {
                let mut look = actix_web::rt::time::interval(CERTIFICATE_LOOK);
                loop {
                    look.tick().await;
                    certificate.reload_if_changed();
                    clients.iter().for_each(|clients| clients.reload_if_changed());
                }
            });
            server.listen_rustls_0_23(listener, config).map_err(at("server.listen"))?
        }
    };
    Ok(server.run())
}
