//! Reads: one statement each, by an index.

use claviger_entity::{
    Owner,
    tables::{secret, secret_version},
};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use super::tables::{Table, in_table_of};
use crate::{
    seal::Keychain,
    store::{Database, StoreError},
    stores::{Item, Place, Store},
};

/// What is at a place.
#[derive(Debug)]
pub(crate) enum Found {
    /// A value whose row is as it was written.
    Sound(Box<Item>),
    /// A row that was changed from outside, or that another release wrote: its id.
    Damaged(String),
}

impl Found {
    /// The value, if its row is sound.
    pub(crate) fn sound(&self) -> Option<&Item> {
        match self {
            Self::Sound(item) => Some(item),
            Self::Damaged(..) => None,
        }
    }
}

pub(super) fn judged<T: Table>(keychain: &Keychain, row: &T::Model) -> Found {
    let item = if T::is_sound(keychain, row) { T::item(row) } else { None };
    match item {
        Some(item) => Found::Sound(Box::new(item)),
        None => Found::Damaged(T::facts(row).0.to_owned()),
    }
}

/// A row that stands at another place than the one that was asked for would be a fault of the database.
pub(super) async fn one<T: Table>(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    query: Select<T>,
) -> Result<Option<Found>, StoreError> {
    Ok(query.one(connection).await?.map(|row| judged::<T>(keychain, &row)))
}

impl Database {
    /// What is at a place now.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn stored(
        &self,
        keychain: &Keychain,
        place: &Place,
    ) -> Result<Option<Found>, StoreError> {
        in_table_of!(place.store(), T => one::<T>(&self.connection, keychain, T::at(place)).await)
    }

    /// What is at places now, in their order.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn stored_many(
        &self,
        keychain: &Keychain,
        places: &[Place],
    ) -> Result<Vec<Option<Found>>, StoreError> {
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            found.push(self.stored(keychain, place).await?);
        }
        Ok(found)
    }

    /// A secret as it was in one of the versions that are kept.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn secret_version(
        &self,
        keychain: &Keychain,
        place: &Place,
        version: u64,
    ) -> Result<Option<Found>, StoreError> {
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        let now = secret::Entity::at(place).filter(secret::Column::Version.eq(version));
        if let Some(found) = one::<secret::Entity>(&self.connection, keychain, now).await? {
            return Ok(Some(found));
        }
        let before = secret_version::Entity::at(place).filter(secret_version::Column::Version.eq(version));
        one::<secret_version::Entity>(&self.connection, keychain, before).await
    }

    /// The versions of a secret that are kept, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn secret_versions(
        &self,
        keychain: &Keychain,
        place: &Place,
    ) -> Result<Vec<Found>, StoreError> {
        let now = one::<secret::Entity>(&self.connection, keychain, secret::Entity::at(place)).await?;
        let Some(now) = now else { return Ok(Vec::new()) };
        let before = secret_version::Entity::at(place).order_by_desc(secret_version::Column::Version);
        let before = before.all(&self.connection).await?;
        let before = before.iter().map(|row| judged::<secret_version::Entity>(keychain, row));
        Ok(std::iter::once(now).chain(before).collect())
    }

    /// Names of secrets of an owner that come after one, in order.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn secret_names(
        &self,
        owner: &Owner,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<String>, StoreError> {
        let condition = Condition::all()
            .add(secret::Column::Owner.eq(owner.as_str()))
            .add_option(after.map(|name| secret::Column::Name.gt(name)));
        let query = secret::Entity::find().select_only().column(secret::Column::Name).filter(condition);
        let query = query.order_by_asc(secret::Column::Name).limit(limit);
        Ok(query.into_tuple().all(&self.connection).await?)
    }

    /// Secrets of an owner that have these names, by name.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn secrets_named(
        &self,
        keychain: &Keychain,
        owner: &Owner,
        names: &[String],
    ) -> Result<Vec<(String, Found)>, StoreError> {
        let query = secret::Entity::find()
            .filter(secret::Column::Owner.eq(owner.as_str()))
            .filter(secret::Column::Name.is_in(names))
            .order_by_asc(secret::Column::Name);
        let rows = query.all(&self.connection).await?;
        Ok(rows.into_iter().map(|row| (row.name.clone(), judged::<secret::Entity>(keychain, &row))).collect())
    }
}
