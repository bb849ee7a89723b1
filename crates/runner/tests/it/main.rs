//! Whole sessions over the real adapters, with small agents that behave well or badly.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "what helpers of tests cannot do fails the test"
)]

mod bench;
mod checkpoints;
mod completion;
mod ending;
mod loss;
mod output;
mod outside;
mod verifying;
