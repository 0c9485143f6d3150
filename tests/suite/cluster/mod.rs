//! Several nodes on one database.

mod bursts;
mod cut_off;
mod start;
mod together;
