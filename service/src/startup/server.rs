//! The server: who is let in to its connections, and what they reach.

use std::{any::Any, fmt, io, net::TcpListener, sync::Arc, time::Duration};

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, map_config};
use actix_tls::accept::{
    TlsError, max_concurrent_tls_connect,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::{
    App, Error, HttpServer,
    body::MessageBody,
    dev::{AppConfig, Extensions, Response, Server},
    rt::net::TcpStream,
    web::{Data, PayloadConfig},
};
use rustls::ServerConfig;

use super::StartError;
use crate::{
    auth::Peer,
    config::{Settings, Tls},
    http::{
        self, openapi,
        state::{AppState, OverTls},
        ws,
    },
    http2::Guarded,
    tls::{self, Certificate, Clients},
};

/// Time for a request's head to arrive.
pub(crate) const HEAD_ARRIVAL: Duration = Duration::from_secs(5);
/// Time for a client to take note that its connection is over.
const FAREWELL: Duration = Duration::from_secs(1);
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
    let is_secure = certificate.is_some();
    let app = move || {
        App::new()
            .app_data(Data::new(state.of_another_worker()))
            .app_data(document.clone())
            .app_data(PayloadConfig::new(body_limit))
            .app_data(ws::Inside::default())
            .app_data(OverTls(is_secure))
            .configure(http::configure)
    };
    let welcome = move |connection: &dyn Any, data: &mut Extensions| {
        connections.enter(connection, data);
        if let Some(clients) = &judges
            && let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>()
            && let Some(chain) = stream.get_ref().1.peer_certificates()
        {
            data.insert(Arc::new(Peer::new(chain, &names, Arc::clone(clients))));
        }
    };
    let Some(certificate) = certificate else {
        let server = HttpServer::new(app)
            .on_connect(welcome)
            .workers(settings.workers)
            .max_connections(of_a_worker)
            .client_request_timeout(HEAD_ARRIVAL)
            // What a session says is small, and must not wait for word that what it said before has come.
            .tcp_nodelay(true)
            .shutdown_timeout(settings.shutdown_timeout.as_secs())
            .disable_signals();
        return Ok(server.listen(listener).map_err(at("server.listen"))?.run());
    };
    let config = tls::server_config(Arc::clone(&certificate), clients.clone()).map_err(at("tls.cert"))?;
    actix_web::rt::spawn(async move {
        let mut look = actix_web::rt::time::interval(CERTIFICATE_LOOK);
        loop {
            look.tick().await;
            certificate.reload_if_changed();
            clients.iter().for_each(|clients| clients.reload_if_changed());
        }
    });
    over_tls((settings, of_a_worker), (listener, config), app, welcome).map_err(at("server.listen"))
}

/// As the framework's own server would, but for connections that are guarded.
fn over_tls<F, I, S, B>(
    (settings, of_a_worker): (&Settings, usize),
    (listener, config): (TcpListener, ServerConfig),
    app: F,
    welcome: impl Fn(&dyn Any, &mut Extensions) + Send + Clone + 'static,
) -> io::Result<Server>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, actix_http::Request>,
    S: ServiceFactory<actix_http::Request, Config = AppConfig, Error = Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    <S::Service as Service<actix_http::Request>>::Future: 'static,
    S::Service: 'static,
    B: MessageBody + 'static,
{
    // Those who begin to shake hands and say no more hold up nobody but themselves.
    max_concurrent_tls_connect(of_a_worker);
    let server = Server::build()
        .workers(settings.workers)
        .max_concurrent_connections(of_a_worker)
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let server = server.listen("claviger", listener, move || {
        let (stopping, welcome) = (stopping.clone(), welcome.clone());
        let of_connections = stopping.clone();
        let app = app().into_factory().map_err(|error: Error| error.error_response());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(HEAD_ARRIVAL)
            .client_disconnect_timeout(FAREWELL)
            .on_connect_ext(move |connection: &Guarded<TlsStream<TcpStream>>, data: &mut Extensions| {
                welcome(connection.stream(), data);
            })
            .finish(map_config(app, |()| AppConfig::default()));
        Acceptor::new(config.clone())
            .map_err(TlsError::into_service_error)
            .and_then(move |stream: TlsStream<TcpStream>| {
                let stopping = of_connections.clone();
                async move {
                    let (socket, session) = stream.get_ref();
                    // What a session says is small, and must not wait for word that what it said before has come.
                    if let Err(error) = socket.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was gone already");
                    }
                    let peer = socket.peer_addr().ok();
                    let is_http2 = session.alpn_protocol() == Some(tls::HTTP2);
                    let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
                    let stopping = async move { stopping.notified().await };
                    Ok((Guarded::new(stream, is_http2, stopping), protocol, peer))
                }
            })
            .and_then(http.map_err(TlsError::Service))
    })?;
    Ok(server.run())
}
