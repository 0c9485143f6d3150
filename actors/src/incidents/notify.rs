//! Telling people.

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use super::Target;
use crate::keyring::record::Time;

/// What people are told of an incident. It names no secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notice {
    /// Always `incident`.
    pub name: &'static str,
    /// The incident.
    pub incident: Uuid,
    /// What it is about.
    pub target: Target,
    /// How sure whoever opened it is.
    pub level: super::Level,
    /// How far it is.
    pub state: super::core::State,
    /// Why.
    pub reason: String,
    /// When it was opened.
    pub opened_at: Time,
}

/// Somebody who tells people, once for the deployment.
#[async_trait]
pub trait Notify: Send + Sync {
    /// Tells; answers with how many ways it was told. Twice is no harm.
    ///
    /// # Errors
    /// A sentence that says why not; the step is done again.
    async fn tell(&self, notice: &Notice) -> Result<usize, String>;
}

/// Nobody but those who listen to events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoChannels;

#[async_trait]
impl Notify for NoChannels {
    async fn tell(&self, _: &Notice) -> Result<usize, String> {
        Ok(0)
    }
}
