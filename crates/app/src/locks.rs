//! Locks kept by the store: what is asked of it, how it decides, and the port over it.

mod command;
mod keeper;
mod load;
mod reading;
mod store_locks;

pub(crate) use self::{
    command::LockTaken,
    load::{load, load_for, load_whole},
    reading::answer,
};
pub use self::{
    command::{LockAnswer, LockCommand, LockNotice, LockQuery, LockReply},
    keeper::{Keeper, Lost},
    store_locks::{Bell, Bells, StoreLocks},
};
