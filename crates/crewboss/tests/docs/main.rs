//! Holds `README.md` and `docs/` to what the program does: every documented command is run, and
//! what is generated from the program is what it says today.

#![expect(
    clippy::disallowed_methods,
    reason = "the documented commands are run as a reader would"
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod book;
mod commands;
mod documented;
mod generated;
mod page;
mod paths;
mod stage;
