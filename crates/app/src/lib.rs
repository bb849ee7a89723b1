//! What Crewboss *does*: ports to the outside, commands and queries over the store, the scheduler
//! and the reconciler. The only caller of ports.

#![warn(missing_docs)]

pub mod audit;
pub mod checkpoints;
pub mod command;
pub mod crash_points;
pub mod error;
pub mod event;
pub mod expected;
pub mod export;
pub mod faults;
pub mod hex;
pub mod history;
pub mod locks;
pub mod nodes;
pub mod overview;
pub mod papers;
pub mod ports;
pub mod purge;
pub mod query;
pub mod reconcile;
pub mod repair;
pub mod resources;
pub mod restore;
pub mod settle;
mod use_cases;
