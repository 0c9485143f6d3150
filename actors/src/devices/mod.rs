//! Devices: known by a key pair of their own, approved by somebody, each with what it was given.
//!
//! A [`Device`] is part of the ring: its changes are decided here ([`DeviceCommand`]) and written by the key ring's one writer, in its
//! transactions and under its epoch. What waits for an approval ([`PairingRecord`]) is not: it lies in a table beside the ring, for
//! minutes and in bounded number, so that whoever asks for nothing but attention moves no epoch.

mod core;
mod error;
mod record;
mod request;
mod state;
#[cfg(test)]
mod tests;

pub use self::core::{After, Approval, DeviceChange, DeviceCommand, DeviceSubject, Settled};
pub use claviger_protocol::device::device_id;
pub use error::DeviceError;
pub use record::{ActingDevice, ClientFacts, Device, DeviceToken, Grant};
pub(crate) use request::has_room;
pub use request::{
    PAIRING_LIFETIME, PairingPending, PairingRecord, PairingRequest, REQUEST_STAYS, REQUESTS_A_PRINCIPAL,
    REQUESTS_AN_ADDRESS, REQUESTS_MAX,
};
pub use state::Devices;
