//! Several nodes on one database.

mod cut_off;
mod redis;
mod start;
mod together;
