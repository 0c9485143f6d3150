//! Schema of the database. Forward only: a release reads what the one before wrote (docs/operations.md, Upgrade).

mod m20261124_000001_ring;
mod m20261125_000002_access;
mod m20261125_000003_nodes;
mod m20261125_000004_audit;
mod m20261125_000005_node_settings;
mod m20261125_000006_tokens;
mod m20261125_000007_stores;
mod m20261125_000008_seal;
mod m20261129_000009_devices;
mod m20261129_000010_events;
mod m20261129_000011_counts;
mod m20261129_000012_refresh_leases;
mod m20261129_000014_restored;
mod m20261129_000015_incidents;
mod m20261129_000016_alerts;

use sea_orm_migration::prelude::*;

/// Brings a database up to date.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261124_000001_ring::Migration),
            Box::new(m20261125_000002_access::Migration),
            Box::new(m20261125_000003_nodes::Migration),
            Box::new(m20261125_000004_audit::Migration),
            Box::new(m20261125_000005_node_settings::Migration),
            Box::new(m20261125_000006_tokens::Migration),
            Box::new(m20261125_000007_stores::Migration),
            Box::new(m20261125_000008_seal::Migration),
            Box::new(m20261129_000009_devices::Migration),
            Box::new(m20261129_000010_events::Migration),
            Box::new(m20261129_000011_counts::Migration),
            Box::new(m20261129_000012_refresh_leases::Migration),
            Box::new(m20261129_000014_restored::Migration),
            Box::new(m20261129_000015_incidents::Migration),
            Box::new(m20261129_000016_alerts::Migration),
        ]
    }
}
