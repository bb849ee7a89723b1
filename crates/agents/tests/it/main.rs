//! Drivers from outside: recordings of real runs, command lines, and the folders they prepare.

mod command;
mod opencode;
mod recordings;
mod registry;
mod support;
