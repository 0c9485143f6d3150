//! Several nodes on one database.

mod start;
