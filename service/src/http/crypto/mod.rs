//! Operations with keys, one by one or in batches. All of them read the snapshot on the worker; nothing here waits for an actor but
//! temporary keys, whose uses are counted in the database.

pub mod datakey;
pub mod decrypt;
pub mod encrypt;
pub mod operation;
pub mod random;
pub mod sign;
pub mod verify;
