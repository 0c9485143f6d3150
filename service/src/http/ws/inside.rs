//! The same service that HTTP clients reach, for the sessions of a worker: one implementation, two doors.

use std::rc::Rc;

use actix_http::Request;
use actix_service::{IntoServiceFactory as _, ServiceFactory as _, boxed};
use actix_web::{
    App, Error,
    dev::{AppConfig, Service as _, ServiceResponse},
    web::Data,
};
use tokio::sync::OnceCell;

use crate::http::{self, state::AppState};

type Inner = boxed::BoxService<Request, ServiceResponse, Error>;

/// The service within a worker; made when its first session needs it.
#[derive(Clone, Default)]
pub struct Inside(Rc<OnceCell<Inner>>);

impl Inside {
    /// Answers a request that a session has made. `None` = there is no service, which is a fault of ours.
    pub(super) async fn call(
        &self,
        state: &Data<AppState>,
        request: Request,
    ) -> Option<Result<ServiceResponse, Error>> {
        let making = || async {
            let app = App::new().app_data(state.clone()).configure(http::configure);
            let service = app.into_factory().new_service(AppConfig::default()).await?;
            Ok::<Inner, ()>(boxed::service(service))
        };
        let inner = self.0.get_or_try_init(making).await.ok()?;
        Some(inner.call(request).await)
    }
}
