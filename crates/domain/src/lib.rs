//! What a task, a session and an agent *are*: ids, states, and the pure functions that change
//! them. Nothing here reads a clock, a file or a random number.

#![warn(missing_docs)]

pub mod agent;
pub mod completion;
pub mod failure;
pub mod id;
pub mod process;
pub mod redact;
pub mod time;
pub mod usage;
pub mod workspace;
