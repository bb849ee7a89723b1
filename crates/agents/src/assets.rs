//! What ships with the binary: the `coder` agent and the `/agent:*` commands for `OpenCode`.

/// The `coder` agent, an `OpenCode` agent definition.
pub const CODER_AGENT: &str = include_str!("../assets/coder.md");

/// The name of [`CODER_AGENT`].
pub(crate) const CODER: &str = "coder";

macro_rules! commands {
    ($($name:literal),*) => {
        [$((concat!("agent-", $name, ".md"), include_str!(concat!("../assets/command/agent-", $name, ".md")))),*]
    };
}

/// The eight commands, as file name and content, for a `.opencode/command/` folder.
#[must_use]
pub fn opencode_commands() -> [(&'static str, &'static str); 8] {
    commands![
        "start",
        "run",
        "run-parallel",
        "status",
        "retry",
        "cancel",
        "clean",
        "timeout"
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_a_definition_with_a_description() {
        let commands = opencode_commands();
        for (name, text) in commands.iter().chain([&("coder.md", CODER_AGENT)]) {
            let (head, body) = text
                .strip_prefix("---\n")
                .and_then(|text| text.split_once("\n---\n"))
                .unwrap();
            assert!(head.contains("description: "), "{name}");
            assert!(body.len() > 40 && text.ends_with('\n'), "{name}");
        }
        for (name, text) in commands {
            assert!(text.contains("crewboss "), "{name}");
        }
    }
}
