//! Checks that are run before a task is believed to be done: commands in the workspace.

mod command;
mod output;

pub use command::CommandGates;
