//! Agents: their names, and what the configuration says about them.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// The name of an agent: 1 to 64 characters `[A-Za-z0-9._-]`, not starting with `-` or `.`.
///
/// It can therefore stand in a path or a command line as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(String);

/// A text that cannot name an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an agent's name is 1 to 64 characters of A-Z a-z 0-9 . _ - and starts with neither - nor ."
)]
pub struct InvalidAgentName;

impl AgentName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = InvalidAgentName;

    fn from_str(text: &str) -> Result<Self, InvalidAgentName> {
        let plain = (1..=64).contains(&text.len())
            && !text.starts_with(['-', '.'])
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if plain {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAgentName)
        }
    }
}

impl TryFrom<String> for AgentName {
    type Error = InvalidAgentName;

    fn try_from(text: String) -> Result<Self, InvalidAgentName> {
        text.parse()
    }
}

impl From<AgentName> for String {
    fn from(name: AgentName) -> Self {
        name.0
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an agent is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverKind {
    /// Any program: a command line, judged by its exit code or by sentinel files.
    Command,
    /// `opencode run --format json`: a stream of JSON events.
    Opencode,
}

/// How the prompt reaches a `command` agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptBy {
    /// In place of `{prompt}` in the arguments, or as the last argument.
    Argv,
    /// On standard input, which is then closed.
    Stdin,
    /// In a private file, whose path takes the place of `{promptFile}` or is the last argument.
    File,
    /// In the task's plan file alone.
    Plan,
}

/// What an agent must do for its task to count as finished (the gates come after that).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompletionRule {
    /// Exit with code 0.
    ExitCode,
    /// Create its `.done` file, whatever the exit code.
    Sentinel,
    /// Either of the two.
    Either,
    /// What its own protocol reports.
    Protocol,
}

impl CompletionRule {
    /// Whether the prompt must tell the agent its task id and sentinel paths.
    #[must_use]
    pub fn uses_sentinels(self) -> bool {
        matches!(self, Self::Sentinel | Self::Either)
    }
}

/// How requests for permission are answered while nobody watches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PermissionMode {
    /// Granted, unless on the deny list.
    #[default]
    Auto,
    /// Refused, which ends the session as `permission_denied`.
    Reject,
}

/// What of the user's own agent configuration a session sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// All of it, read-only.
    #[default]
    Shared,
    /// None of it: home and XDG directories lie in the session's folder.
    Full,
}

/// One `[agents.NAME]` table. An unknown key is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// How it is driven.
    pub driver: DriverKind,
    /// The program; needed by `command`, and `opencode` by default for the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Arguments with placeholders ([`PLACEHOLDERS`]); for `opencode` they follow its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// How the prompt is passed; `argv` by default, and always standard input for `opencode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptBy>,
    /// When the work counts as finished: `exit-code` by default, `protocol` for `opencode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<CompletionRule>,
    /// Names of variables that are passed on from the user's environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Variables with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_set: BTreeMap<String, String>,
    /// Seconds until the agent is ended, where the task does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Working directory inside the workspace; its root by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The model, `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The name that `OpenCode` knows the agent by, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How requests for permission are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionMode>,
    /// Permissions that are always refused: `webfetch`, or `bash:git push*` for a pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Whether the user's own agent configuration is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Prompt template, used where the completion rule needs sentinels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_template: Option<String>,
    /// The same in a file, relative to the project; wins over `prompt_template`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_template_file: Option<PathBuf>,
    /// For people, and for routing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it can do, for routing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// How many of it may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
}

/// The names that are replaced in arguments, written in braces.
pub const PLACEHOLDERS: &[&str] = &[
    "prompt",
    "promptFile",
    "taskId",
    "agent",
    "planFile",
    "logFile",
];

/// A key of an agent's table whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("agents.{agent}.{key}: {problem}")]
pub struct InvalidAgentConfig {
    /// The agent.
    pub agent: String,
    /// The key.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl AgentConfig {
    /// The configuration of an agent that nobody configured: `OpenCode` with that agent.
    #[must_use]
    pub fn opencode() -> Self {
        Self::of(DriverKind::Opencode)
    }

