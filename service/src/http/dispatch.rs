//! From a route that the door has found to its handler, by its place in the table: nothing is looked up twice.

use std::pin::Pin;

use actix_web::{
    Error, HttpMessage as _, HttpResponse, Route as Handler,
    dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse},
    http::StatusCode,
};
use futures_util::future::join_all;

use super::{
    state::Arrival,
    table::{self, ROUTES},
};

type Handled = <Handler as ServiceFactory<ServiceRequest>>::Service;

/// Makes a [`Dispatch`] for a worker.
pub(super) struct Handlers(Vec<Option<Handler>>);

/// Calls handlers.
pub(super) struct Dispatch(Vec<Option<Handled>>);

impl Handlers {
    /// Of handlers with method and pattern.
    pub(super) fn new(registered: impl IntoIterator<Item = (&'static str, &'static str, Handler)>) -> Self {
        let mut handlers: Vec<Option<Handler>> = ROUTES.iter().map(|_| None).collect();
        for (method, pattern, handler) in registered {
            let is_it = |route: &table::Route| {
                route.method.as_str().eq_ignore_ascii_case(method) && route.pattern == pattern
            };
            let place = ROUTES.iter().position(is_it).and_then(|place| handlers.get_mut(place));
            if let Some(place) = place {
                *place = Some(handler);
            }
        }
        Self(handlers)
    }
}

impl ServiceFactory<ServiceRequest> for Handlers {
    type Response = ServiceResponse;
    type Error = Error;
    type Config = ();
    type Service = Dispatch;
    type InitError = ();
    type Future = Pin<Box<dyn Future<Output = Result<Dispatch, ()>>>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let services = self.0.iter().map(|handler| handler.as_ref().map(|handler| handler.new_service(())));
        let services: Vec<_> = services.collect();
        Box::pin(async move {
            let made = join_all(services.into_iter().map(|made| async {
                match made {
                    Some(made) => made.await.map(Some),
                    None => Ok(None),
                }
            }));
            made.await.into_iter().collect::<Result<_, ()>>().map(Dispatch)
        })
    }
}

impl Service<ServiceRequest> for Dispatch {
    type Response = ServiceResponse;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse, Error>>>>;

    actix_web::dev::always_ready!();

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let place = request.extensions().get::<Arrival>().map(|arrival| table::place(arrival.route()));
        match place.and_then(|place| self.0.get(place)).and_then(Option::as_ref) {
            Some(handler) => handler.call(request),
            // The door lets nothing through that is not in the table, and a test holds the table against what is registered.
            None => Box::pin(async { Ok(request.into_response(HttpResponse::new(StatusCode::NOT_FOUND))) }),
        }
    }
}
