//! The locks port on Redis: every operation is one script, one round trip, decided in the server's
//! time. Who waits is told by the server, and looks by itself once a second.
//!
//! Redis may lose what it has acknowledged: a flush, a failover or a crash can free what is held.
//! Tokens still rise through all of that, so whoever guards what is locked refuses a late holder,
//! and each holder learns of its loss with its next renewal.

mod address;
mod connections;
mod inbox;
mod locks;
mod row;
mod script;

pub use address::{Address, InvalidAddress};
pub use locks::RedisLocks;
