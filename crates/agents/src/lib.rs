//! Drivers: how each kind of coding agent is started, and what its output means.
//!
//! `command` drives any program; `opencode` drives `opencode run --format json`. Nothing here
//! starts a process. A driver reads configuration and writes to the session's folder alone.

mod assets;
mod command;
mod environment;
mod layout;
mod opencode;
mod prompt;
mod providers;
mod registry;
mod template;

pub use assets::{CODER_AGENT, opencode_commands};
pub use command::CommandDriver;
pub use layout::{layout_command, read_agent_config};
pub use opencode::{AgentOrigin, OpencodeDriver, Outlook, is_known_agent, known_agents, outlook};
pub use registry::{Registry, Unlisted};

/// The longest prefix of a text that has at most `max` bytes and ends between characters.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
