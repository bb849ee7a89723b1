//! What a task, a session and an agent *are*: ids, states, and the pure functions that change
//! them. Nothing here reads a clock, a file or a random number.

#![warn(missing_docs)]

pub mod agent;
pub mod completion;
pub mod failure;
pub mod gate;
pub mod graph;
pub mod id;
pub mod lock;
pub mod node;
pub mod plan;
pub mod process;
pub mod project;
pub mod quota;
pub mod redact;
pub mod rejection;
pub mod resource;
pub mod retry;
pub mod session;
pub mod states;
pub mod task;
pub mod time;
pub mod usage;
pub mod workspace;
