//! Real processes, with control groups and without.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests measure time and read files of their own"
)]

mod detached;
mod ending;
mod launching;
mod orphans;
mod recognising;
mod setting;
