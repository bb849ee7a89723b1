//! `agent-config.json` of the Agent Orchestrator layout, read as it is.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use domain::agent::{AgentConfig, AgentName, CompletionRule, PromptBy};
use serde::Deserialize;

use crate::providers;

/// A file larger than this is not read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    agents: BTreeMap<String, Entry>,
}

/// Unknown keys are other tools' business.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    description: Option<String>,
    prompt_template_file: Option<PathBuf>,
    prompt_template: Option<String>,
    prompt: Option<PromptBy>,
    completion: Option<CompletionRule>,
}

/// The agents of a file.
///
/// # Errors
/// One sentence that names the file and what is wrong with it.
pub fn read_agent_config(path: &Path) -> Result<BTreeMap<AgentName, AgentConfig>, String> {
    let refuse = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let size = fs::metadata(path).map_err(|error| refuse(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refuse(&"it is larger than 4 MiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| refuse(&error))?;
    let text = text.trim_start_matches('\u{feff}');
    let file: File = serde_json::from_str(text).map_err(|error| refuse(&error))?;
    file.agents
        .into_iter()
        .map(|(name, entry)| {
            let name = name
                .parse()
                .map_err(|error| refuse(&format!("agents.{name}: {error}")))?;
            Ok((name, entry.into_config()))
        })
        .collect()
}

impl Entry {
    /// An agent whose arguments do not name the prompt has its plan file, and an empty standard
    /// input, unless `prompt` asks for more.
    fn into_config(self) -> AgentConfig {
        let names_it = self.args.iter().any(|arg| arg.contains("{prompt}"));
        let usual = if names_it {
            PromptBy::Argv
        } else {
            PromptBy::Plan
        };
        AgentConfig {
            prompt: Some(self.prompt.unwrap_or(usual)),
            description: self.description,
            prompt_template: self.prompt_template,
            prompt_template_file: self.prompt_template_file,
            completion: Some(self.completion.unwrap_or(CompletionRule::Sentinel)),
            env: providers::all_variables(),
            ..AgentConfig::command(self.command, self.args)
        }
    }
}

/// The agent behind a name that no file lists: `opencode run <prompt> --agent <name>`.
#[must_use]
pub fn layout_command() -> AgentConfig {
    let args = ["run", "{prompt}", "--agent", "{agent}"]
        .map(str::to_owned)
        .to_vec();
    AgentConfig {
        completion: Some(CompletionRule::Sentinel),
        env: providers::all_variables(),
        ..AgentConfig::command("opencode", args)
    }
}
