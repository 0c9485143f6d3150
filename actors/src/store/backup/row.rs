//! Rows ↔ lines of a backup: values by column, bytes in base64.

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use sea_orm::{
    ActiveModelTrait, ColumnTrait as _, ColumnType, ConnectionTrait, DatabaseTransaction, EntityTrait,
    IdenStatic as _, IntoActiveModel, Iterable as _, ModelTrait, PaginatorTrait as _,
    PrimaryKeyToColumn as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, TryIntoModel,
    Value as Column,
    sea_query::{Expr, ExprTrait as _},
};
use serde_json::Value;

use super::super::StoreError;
use crate::seal::{Keychain, mac_of_row};

/// Rows of one table.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Values of each, by column.
    pub(crate) rows: Vec<Vec<Value>>,
    /// So many of them are not as the service wrote them.
    pub(crate) damaged: u64,
}

pub(super) fn columns<E: EntityTrait>() -> Vec<&'static str> {
    E::Column::iter().map(|column| column.as_str()).collect()
}

pub(super) async fn count<E>(connection: &impl ConnectionTrait) -> Result<u64, StoreError>
where
    E: EntityTrait,
    E::Model: Sync,
{
    Ok(E::find().count(connection).await?)
}

pub(super) async fn page<E: EntityTrait>(
    connection: &impl ConnectionTrait,
    (table, keychain): (&str, &Keychain),
    (after, limit): (Option<&[Column]>, u64),
) -> Result<(Rows, Option<Vec<Column>>), StoreError> {
    let key: Vec<E::Column> = E::PrimaryKey::iter().map(|part| part.into_column()).collect();
    let mut select = E::find();
    if let Some(after) = after {
        let columns = key.iter().map(|column| Expr::col(*column));
        let values = after.iter().map(|value| Expr::value(value.clone()));
        select = select.filter(Expr::tuple(columns).gt(Expr::tuple(values)));
    }
    for part in &key {
        select = select.order_by_asc(*part);
    }
    let models = select.limit(limit).all(connection).await?;
    let last = models.last().map(|model| key.iter().map(|part| model.get(*part)).collect());
    let damaged = models.iter().filter(|model| !is_sound(keychain, table, *model)).count();
    let rows = models.iter().map(encode).collect();
    Ok((Rows { rows, damaged: u64::try_from(damaged).unwrap_or(u64::MAX) }, last))
}

/// The row is as the service wrote it, as far as a code of its own says so.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is sea-query's and has a variant for every database"
)]
pub(super) fn is_sound<M: ModelTrait>(keychain: &Keychain, table: &str, model: &M) -> bool {
    let Some(column) = <M::Entity as EntityTrait>::Column::iter().find(|column| column.as_str() == "mac")
    else {
        return true;
    };
    match model.get(column) {
        Column::Bytes(Some(mac)) => claviger_crypto::digest::ct_eq(&mac_of_row(keychain, table, model), &mac),
        // Written by a release that had none.
        _ => true,
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is sea-query's and has a variant for every database"
)]
fn encode<M: ModelTrait>(model: &M) -> Vec<Value> {
    let value = |column| match model.get(column) {
        Column::String(Some(text)) => Value::String(text.to_string()),
        Column::Bytes(Some(bytes)) => Value::String(BASE64_STANDARD_NO_PAD.encode(bytes.as_slice())),
        Column::BigInt(Some(number)) => number.into(),
        Column::Int(Some(number)) => number.into(),
        Column::Bool(Some(flag)) => flag.into(),
        // Only NULL is left: the tables have columns of no other kind.
        _ => Value::Null,
    };
    <M::Entity as EntityTrait>::Column::iter().map(value).collect()
}

/// A row out of its values; a column that the backup does not have is NULL.
pub(crate) fn decode<E, A>(columns: &[String], values: &[Value]) -> Option<E::Model>
where
    E: EntityTrait,
    A: ActiveModelTrait<Entity = E> + TryIntoModel<E::Model>,
{
    if columns.len() != values.len() {
        return None;
    }
    let mut row = <A as ActiveModelTrait>::default();
    for column in E::Column::iter() {
        let given =
            columns.iter().position(|name| name == column.as_str()).and_then(|place| values.get(place));
        let value = typed(column.def().get_column_type(), given.unwrap_or(&Value::Null))?;
        row.try_set(column, value).ok()?;
    }
    row.try_into_model().ok()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is sea-query's and has a variant for every database"
)]
fn typed(kind: &ColumnType, value: &Value) -> Option<Column> {
    let is_null = value.is_null();
    Some(match kind {
        ColumnType::String(_) | ColumnType::Text | ColumnType::Char(_) => {
            Column::from(if is_null { None } else { Some(value.as_str()?.to_owned()) })
        }
        ColumnType::BigInteger => Column::from(if is_null { None } else { Some(value.as_i64()?) }),
        ColumnType::Integer => {
            Column::from(if is_null { None } else { Some(i32::try_from(value.as_i64()?).ok()?) })
        }
        ColumnType::Boolean => Column::from(if is_null { None } else { Some(value.as_bool()?) }),
        ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => Column::from(if is_null {
            None
        } else {
            Some(BASE64_STANDARD_NO_PAD.decode(value.as_str()?).ok()?)
        }),
        _ => return None,
    })
}

pub(super) async fn insert<E, A>(
    transaction: &DatabaseTransaction,
    columns: &[String],
    rows: &[Vec<Value>],
) -> Result<(), StoreError>
where
    E: EntityTrait,
    E::Model: IntoActiveModel<A>,
    A: ActiveModelTrait<Entity = E> + TryIntoModel<E::Model> + Send,
{
    let mut models = Vec::with_capacity(rows.len());
    for row in rows {
        let model = decode::<E, A>(columns, row).ok_or(StoreError::Conflict)?;
        models.push(model.into_active_model().reset_all());
    }
    if models.is_empty() {
        return Ok(());
    }
    E::insert_many(models).exec_without_returning(transaction).await?;
    Ok(())
}
