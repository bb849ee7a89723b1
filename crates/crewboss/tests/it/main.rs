//! Drives the real program, in places of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "the program under test is started as a user would"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod bad_input;
mod checks;
mod configuration;
mod deletion;
mod documents;
mod exit_codes;
mod external;
mod help;
mod history;
mod layouts;
mod lifecycle;
mod listing;
mod locks;
mod obstacles;
mod other_names;
mod place;
mod queue;
mod quotas;
mod recovery;
mod redis_locks;
mod scenarios;
mod transcripts;
mod versions;
mod waiting;
mod worktrees;
