//! The row of a secret, selected as it is.

use actix_web::{HttpResponse, web::Data};
use claviger_entity::tables::secret;
use sea_orm::{ColumnTrait as _, ConnectOptions, DatabaseConnection, EntityTrait as _, QueryFilter as _};
use serde_json::json;

/// The database that `CEILING_DATABASE` names; without it nothing is selected.
pub(crate) struct Rows(Option<DatabaseConnection>);

impl Rows {
    pub(crate) async fn of_environment() -> Self {
        let Ok(url) = std::env::var("CEILING_DATABASE") else { return Self(None) };
        let mut options = ConnectOptions::new(url);
        // As many as Claviger has.
        options.min_connections(1).max_connections(10).sqlx_logging(false);
        Self(Some(sea_orm::Database::connect(options).await.expect("the database is there")))
    }
}

pub(crate) async fn show(rows: Data<Rows>) -> HttpResponse {
    let Some(database) = &rows.0 else { return HttpResponse::NotFound().finish() };
    let row = secret::Entity::find()
        .filter(secret::Column::Owner.eq("bench"))
        .filter(secret::Column::Name.eq("s"))
        .one(database)
        .await;
    match row {
        Ok(Some(row)) => HttpResponse::Ok().json(json!({
            "value": row.kid, "description": row.description, "version": row.version,
            "created_at": row.created_at, "updated_at": row.updated_at,
        })),
        Ok(None) | Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
