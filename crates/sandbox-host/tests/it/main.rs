//! Real processes, with control groups and without.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "what helpers of tests cannot do fails the test"
)]
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
