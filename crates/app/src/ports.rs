//! The traits through which everything outside is reached. Each says what an adapter must do.

pub mod agents;
pub mod checkpoints;
pub mod clock;
pub mod folders;
pub mod gates;
pub mod journal;
pub mod layers;
pub mod locks;
pub mod nodes;
pub mod processes;
pub mod runners;
pub mod store;
pub mod workspaces;
