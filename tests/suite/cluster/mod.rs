//! Several nodes on one database.

mod bursts;
mod chaos;
mod cut_off;
mod start;
mod together;
