//! The default store: one SQLite file.
//!
//! [`SqliteStore::own`] is for the process that holds the daemon's lock: one thread owns the
//! writing connection and commits together what has queued. [`SqliteStore::open`] is for every
//! other process: each request is a transaction of its own, taken in turn. Both keep the same
//! rules inside the writing transaction, so any number of processes may use one file.

mod backup;
mod connection;
mod dependencies;
mod events;
mod failure;
mod groups;
mod locks;
mod log;
mod nodes;
mod pages;
mod quotas;
mod ready;
mod replace;
mod row;
mod schema;
mod sessions;
mod singles;
mod store;
mod tasks;
mod ticket;
mod transaction;
mod watcher;
mod writer;

pub use backup::{Copied, back_up, check, set_aside};
pub use log::SqliteLog;
pub use replace::{Replaced, replace};
pub use store::SqliteStore;
