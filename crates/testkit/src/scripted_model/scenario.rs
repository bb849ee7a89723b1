//! The scenario file: what the model says, to whom, and how it misbehaves.

use serde::Deserialize;
use serde_json::{Map, Value};

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
    /// One or all of them.
    pub(super) fn as_slice(&self) -> &[String] {
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

    /// Whether a fault strikes for ever, so that the answer is never reached.
    pub(super) fn never_answers(&self) -> bool {
        self.faults.iter().any(|fault| fault.limit().is_none())
    }
}

impl Scenario {
    fn default_title() -> String {
        "Scripted session".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
