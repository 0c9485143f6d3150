//! The internal listener: the same service for whoever watches and steers the node, on a thread and runtime of its own, which no work on
//! data holds up. It speaks in clear, for it listens on loopback or inside the deployment.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    rt::task::JoinHandle,
    web::{Data, PayloadConfig},
};

use crate::{
    config::Settings,
    http::{
        self, openapi,
        state::{AppState, Internal},
    },
    startup::HEAD_ARRIVAL,
};

/// A server that is not yet run.
pub(crate) struct InternalServer {
    server: Server,
    pub(crate) address: SocketAddr,
}

/// One that runs.
pub(crate) struct Running {
    handle: ServerHandle,
    serving: JoinHandle<io::Result<()>>,
}

/// Takes the address, before anything is written, if there is to be one.
///
/// # Errors
/// It is not free.
pub(crate) fn bind(settings: &Settings) -> io::Result<Option<TcpListener>> {
    settings.watching.internal_listen.map(TcpListener::bind).transpose()
}

impl InternalServer {
    /// One worker: whoever watches and steers is few.
    ///
    /// # Errors
    /// The listener is none.
    pub(crate) fn new(settings: &Settings, listener: TcpListener, state: Data<AppState>) -> io::Result<Self> {
        let (address, body_limit) = (listener.local_addr()?, settings.body_limit);
        let document = Data::new(openapi::document());
        let app = move || {
            App::new()
                .app_data(state.clone())
                .app_data(document.clone())
                .app_data(PayloadConfig::new(body_limit))
                .app_data(Internal)
                .configure(http::configure)
        };
        let server = HttpServer::new(app)
            .workers(1)
            .client_request_timeout(HEAD_ARRIVAL)
            .shutdown_timeout(settings.shutdown_timeout.as_secs())
            .disable_signals()
            .listen(listener)?;
        Ok(Self { server: server.run(), address })
    }

    /// Runs it.
    pub(crate) fn run(self) -> Running {
        let handle = self.server.handle();
        Running { handle, serving: actix_web::rt::spawn(self.server) }
    }
}

impl Running {
    /// Finishes what has begun.
    ///
    /// # Errors
    /// The server failed.
    pub(crate) async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        self.serving.await.map_err(io::Error::other)?
    }
}
