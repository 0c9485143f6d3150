//! MACs over rows: an edit of any column, of any row, is noticed.

use claviger_crypto::digest;
use sea_orm::{ColumnTrait, EntityTrait, IdenStatic, Iterable, ModelTrait, Value};

use super::Keychain;

/// Columns that came after their table. While one is NULL it is left out, so that rows from before it keep their MAC; to set or clear it
/// still changes the MAC.
const ADDED: [(&str, &str); 10] = [
    ("principals", "previous_hash"),
    ("principals", "previous_until"),
    ("ring_meta", "policies"),
    ("ring_meta", "seal_revision"),
    ("ring_meta", "master_version"),
    ("ring_meta", "master_since"),
    ("ring_meta", "data_key"),
    ("ring_meta", "data_key_next"),
    ("ring_meta", "restored"),
    ("keys", "longest_ttl"),
];

/// Columns that are never covered. Those of revocations came later: one authenticates itself, the other only counts, and a revocation must be in
/// force also where a release runs that does not know them. Those of incidents are written all the time by whoever runs one: they decide who
/// does, and nothing else. Those of what is to be told likewise: they decide when and by whom, but not what.
const APART: [(&str, &str); 12] = [
    ("revocations", "told"),
    ("revocations", "key_id"),
    ("incidents", "fence"),
    ("incidents", "holder"),
    ("incidents", "held_until"),
    ("alert_deliveries", "state"),
    ("alert_deliveries", "attempts"),
    ("alert_deliveries", "next_at"),
    ("alert_deliveries", "last_error"),
    ("alert_deliveries", "ended_at"),
    ("alert_deliveries", "holder"),
    ("alert_deliveries", "held_until"),
];

/// HMAC-SHA-256 over a row's table and columns, each with its name, its kind and its length, but the column that holds
/// the MAC itself.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enum is sea-query's and has a variant for every database"
)]
pub fn mac_of_row<M>(keychain: &Keychain, table: &str, model: &M) -> [u8; 32]
where
    M: ModelTrait,
    <M::Entity as EntityTrait>::Column: ColumnTrait + Iterable,
{
    let mut bytes = Vec::with_capacity(512);
    part(&mut bytes, b't', table.as_bytes());
    for column in <M::Entity as EntityTrait>::Column::iter() {
        let name = column.as_str();
        if name == "mac" || APART.contains(&(table, name)) {
            continue;
        }
        let value = model.get(column);
        if ADDED.contains(&(table, name))
            && matches!(value, Value::String(None) | Value::Bytes(None) | Value::BigInt(None))
        {
            continue;
        }
        part(&mut bytes, b'c', name.as_bytes());
        match value {
            Value::String(Some(text)) => part(&mut bytes, b's', text.as_bytes()),
            Value::Bytes(Some(blob)) => part(&mut bytes, b'b', &blob),
            Value::BigInt(Some(number)) => part(&mut bytes, b'i', &number.to_be_bytes()),
            Value::Int(Some(number)) => part(&mut bytes, b'i', &i64::from(number).to_be_bytes()),
            Value::Bool(Some(flag)) => part(&mut bytes, b'f', &[u8::from(flag)]),
            // Only NULL is left: the tables have columns of no other kind.
            _ => part(&mut bytes, b'n', &[]),
        }
    }
    digest::hmac_sha256(keychain.row_mac().expose(), &[&bytes])
}

fn part(bytes: &mut Vec<u8>, kind: u8, content: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&(content.len() as u64).to_be_bytes());
    bytes.extend_from_slice(content);
}

/// HMAC-SHA-256 over the hash of a backup, under the key that authenticates rows: whoever can encrypt a file to a public key can make none that
/// passes for a backup of this deployment.
#[must_use]
pub fn mac_of_backup(keychain: &Keychain, hash: &[u8; 32]) -> [u8; 32] {
    digest::hmac_sha256(keychain.row_mac().expose(), &[b"claviger backup v1", hash])
}

#[cfg(test)]
mod tests {
    use claviger_crypto::secret::SecretBytes;
    use claviger_entity::tables::principal;
    use uuid::Uuid;

    use super::*;
    use crate::seal::MasterKeys;

    /// The table as it was before a second token.
    mod before {
        use sea_orm::entity::prelude::*;

        #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
        #[sea_orm(table_name = "principals")]
        pub(super) struct Model {
            #[sea_orm(primary_key, auto_increment = false)]
            pub(super) id: String,
            pub(super) name: String,
            pub(super) token_hash: Vec<u8>,
            pub(super) roles: String,
            pub(super) created_at: i64,
            pub(super) expires_at: Option<i64>,
            pub(super) disabled_at: Option<i64>,
            pub(super) mac: Vec<u8>,
        }

        #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
        pub(super) enum Relation {}

        impl ActiveModelBehavior for ActiveModel {}
    }

    #[test]
    fn a_later_column_changes_the_mac_only_once_it_is_set() {
        let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
        let (keychain, _) = Keychain::create(&masters.newest(Uuid::nil()).unwrap(), 0).unwrap();
        let old = before::Model {
            id: "i".to_owned(),
            name: "n".to_owned(),
            token_hash: vec![1; 32],
            roles: "[]".to_owned(),
            created_at: 1,
            expires_at: None,
            disabled_at: None,
            mac: Vec::new(),
        };
        let mut new = principal::Model {
            id: old.id.clone(),
            name: old.name.clone(),
            token_hash: old.token_hash.clone(),
            roles: old.roles.clone(),
            created_at: old.created_at,
            expires_at: old.expires_at,
            disabled_at: old.disabled_at,
            previous_hash: None,
            previous_until: None,
            mac: Vec::new(),
        };
        let mac = |model: &principal::Model| mac_of_row(&keychain, "principals", model);
        assert_eq!(mac_of_row(&keychain, "principals", &old), mac(&new));
        let unset = mac(&new);
        new.previous_until = Some(0);
        let set = mac(&new);
        new.expires_at = Some(0);
        assert!(unset != set && set != mac(&new));
    }
}