    /// An agent that is a program with arguments.
    #[must_use]
    pub fn command(program: impl Into<String>, args: Vec<String>) -> Self {
        Self {
            command: Some(program.into()),
            args,
            ..Self::of(DriverKind::Command)
        }
    }

    fn of(driver: DriverKind) -> Self {
        Self {
            driver,
            command: None,
            args: Vec::new(),
            prompt: None,
            completion: None,
            env: Vec::new(),
            env_set: BTreeMap::new(),
            timeout: None,
            directory: None,
            model: None,
            agent: None,
            permission: None,
            deny: Vec::new(),
            isolation: None,
            prompt_template: None,
            prompt_template_file: None,
            description: None,
            capabilities: Vec::new(),
            max_concurrent: None,
        }
    }

    /// The completion rule in force.
    #[must_use]
    pub fn completion_rule(&self) -> CompletionRule {
        self.completion.unwrap_or(match self.driver {
            DriverKind::Command => CompletionRule::ExitCode,
            DriverKind::Opencode => CompletionRule::Protocol,
        })
    }

    /// The way the prompt takes.
    #[must_use]
    pub fn prompt_by(&self) -> PromptBy {
        match self.driver {
            DriverKind::Command => self.prompt.unwrap_or(PromptBy::Argv),
            DriverKind::Opencode => PromptBy::Stdin,
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first key that cannot be used, and why.
    pub fn validate(&self, agent: &str) -> Result<(), InvalidAgentConfig> {
        match self.problems().next() {
            None => Ok(()),
            Some((key, problem)) => Err(InvalidAgentConfig {
                agent: agent.to_owned(),
                key,
                problem,
            }),
        }
    }

    fn problems(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        self.driver_problem()
            .into_iter()
            .chain(self.args_problem())
            .chain(self.limits_problem())
            .chain(self.env_problem())
            .chain(self.directory_problem())
    }

    fn driver_problem(&self) -> Option<(&'static str, String)> {
        let only_opencode = || "only the driver `opencode` has this key".to_owned();
        if self.command.as_ref().is_some_and(String::is_empty) {
            return Some(("command", "it is empty".to_owned()));
        }
        match self.driver {
            DriverKind::Command => [
                ("model", self.model.is_some()),
                ("agent", self.agent.is_some()),
                ("permission", self.permission.is_some()),
                ("deny", !self.deny.is_empty()),
                ("isolation", self.isolation.is_some()),
            ]
            .into_iter()
            .find_map(|(key, is_set)| is_set.then(|| (key, only_opencode())))
            .or_else(|| {
                self.command
                    .is_none()
                    .then(|| ("command", "the driver `command` needs a program".to_owned()))
            })
            .or_else(|| {
                (self.completion == Some(CompletionRule::Protocol)).then(|| {
                    let problem =
                        "the driver `command` has no protocol; use exit-code, sentinel or either";
                    ("completion", problem.to_owned())
                })
            }),
            DriverKind::Opencode => match self.prompt {
                Some(PromptBy::Argv | PromptBy::File | PromptBy::Plan) => {
                    let problem = "the driver `opencode` gets its prompt on standard input";
                    Some(("prompt", problem.to_owned()))
                }
                Some(PromptBy::Stdin) | None => None,
            },
        }
    }

    fn args_problem(&self) -> Option<(&'static str, String)> {
        let mut found = self.args.iter().flat_map(|arg| placeholders(arg));
        found.find_map(|name| {
            if !PLACEHOLDERS.contains(&name) {
                let known = PLACEHOLDERS.join("} {");
                let problem = format!("unknown placeholder {{{name}}}; there are {{{known}}}");
                return Some(("args", problem));
            }
            let wrong_way = match name {
                "prompt" => self.prompt_by() != PromptBy::Argv,
                "promptFile" => self.prompt_by() != PromptBy::File,
                _ => false,
            };
            wrong_way.then(|| ("args", format!("{{{name}}} does not go with this `prompt`")))
        })
    }

    fn limits_problem(&self) -> Option<(&'static str, String)> {
        if self.timeout == Some(0) {
            return Some(("timeout", "it is at least 1 second".to_owned()));
        }
        (self.max_concurrent == Some(0)).then(|| ("max_concurrent", "it is at least 1".to_owned()))
    }

    fn env_problem(&self) -> Option<(&'static str, String)> {
        let bad = |name: &String| name.is_empty() || name.contains(['=', '\0']);
        if let Some(name) = self.env.iter().find(|name| bad(name)) {
            return Some((
                "env",
                format!("`{}` names no variable", name.escape_debug()),
            ));
        }
        self.env_set
            .iter()
            .find(|(name, value)| bad(name) || value.contains('\0'))
            .map(|(name, _)| {
                (
                    "env_set",
                    format!("`{}` cannot be set", name.escape_debug()),
                )
            })
    }

    fn directory_problem(&self) -> Option<(&'static str, String)> {
        let directory = self.directory.as_ref()?;
        let inside = directory.components().all(|part| {
            matches!(
                part,
                std::path::Component::Normal(_) | std::path::Component::CurDir
            )
        });
        (!inside).then(|| ("directory", "it is a path inside the workspace".to_owned()))
    }
}

/// The `{names}` of an argument. Braces around anything but a name are text.
fn placeholders(arg: &str) -> impl Iterator<Item = &str> {
    arg.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic());
        is_name.then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_in_a_path() {
        for good in ["a", "coder", "gpt-5.1_x", "A1", &"x".repeat(64)] {
            assert!(good.parse::<AgentName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            ".x",
            "..",
            "a/b",
            "../x y",
            "a b",
            "a\n",
            "é",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<AgentName>().is_err(), "{bad:?}");
        }
    }

    fn first_problem(config: &AgentConfig) -> Option<&'static str> {
        config.validate("x").err().map(|invalid| invalid.key)
    }

