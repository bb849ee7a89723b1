//! The scenario file: what the model says, to whom, and how it misbehaves.

use std::{collections::BTreeSet, fs, path::Path, path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

/// The longest wait that a scenario may ask for: past it a test hangs instead of failing.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Why a scenario was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read.
    #[error("cannot read scenario `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is not the TOML of a scenario.
    #[error("scenario is not valid")]
    Toml(#[source] Box<toml::de::Error>),
    /// It is not the JSON of a scenario.
    #[error("scenario is not valid")]
    Json(#[source] serde_json::Error),
    /// It can be read, but cannot be played.
    #[error("scenario cannot be played: {0}")]
    Unplayable(String),
}

/// A scenario: scripts, tried in order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What a request for a session's title is answered.
    #[serde(default = "Scenario::default_title")]
    pub title: String,
    /// Whether the bodies of all requests are kept for assertions.
    #[serde(default)]
    pub record_bodies: bool,
    /// The scripts. The first that matches a user message plays.
    pub scripts: Vec<Script>,
}

/// What is played to one kind of prompt.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Names the script in recordings and errors. Unique.
    pub name: String,
    /// One substring of the prompt, or several that must all be in it. Case matters.
    #[serde(rename = "match")]
    pub needles: Needles,
    /// Which user message of the conversation is the prompt.
    #[serde(default)]
    pub against: Against,
    /// One for each model call after the prompt.
    pub turns: Vec<Turn>,
    /// What a call past the last turn gets.
    #[serde(default)]
    pub past_end: PastEnd,
}

/// Substrings of a prompt.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Needles {
    /// The prompt contains this.
    One(String),
    /// The prompt contains each of these.
    All(Vec<String>),
}

/// Which user message a script looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The newest one that any script matches: later prompts of a resumed session play their own
    /// script, and messages that an agent puts in by itself are passed over.
    #[default]
    Nearest,
    /// Only the conversation's first.
    First,
    /// Only the conversation's last.
    Last,
}

/// What a call past the last turn gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PastEnd {
    /// HTTP 400, naming the script.
    #[default]
    Error,
    /// The last turn again, for ever: an agent that loops.
    RepeatLast,
}

/// One answer of the model. It has a text or a tool call, because agents drop an empty answer from
/// the conversation, from which the place in the script is counted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Text, with placeholders.
    #[serde(default)]
    pub text: Option<String>,
    /// Reasoning (`reasoning_content`), with placeholders.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// Tool calls, made at once.
    #[serde(default)]
    pub tools: Vec<ToolCall>,
    /// The finish reason. Without it: `tool_calls` if there are tools, else `stop`.
    #[serde(default)]
    pub finish: Option<String>,
    /// What the answer reports as used. Without it nothing is reported.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// Wait before the first byte of the answer, and of each fault.
    #[serde(default)]
    pub delay_ms: u64,
    /// Wait before each further piece of a streamed answer.
    #[serde(default)]
    pub pace_ms: u64,
    /// What goes wrong first, in this order; when all are used up, the answer follows.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// A call of one of the agent's tools.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The tool, by the name that the agent offers.
    pub name: String,
    /// Arguments; every string in them may have placeholders.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Sent as the arguments instead, byte for byte: for arguments that are not JSON.
    #[serde(default)]
    pub raw_arguments: Option<String>,
}

/// Tokens, counted as the API does: `prompt` includes `cached`, `completion` includes `reasoning`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// All tokens of the request.
    #[serde(default)]
    pub prompt: u64,
    /// Those of them that came from a cache.
    #[serde(default)]
    pub cached: u64,
    /// All tokens of the answer.
    #[serde(default)]
    pub completion: u64,
    /// Those of them that were reasoning.
    #[serde(default)]
    pub reasoning: u64,
}

