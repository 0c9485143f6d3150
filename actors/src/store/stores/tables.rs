//! Rows ↔ items, for each table.

use claviger_entity::{
    Owner, ProviderName, SecretName,
    tables::{auth_token, offline_token, secret, secret_version},
};
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait, IntoActiveModel, Iterable, QueryFilter as _, Select,
};
use uuid::Uuid;

use crate::{
    keyring::record::Time,
    seal::{Keychain, mac_of_row},
    store::rows,
    stores::{About, Item, Place},
};

/// A table of sealed values.
pub(super) trait Table:
    EntityTrait<Model: IntoActiveModel<Self::ActiveModel> + Send + Sync, Column: Iterable>
{
    /// Name.
    const NAME: &'static str;

    /// The row's own id.
    const ID: Self::Column;

    /// The key that a row is sealed under.
    const KID: Self::Column;

    /// The version of the value in a row.
    const VERSION: Self::Column;

    /// What is at a place; several, where there is a history.
    fn at(place: &Place) -> Select<Self>;

    /// The row as an item; `None` when it was written by another release.
    fn item(row: &Self::Model) -> Option<Item>;

    /// An item as a row, without its MAC.
    fn row(id: Uuid, item: Item) -> Self::Model;

    /// The row's own id, the version in it, and its MAC.
    fn facts(row: &Self::Model) -> (&str, i64, &[u8]);

    /// Puts the MAC in.
    fn set_mac(row: &mut Self::Model, mac: Vec<u8>);

    /// The row's MAC fits.
    fn is_sound(keychain: &Keychain, row: &Self::Model) -> bool {
        claviger_crypto::digest::ct_eq(&mac_of_row(keychain, Self::NAME, row), Self::facts(row).2)
    }

    /// An item as a row, with its MAC.
    fn sealed_row(keychain: &Keychain, id: Uuid, item: Item) -> Self::Model {
        let mut row = Self::row(id, item);
        let mac = mac_of_row(keychain, Self::NAME, &row).to_vec();
        Self::set_mac(&mut row, mac);
        row
    }
}