    #[test]
    fn a_table_that_cannot_work_is_refused_by_key() {
        let command = AgentConfig::command("sh", vec!["{prompt}".to_owned()]);
        assert_eq!(first_problem(&command), None);
        assert_eq!(first_problem(&AgentConfig::opencode()), None);
        let cases = [
            (
                AgentConfig {
                    command: None,
                    ..command.clone()
                },
                "command",
            ),
            (
                AgentConfig {
                    args: vec!["{propmt}".to_owned()],
                    ..command.clone()
                },
                "args",
            ),
            (
                AgentConfig {
                    prompt: Some(PromptBy::Stdin),
                    ..command.clone()
                },
                "args",
            ),
            (
                AgentConfig {
                    timeout: Some(0),
                    ..command.clone()
                },
                "timeout",
            ),
            (
                AgentConfig {
                    max_concurrent: Some(0),
                    ..command.clone()
                },
                "max_concurrent",
            ),
            (
                AgentConfig {
                    model: Some("m".to_owned()),
                    ..command.clone()
                },
                "model",
            ),
            (
                AgentConfig {
                    completion: Some(CompletionRule::Protocol),
                    ..command.clone()
                },
                "completion",
            ),
            (
                AgentConfig {
                    env: vec!["A=B".to_owned()],
                    ..command.clone()
                },
                "env",
            ),
            (
                AgentConfig {
                    directory: Some("../x".into()),
                    ..command.clone()
                },
                "directory",
            ),
            (
                AgentConfig {
                    directory: Some("/x".into()),
                    ..command.clone()
                },
                "directory",
            ),
            (
                AgentConfig {
                    prompt: Some(PromptBy::Argv),
                    ..AgentConfig::opencode()
                },
                "prompt",
            ),
        ];
        for (config, key) in cases {
            assert_eq!(first_problem(&config), Some(key));
        }
    }

    #[test]
    fn shell_and_json_braces_are_text() {
        let script = "x={}; echo ${HOME} {\"a\":1} { echo; } {a-b}".replace("${HOME}", "$HOME");
        assert_eq!(
            first_problem(&AgentConfig::command("sh", vec![script])),
            None
        );
    }
}
