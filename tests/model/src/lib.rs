//! The cluster protocol as a model: N nodes, one database, one channel of hints, and every order in which they may act.
//!
//! The model is small and the service is not, so it proves the protocol, not the code: with the rules of [`Guard`] in force no
//! order of events breaks P2, P3 or P4 (see [`properties`]); with any one of them taken away some order does, and the checker
//! shows it. `docs/model.md` says what is left out and how long it takes.
//!
//! - [`Ring`]: the versions of one key and what a command makes of them.
//! - [`State`]: database, nodes and answers at one moment. Time is kept as ages, which stop counting when nothing depends on
//!   them any more, so there is no last tick and the states are finite.
//! - [`Protocol`]: what may happen next, as a [`stateright::Model`].
//! - [`cost`]: what the same protocol costs with a thousand nodes.
//!
//! Nodes are alike and states hold no names, so the nodes of a state are kept sorted: of N! mirror images one is visited.

#![allow(
    clippy::indexing_slicing,
    reason = "indices are made by `0..N` and by epochs that index the history they count"
)]

mod action;
mod bounds;
pub mod cost;
mod guard;
pub mod properties;
mod protocol;
mod ring;
mod sanity;
mod state;
mod verdict;

pub use action::{Action, Outcome};
pub use bounds::Bounds;
pub use guard::{Guard, broken_without};
pub use protocol::Protocol;
pub use ring::{Command, Ring, Row, VersionState};
pub use state::{Barrier, CHANGES, Change, Node, Phase, Reply, Role, State, Straggler};
