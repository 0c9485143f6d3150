//! From the framework to the door, and from the route that the door has found to its handler, by its place in the table: nothing is
//! looked up twice.

use std::{pin::Pin, rc::Rc};

use actix_web::{
    Error, HttpResponse, Route as Handler,
    dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse},
    http::StatusCode,
};

use super::{
    door::door,
    table::{self, ROUTES, Route},
};

type Answering = Pin<Box<dyn Future<Output = Result<ServiceResponse, Error>>>>;

/// What is registered, of which every worker has its own.
pub(super) struct Registered(Vec<Option<Handler>>);

/// Handlers of a worker, each at the place of its route.
pub(super) struct Handlers(Vec<Option<<Handler as ServiceFactory<ServiceRequest>>::Service>>);

/// Takes every request to the door.
pub(super) struct Entrance(Rc<Handlers>);

impl Registered {
    /// Handlers with method and pattern.
    pub(super) fn new(handlers: impl IntoIterator<Item = (&'static str, &'static str, Handler)>) -> Self {
        let mut registered: Vec<Option<Handler>> = ROUTES.iter().map(|_| None).collect();
        for (method, pattern, handler) in handlers {
            let is_it = |route: &Route| {
                route.method.as_str().eq_ignore_ascii_case(method) && route.pattern == pattern
            };
            let place = ROUTES.iter().position(is_it).and_then(|place| registered.get_mut(place));
            if let Some(place) = place {
                *place = Some(handler);
            }
        }
        Self(registered)
    }
}

impl ServiceFactory<ServiceRequest> for Registered {
    type Response = ServiceResponse;
    type Error = Error;
    type Config = ();
    type Service = Entrance;
    type InitError = ();
    type Future = Pin<Box<dyn Future<Output = Result<Entrance, ()>>>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let making = self.0.iter().map(|handler| handler.as_ref().map(|handler| handler.new_service(())));
        let making: Vec<_> = making.collect();
        Box::pin(async move {
            let mut made = Vec::with_capacity(making.len());
            for handler in making {
                made.push(match handler {
                    Some(handler) => Some(handler.await?),
                    None => None,
                });
            }
            Ok(Entrance(Rc::new(Handlers(made))))
        })
    }
}

impl Service<ServiceRequest> for Entrance {
    type Response = ServiceResponse;
    type Error = Error;
    type Future = Answering;

    actix_web::dev::always_ready!();

    fn call(&self, request: ServiceRequest) -> Answering {
        Box::pin(door(request, Rc::clone(&self.0)))
    }
}

impl Handlers {
    /// Calls the handler of a route.
    pub(super) fn call(&self, route: &'static Route, request: ServiceRequest) -> Answering {
        match self.0.get(table::place(route)).and_then(Option::as_ref) {
            Some(handler) => handler.call(request),
            // A test holds the table against what is registered.
            None => Box::pin(async { Ok(request.into_response(HttpResponse::new(StatusCode::NOT_FOUND))) }),
        }
    }
}