/// Something that goes wrong instead of the answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// An HTTP error.
    Status {
        /// 400 to 599.
        status: u16,
        /// `retry-after`, in seconds.
        #[serde(default)]
        retry_after_s: Option<u64>,
        /// `retry-after-ms`, which some clients read first.
        #[serde(default)]
        retry_after_ms: Option<u64>,
        /// The error's message.
        #[serde(default)]
        message: Option<String>,
        /// The error's code, such as `context_length_exceeded`.
        #[serde(default)]
        code: Option<String>,
        /// How often.
        #[serde(default)]
        times: Times,
    },
    /// The connection is closed without a byte of an answer.
    DropBefore {
        /// How often.
        #[serde(default)]
        times: Times,
    },
    /// The connection is closed in the middle of the answer.
    DropMidStream {
        /// How often.
        #[serde(default)]
        times: Times,
    },
    /// A piece of the answer is not JSON.
    Malformed {
        /// How often.
        #[serde(default)]
        times: Times,
    },
    /// The stream ends properly, but without a finish reason. An agent may take what came for an
    /// answer, and then asks for the next turn.
    Unfinished {
        /// How often.
        #[serde(default)]
        times: Times,
    },
}

/// How often a fault strikes in one conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Times {
    /// That often.
    Count(u32),
    /// `"always"`.
    Word(Always),
}

/// The word `always`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Always {
    /// Never stops.
    Always,
}

impl Default for Times {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl Fault {
    /// How often it strikes; `None` is always.
    pub(super) fn limit(&self) -> Option<u32> {
        match self {
            Self::Status { times, .. }
            | Self::DropBefore { times }
            | Self::DropMidStream { times }
            | Self::Malformed { times }
            | Self::Unfinished { times } => match times {
                Times::Count(count) => Some(*count),
                Times::Word(Always::Always) => None,
            },
        }
    }
}

impl Needles {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(needle) => std::slice::from_ref(needle),
            Self::All(needles) => needles,
        }
    }

    /// Whether `prompt` contains them all.
    pub(super) fn are_in(&self, prompt: &str) -> bool {
        self.as_slice()
            .iter()
            .all(|needle| prompt.contains(needle.as_str()))
    }
}

impl std::fmt::Display for Needles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, needle) in self.as_slice().iter().enumerate() {
            let joint = if index == 0 { "" } else { " and " };
            write!(f, "{joint}{needle:?}")?;
        }
        Ok(())
    }
}

impl Turn {
    /// The fault that strikes the call number `calls` (from 0) of this turn, if one still does.
    pub(super) fn fault_at(&self, calls: u32) -> Option<&Fault> {
        let mut before = 0_u32;
        self.faults.iter().find(|fault| match fault.limit() {
            None => true,
            Some(limit) => {
                before = before.saturating_add(limit);
                calls < before
            }
        })
    }

    fn never_answers(&self) -> bool {
        self.faults.iter().any(|fault| fault.limit().is_none())
    }
}

impl Scenario {
    fn default_title() -> String {
        "Scripted session".to_owned()
    }

    /// Reads a scenario from TOML.
    ///
    /// # Errors
    /// Names the field that is unknown, missing or out of range.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        toml::from_str::<Self>(text)
            .map_err(|source| ScenarioError::Toml(Box::new(source)))?
            .checked()
    }

    /// Reads a scenario from JSON.
    ///
    /// # Errors
    /// As [`Scenario::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, ScenarioError> {
        serde_json::from_str::<Self>(text)
            .map_err(ScenarioError::Json)?
            .checked()
    }

    /// Reads a scenario file: JSON if it ends in `.json`, else TOML.
    ///
    /// # Errors
    /// As [`Scenario::from_toml`], or if the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        if path.extension().is_some_and(|ending| ending == "json") {
            Self::from_json(&text)
        } else {
            Self::from_toml(&text)
        }
    }

    /// Refuses what could only fail later, in the middle of a conversation.
    ///
    /// # Errors
    /// [`ScenarioError::Unplayable`], naming script and turn.
    pub fn checked(self) -> Result<Self, ScenarioError> {
        let mut names = BTreeSet::new();
        for script in &self.scripts {
            if !names.insert(script.name.as_str()) {
                return Err(unplayable(script, None, "another script has this name"));
            }
            check_script(script)?;
        }
        Ok(self)
    }
}

fn check_script(script: &Script) -> Result<(), ScenarioError> {
    if script.name.is_empty() {
        return Err(unplayable(script, None, "`name` is empty"));
    }
    let needles = script.needles.as_slice();
    if needles.is_empty() || needles.iter().any(String::is_empty) {
        return Err(unplayable(script, None, "`match` is empty"));
    }
    if script.turns.is_empty() {
        return Err(unplayable(script, None, "`turns` is empty"));
    }
    for (index, turn) in script.turns.iter().enumerate() {
        check_turn(turn).map_err(|problem| unplayable(script, Some(index), problem))?;
    }
    Ok(())
}

