//! A store that several machines share: one schema of a PostgreSQL database.
//!
//! Every process commits together what queues in it, and all processes take turns by one lock of the
//! transaction, so that positions and both chains of the log are written in the transaction that
//! says something, as in every other store. What a transaction writes is kept back and sent with its
//! commit: a request costs the questions that it asks.

mod ask;
mod clock;
mod events;
mod failure;
mod filling;
mod flush;
mod ledger;
mod link;
mod locks;
mod log;
mod nodes;
mod pages;
mod pool;
mod quotas;
mod reading;
mod ready;
mod row;
mod schema;
mod sessions;
mod singles;
mod store;
mod target;
mod tasks;
mod tls;
mod unit;
mod writer;
mod writing;

pub use clock::{StoreClock, Time};
pub use filling::Filled;
pub use log::PostgresLog;
pub use schema::{Migration, SchemaStatus};
pub use store::{PostgresStore, Upgrade};
pub use target::{Parts, Pooler, Target, Tls};
