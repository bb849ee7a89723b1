//! Drivers from outside: recordings of real runs, command lines, and the folders they prepare.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is to fail")]

mod command;
mod opencode;
mod recordings;
mod registry;
mod support;
