//! The process that owns one session: its workspace, its agent, its checks and its outcome.
//!
//! It depends on ports alone and on no other process: it outlives whoever started it, and if it
//! dies itself, whoever comes next finds the outcome file, or nothing of the session alive and the
//! work salvaged. What it does in which order:
//!
//! 1. takes the session over (`begin`); a void fence ends it before anything is started;
//! 2. keeps the lease and listens on the control socket, until the end;
//! 3. prepares the workspace, tells the store, starts the agent, tells the store;
//! 4. watches the agent; ends all of its processes at its end, at a deadline, a stop or a loss;
//! 5. commits, judges, runs the gates;
//! 6. writes the outcome file, then publishes the branch, then tells the store;
//! 7. removes the worktree.
//!
//! A runner that gets SIGTERM takes it that the machine is going down: it ends its agent, salvages
//! the work, and ends without an outcome, so that recovery requeues the task.

mod agent;
mod checkpoints;
mod config;
mod control;
mod event;
mod failures;
mod interrupt;
mod job;
mod keeper;
mod lines;
mod output;
mod outside;
mod run;
mod sentinels;
mod stop_pipe;
mod verify;
mod voice;
mod watch;
mod wishes;
mod work;

pub use config::{CheckpointTimes, Deps, OnLaunched, RunnerConfig, Timings};
pub use control::{Phase, RunnerSockets, RunnerStatus};
pub use interrupt::Interrupt;
pub use outside::{Checked, GatesError, run_gates};
pub use run::{RunnerExit, end_session_on_panic, run};
