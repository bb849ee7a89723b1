//! Everything that needs a running server, and what real `OpenCode` makes of it.

#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod binary;
mod http;
mod opencode;
mod server;
