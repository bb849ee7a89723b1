//! The daemon: owns the store's writer, answers on a socket beside it, and starts what is ready.
//! Agents do not need it: they belong to their runners and outlive it.

mod bell;
mod drain;
mod images;
mod lock;
mod member;
mod memory;
mod pauses;
mod scheduler;
mod server;
pub(crate) mod socket;
mod takeover;
pub(crate) mod wire;

pub(crate) use bell::Bell;
pub(crate) use drain::{Last, Told, drain};
pub(crate) use images::{Images, Tools};
pub(crate) use lock::{DaemonLock, LockError};
pub(crate) use member::{Member, Membership};
pub(crate) use pauses::Pauses;
pub(crate) use scheduler::{Hands, Scheduler, Terms};
pub(crate) use server::Server;
