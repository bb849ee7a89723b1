//! Locks: who may work on what, in which order, and until when.
//!
//! A [`Lock`] is one request through its whole life: it waits, is held, and is gone. A [`Table`]
//! holds those that may stand in each other's way, and is the only place where it is decided who is
//! next:
//!
//! - Two locks stand in each other's way where their resources overlap and not both are shared.
//! - A request is granted, with all of its resources or with none, once nothing is in its way that
//!   is held, or that waits before it.
//! - The order of those that wait is [`Ask::rank`]: by when they came, each step of priority worth
//!   [`AGEING_MILLIS`]. It never changes, so that nobody waits for ever.
//! - Each grant has a higher [`Token`] than every one before it.
//! - Where requests wait for each other in a circle, one of them is refused at once.

mod ask;
mod cycle;
mod event;
mod refused;
mod resource;
mod row;
mod table;
mod totals;

pub use self::{
    ask::{
        AGEING_MILLIS, Ask, Holder, HolderName, InvalidHolder, LEASE_OF_WAITERS_MILLIS, Mode,
        RESOURCES_MAX, TTL_DEFAULT_MILLIS, TTL_MAX_MILLIS, TTL_MIN_MILLIS, WAIT_MAX_MILLIS,
        WAITERS_MAX,
    },
    event::LockEvent,
    refused::{Blocker, LockRefused, Wait},
    resource::{InvalidResource, Resource},
    row::{Gone, InvalidToken, Lock, LockState, Token},
    table::{Numbers, Release, Table},
    totals::Totals,
};

#[cfg(test)]
mod tests;
