//! Client of Claviger over WebSocket: calls, events that miss nothing, and a mirror of the public keys.
//!
//! ```no_run
//! use claviger_client::{Client, Credential, Mode};
//! use serde_json::json;
//!
//! # async fn example(token: String) -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder(["https://one.example", "https://two.example"])
//!     .introduce("shop", Mode::Backend)
//!     .credential(Credential::Token(token.into()))
//!     .scopes(["operator.read", "operator.write"])
//!     .topics(["shop-signing"])
//!     .on_state(|state| println!("{state:?}"))
//!     .start()?;
//!
//! client.opened().await?;
//! let signed = client.call("keys.sign", json!({ "name": "shop-webhooks", "input": "aGVsbG8=" })).await?;
//! println!("{}", signed["signature"]);
//!
//! while let Some(event) = events.next().await {
//!     println!("{} {}", event.name, event.payload);
//!     // Kept with what was done about the event, it is where the next run begins: `Builder::since`.
//!     let _position = events.position();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A workload that verifies tokens by itself keeps a [`Mirror`] of the public keys, under the role `node` and a device of its own:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use claviger_client::{Client, Credential, Mode, Role};
//!
//! # async fn example(token: String) -> Result<(), Box<dyn std::error::Error>> {
//! let (client, _events) = Client::builder(["https://claviger.example"])
//!     .introduce("gateway", Mode::Node)
//!     .role(Role::Node)
//!     .scopes(["node.sync"])
//!     .device("/var/lib/gateway/device.pem")
//!     .credential(Credential::Token(token.into()))
//!     .start()?;
//! let mirror = client.mirror();
//! if mirror.staleness().is_some_and(|age| age < Duration::from_secs(120)) {
//!     let _jwks = mirror.jwks();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it guarantees
//!
//! - **Every event once, in order**: after a connection has broken, on whichever node, it goes on where it was ([`feed`]). Events that no
//!   log keeps (`token.revoked`, `presence`, `health`, `device.pair.*`) are told as they happen, and not again.
//! - **Bounds**: waits, attempts, calls, events that wait, frames. An application that does not take its events holds up no call: what does
//!   not fit is asked for again once there is room.
//! - **Credentials go over TLS, or stay on the machine**, and are in no error and no debug output.
//!
//! # What the caller does
//!
//! - Decides what to do when a call fails with `is_outcome_unknown`: the connection broke after it was sent.
//! - Watches for [`State::GivenUp`]: a device that waits for approval, a credential that is not valid.

pub mod backoff;
pub mod core;
pub mod ending;
pub mod feed;

mod address;
mod calls;
mod client;
mod connect;
mod frame;
mod identity;
mod mirror;
mod session;
mod settings;
mod transport;

pub use self::{
    backoff::Backoff,
    calls::CallError,
    client::{Client, Events, State},
    connect::{Credential, Mode, Role},
    ending::Ending,
    frame::{Event, Hello},
    identity::Identity,
    mirror::{KeyState, Mirror, Ring, VersionState},
    settings::{Builder, SettingsError},
    transport::Trust,
};
