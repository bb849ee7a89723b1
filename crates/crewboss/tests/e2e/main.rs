//! The real program against a hostile world: processes that will not end, processes that are
//! killed, several at once, full disks, clocks that jump.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is started as a user would"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod arena;
mod at_once;
mod census;
mod checkpoints;
mod crashes;
mod daemon;
mod disks;
mod ends;
mod faults;
mod foreign;
mod limits;
mod lost_runner;
mod nodes;
mod purging;
mod resources;
mod resuming;
mod rewinding;
mod secrets;
mod shutdown;
mod ten_turns;
mod time;
mod trees;
mod worktrees;
mod wrong;