fn check_turn(turn: &Turn) -> Result<(), &'static str> {
    let says_text = turn.text.as_deref().is_some_and(|text| !text.is_empty());
    if !says_text && turn.tools.is_empty() && !turn.never_answers() {
        return Err("has neither `text` nor `tools`, nor a fault with `times = \"always\"`");
    }
    if turn.tools.iter().any(|tool| tool.name.is_empty()) {
        return Err("a tool's `name` is empty");
    }
    if turn
        .tools
        .iter()
        .any(|tool| tool.raw_arguments.is_some() && !tool.arguments.is_empty())
    {
        return Err("a tool has both `arguments` and `raw_arguments`");
    }
    if turn.usage.is_some_and(|used| used.cached > used.prompt) {
        return Err("`usage.cached` is part of `usage.prompt` and cannot be greater");
    }
    if turn
        .usage
        .is_some_and(|used| used.reasoning > used.completion)
    {
        return Err("`usage.reasoning` is part of `usage.completion` and cannot be greater");
    }
    if Duration::from_millis(turn.delay_ms.max(turn.pace_ms)) > WAIT_MAX {
        return Err("`delay_ms` or `pace_ms` is more than an hour");
    }
    for fault in &turn.faults {
        if let Fault::Status { status, .. } = fault
            && !(400..=599).contains(status)
        {
            return Err("`status` is not between 400 and 599");
        }
    }
    Ok(())
}

fn unplayable(script: &Script, turn: Option<usize>, problem: &str) -> ScenarioError {
    let place = turn.map_or_else(String::new, |index| format!(" turn {index}"));
    ScenarioError::Unplayable(format!("script \"{}\"{place}: {problem}", script.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(toml: &str) -> String {
        let error = Scenario::from_toml(toml).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error} {}", source.unwrap_or_default())
    }

    #[test]
    fn unknown_fields_are_refused_at_every_level() {
        let turn = "[[scripts]]\nname='a'\nmatch='x'\n[[scripts.turns]]\ntext='t'\n";
        assert!(Scenario::from_toml(turn).is_ok());
        for extra in [
            "txt='t'",
            "usage={promt=1}",
            "faults=[{kind='status',status=429,retry=1}]",
            "faults=[{kind='drop-before',at='x'}]",
            "faults=[{kind='explode'}]",
            "tools=[{name='x',args={}}]",
        ] {
            let text = problem(&format!("{turn}{extra}\n"));
            assert!(text.contains("unknown"), "{extra}: {text}");
        }
    }

    #[test]
    fn what_cannot_be_played_names_its_script_and_turn() {
        let head = "[[scripts]]\nname='a'\nmatch='x'\n";
        for (rest, expected) in [
            ("turns=[{}]", "script \"a\" turn 0: has neither"),
            ("turns=[]", "`turns` is empty"),
            (
                "turns=[{text='x'},{text='x',usage={prompt=1,cached=2}}]",
                "turn 1: `usage.cached`",
            ),
            (
                "turns=[{text='x',faults=[{kind='status',status=200}]}]",
                "`status` is not between",
            ),
            ("turns=[{text='x',delay_ms=3600001}]", "more than an hour"),
        ] {
            let text = problem(&format!("{head}{rest}"));
            assert!(text.contains(expected), "{rest}: {text}");
        }
        assert!(problem("[[scripts]]\nname='a'\nmatch=[]\nturns=[{text='t'}]").contains("`match`"));
    }

    #[test]
    fn faults_strike_in_order_and_then_no_more() {
        let scenario = Scenario::from_json(
            r#"{"scripts":[{"name":"a","match":["x"],"turns":[{"text":"t","faults":[
                {"kind":"status","status":429,"times":2},{"kind":"drop-before"}]}]}]}"#,
        )
        .unwrap();
        let turn = &scenario.scripts[0].turns[0];
        assert!(matches!(
            turn.fault_at(0),
            Some(Fault::Status { status: 429, .. })
        ));
        assert!(matches!(turn.fault_at(1), Some(Fault::Status { .. })));
        assert!(matches!(turn.fault_at(2), Some(Fault::DropBefore { .. })));
        assert!(turn.fault_at(3).is_none());
    }
}