fn time(millis: i64) -> Option<Time> {
    chrono::DateTime::from_timestamp_millis(millis)
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// What the tables have in common.
macro_rules! table {
    ($module:ident, $name:literal, |$row:ident| $id:expr, $place:expr, $about:expr) => {
        const NAME: &'static str = $name;
        const ID: $module::Column = $module::Column::Id;
        const KID: $module::Column = $module::Column::Kid;
        const VERSION: $module::Column = $module::Column::Version;

        fn item($row: &$module::Model) -> Option<Item> {
            Some(Item {
                id: $id.parse().ok()?,
                place: $place,
                version: u64::try_from($row.version).ok()?,
                kid: $row.kid.parse().ok()?,
                sealed: $row.sealed.clone(),
                about: $about,
                created_at: time($row.created_at)?,
                updated_at: time($row.updated_at)?,
            })
        }

        fn facts(row: &$module::Model) -> (&str, i64, &[u8]) {
            (&row.id, row.version, &row.mac)
        }

        fn set_mac(row: &mut $module::Model, mac: Vec<u8>) {
            row.mac = mac;
        }
    };
}

fn secret_place(owner: &str, name: &str) -> Option<Place> {
    Some(Place::secret(owner.parse().ok()?, &name.parse::<SecretName>().ok()?))
}

fn described(description: &Option<String>) -> About {
    About { description: description.clone(), ..About::default() }
}

impl Table for secret::Entity {
    table!(
        secret,
        "secrets",
        |row| row.id,
        secret_place(&row.owner, &row.name)?,
        described(&row.description)
    );

    fn at(place: &Place) -> Select<Self> {
        Self::find().filter(
            Condition::all()
                .add(secret::Column::Owner.eq(place.owner().as_str()))
                .add(secret::Column::Name.eq(place.name())),
        )
    }

    fn row(id: Uuid, item: Item) -> secret::Model {
        secret::Model {
            id: id.to_string(),
            owner: item.place.owner().as_str().to_owned(),
            name: item.place.name().to_owned(),
            version: number(item.version),
            kid: item.kid.as_str().to_owned(),
            sealed: item.sealed,
            description: item.about.description,
            created_at: rows::millis(item.created_at),
            updated_at: rows::millis(item.updated_at),
            mac: Vec::new(),
        }
    }
}

impl Table for secret_version::Entity {
    table!(
        secret_version,
        "secret_versions",
        |row| row.secret_id,
        secret_place(&row.owner, &row.name)?,
        described(&row.description)
    );

    fn at(place: &Place) -> Select<Self> {
        Self::find().filter(
            Condition::all()
                .add(secret_version::Column::Owner.eq(place.owner().as_str()))
                .add(secret_version::Column::Name.eq(place.name())),
        )
    }

    fn row(id: Uuid, item: Item) -> secret_version::Model {
        secret_version::Model {
            id: id.to_string(),
            secret_id: item.id.to_string(),
            owner: item.place.owner().as_str().to_owned(),
            name: item.place.name().to_owned(),
            version: number(item.version),
            kid: item.kid.as_str().to_owned(),
            sealed: item.sealed,
            description: item.about.description,
            created_at: rows::millis(item.created_at),
            updated_at: rows::millis(item.updated_at),
            mac: Vec::new(),
        }
    }
}

impl Table for auth_token::Entity {
    table!(
        auth_token,
        "auth_tokens",
        |row| row.id,
        Place::auth_token(
            row.user_id.parse::<Owner>().ok()?,
            &row.identity_provider.parse::<ProviderName>().ok()?
        ),
        About {
            description: None,
            access_expires_at: row.access_token_expires_at,
            refresh_expires_at: row.refresh_token_expires_at,
        }
    );

    fn at(place: &Place) -> Select<Self> {
        Self::find().filter(
            Condition::all()
                .add(auth_token::Column::UserId.eq(place.owner().as_str()))
                .add(auth_token::Column::IdentityProvider.eq(place.name())),
        )
    }

    fn row(id: Uuid, item: Item) -> auth_token::Model {
        auth_token::Model {
            id: id.to_string(),
            user_id: item.place.owner().as_str().to_owned(),
            identity_provider: item.place.name().to_owned(),
            version: number(item.version),
            kid: item.kid.as_str().to_owned(),
            sealed: item.sealed,
            access_token_expires_at: item.about.access_expires_at,
            refresh_token_expires_at: item.about.refresh_expires_at,
            created_at: rows::millis(item.created_at),
            updated_at: rows::millis(item.updated_at),
            mac: Vec::new(),
        }
    }
}

impl Table for offline_token::Entity {
    table!(
        offline_token,
        "offline_tokens",
        |row| row.id,
        Place::offline_token(row.user_id.parse::<Owner>().ok()?),
        About::default()
    );

    fn at(place: &Place) -> Select<Self> {
        Self::find().filter(offline_token::Column::UserId.eq(place.owner().as_str()))
    }

    fn row(id: Uuid, item: Item) -> offline_token::Model {
        offline_token::Model {
            id: id.to_string(),
            user_id: item.place.owner().as_str().to_owned(),
            version: number(item.version),
            kid: item.kid.as_str().to_owned(),
            sealed: item.sealed,
            created_at: rows::millis(item.created_at),
            updated_at: rows::millis(item.updated_at),
            mac: Vec::new(),
        }
    }
}

/// Does the same with the table of a store, whichever it is.
macro_rules! in_table_of {
    ($store:expr, $table:ident => $do:expr) => {
        match $store {
            Store::Secrets => {
                type $table = claviger_entity::tables::secret::Entity;
                $do
            }
            Store::AuthTokens => {
                type $table = claviger_entity::tables::auth_token::Entity;
                $do
            }
            Store::OfflineTokens => {
                type $table = claviger_entity::tables::offline_token::Entity;
                $do
            }
        }
    };
}
pub(super) use in_table_of;
