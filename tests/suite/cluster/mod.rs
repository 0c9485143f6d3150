//! Several nodes on one database.

mod cut_off;
mod start;
mod together;
