//! The rules of tasks, sessions and the scheduler.

mod lives;
mod planner;
mod states;
