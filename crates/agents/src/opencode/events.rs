//! The events of `opencode run --format json`, and the verdict over a whole run.
//!
//! Exit codes lie both ways: a refused permission ends a run with 0, and a conversation that was
//! compacted and then finished ends with 1. The last step's reason, the errors and the refusals
//! decide.

use std::collections::BTreeMap;

use app::ports::agents::{
    EntryBody, FileChange, OutputParser, PlanItem, ProtocolReport, Stream, TranscriptEntry,
};
use domain::{
    completion::{ProtocolVerdict, signal_name},
    failure::{Failure, FailureReason},
    process::Exit,
    usage::{Usage, micro_usd},
};
use serde::Deserialize;
use serde_json::Value;

use super::failure::{self, AgentError, one_line};
use crate::cut;

/// What a tool's answer is cut to in the transcript; the agent's own line keeps all of it.
const OUTPUT_MAX: usize = 16 * 1024;

/// What the last words are cut to.
const LAST_TEXT_MAX: usize = 4 * 1024;

/// How much of standard error is remembered for a failure's details.
const STDERR_MAX: usize = 8 * 1024;

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    StepStart {},
    Text {
        part: TextPart,
    },
    Reasoning {
        part: TextPart,
    },
    ToolUse {
        part: Box<ToolPart>,
    },
    StepFinish {
        part: StepFinish,
    },
    Error {
        error: AgentError,
    },
    Done {
        #[serde(default)]
        rejected: Value,
    },
}

#[derive(Debug, Deserialize)]
struct TextPart {
    text: String,
    #[serde(default)]
    synthetic: bool,
    #[serde(default)]
    metadata: Value,
}

#[derive(Debug, Deserialize)]
struct ToolPart {
    tool: String,
    #[serde(default, rename = "callID")]
    call: String,
    state: ToolState,
}

#[derive(Debug, Deserialize)]
struct ToolState {
    status: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: String,
    #[serde(default)]
    metadata: Value,
}

#[derive(Debug, Deserialize)]
struct StepFinish {
    reason: String,
    #[serde(default)]
    tokens: Tokens,
    #[serde(default)]
    cost: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input: u64,
    output: u64,
    reasoning: u64,
    cache: CacheTokens,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CacheTokens {
    read: u64,
    write: u64,
}

/// The conversation's id stands on every line.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "sessionID")]
    session: Option<String>,
}

/// The parser's memory of a run.
#[derive(Debug, Default)]
pub(super) struct Events {
    turn: u32,
    usage: Usage,
    agent_session: Option<String>,
    tool_calls: u64,
    files: BTreeMap<String, FileChange>,
    last_text: Option<String>,
    /// The reason of the last step, since the last error.
    last_reason: Option<String>,
    /// The last error, until the conversation has recovered from it.
    error: Option<AgentError>,
    /// The conversation was compacted and went on, after the last error.
    has_resumed: bool,
    /// An overflow was survived that way, which leaves exit code 1 behind.
    has_recovered: bool,
    /// What was refused, in `OpenCode`'s words.
    refused: Option<String>,
    asked_in_a_loop: bool,
    must_stop: Option<Failure>,
    /// What the log says about an error that hides its cause.
    logged_error: Option<String>,
    stderr: String,
}

impl OutputParser for Events {
    fn line(&mut self, stream: Stream, line: &[u8]) -> Vec<TranscriptEntry> {
        let text = String::from_utf8_lossy(line);
        let bodies = match stream {
            Stream::Stdout => self.event(&text),
            Stream::Stderr => self.talk(&text),
        };
        let mut raw = Some(text.into_owned());
        let turn = self.turn;
        let entry = |body| TranscriptEntry {
            turn,
            body,
            raw: raw.take(),
        };
        if bodies.is_empty() {
            return vec![TranscriptEntry {
                turn,
                body: EntryBody::Raw { stream },
                raw,
            }];
        }
        bodies.into_iter().map(entry).collect()
    }

    fn must_stop(&self) -> Option<&Failure> {
        self.must_stop.as_ref()
    }

    fn finish(&mut self, exit: Option<Exit>) -> ProtocolReport {
        let verdict = match self.failure(exit) {
            None => ProtocolVerdict::Finished,
            Some(failure) => ProtocolVerdict::Failed(failure),
        };
        ProtocolReport {
            verdict: Some(verdict),
            usage: self.usage,
            agent_session: self.agent_session.clone(),
            tool_calls: self.tool_calls,
            files: self.files.clone(),
            last_text: self.last_text.clone(),
        }
    }
}

impl Events {
    /// A line of standard output: the entries it gives rise to, none if it is not understood.
    fn event(&mut self, text: &str) -> Vec<EntryBody> {
        let Ok(event) = serde_json::from_str::<Event>(text) else {
            return Vec::new();
        };
        if let Ok(Envelope {
            session: Some(session),
        }) = serde_json::from_str(text)
        {
            self.agent_session.get_or_insert(session);
        }
        match event {
            Event::StepStart {} => {
                self.turn += 1;
                self.last_reason = None;
                Vec::new()
            }
            Event::Text { part } => self.says(part),
            Event::Reasoning { part } => vec![EntryBody::Thought { text: part.text }],
            Event::ToolUse { part } => self.tool(*part),
            Event::StepFinish { part } => self.step_finished(&part),
            Event::Error { error } => self.failed(error),
            Event::Done { rejected } => {
                if rejected
                    .as_array()
                    .is_some_and(|refused| !refused.is_empty())
                {
                    self.refused.get_or_insert_with(|| rejected.to_string());
                }
                Vec::new()
            }
        }
    }

    fn says(&mut self, part: TextPart) -> Vec<EntryBody> {
        if part.synthetic {
            let continues = part.metadata.get("compaction_continue") == Some(&Value::Bool(true));
            self.has_resumed |= continues;
            self.last_reason = None;
            return Vec::new();
        }
        self.last_text = Some(cut(&part.text, LAST_TEXT_MAX).to_owned());
        vec![EntryBody::Message { text: part.text }]
    }

    fn tool(&mut self, part: ToolPart) -> Vec<EntryBody> {
        let ToolPart { tool, call, state } = part;
        let ok = state.status == "completed" && tool != "invalid";
        if ok {
            self.tool_calls += 1;
        } else if state.error.contains("rejected permission") {
            self.refused
                .get_or_insert_with(|| format!("{tool}: {}", state.error));
        }
        let output = match &state.output {
            Value::String(text) => text.clone(),
            Value::Null => state.error.clone(),
            other => other.to_string(),
        };
        let changed = if ok {
            changes(&tool, &state)
        } else {
            Vec::new()
        };
        let plan = (ok && tool == "todowrite").then(|| plan(&state.input));
        let output = cut(&output, OUTPUT_MAX).to_owned();
        let mut bodies = vec![
            EntryBody::ToolCall {
                call: call.clone(),
                tool: tool.clone(),
                input: state.input,
            },
            EntryBody::ToolResult {
                call,
                tool,
                ok,
                output,
            },
        ];
        for (path, change) in changed {
            self.files.insert(path.clone(), change);
            bodies.push(EntryBody::FileChange { path, change });
        }
        bodies.extend(plan.map(|items| EntryBody::Plan { items }));
        bodies
    }

    fn step_finished(&mut self, part: &StepFinish) -> Vec<EntryBody> {
        let step = Usage {
            input: part.tokens.input,
            output: part.tokens.output,
            reasoning: part.tokens.reasoning,
            cache_read: part.tokens.cache.read,
            cache_write: part.tokens.cache.write,
            cost_micro_usd: micro_usd(part.cost),
        };
        self.usage += step;
        self.last_reason = Some(part.reason.clone());
        if self.has_resumed && self.error.take_if(|error| error.is_overflow()).is_some() {
            self.has_recovered = true;
        }
        vec![EntryBody::Usage(step)]
    }

    fn failed(&mut self, error: AgentError) -> Vec<EntryBody> {
        let body = EntryBody::Error {
            name: error.name.clone(),
            message: error.data.message.clone(),
        };
        self.has_resumed = false;
        self.last_reason = None;
        self.error = Some(error);
        vec![body]
    }

    /// A line of standard error.
    fn talk(&mut self, text: &str) -> Vec<EntryBody> {
        let text = without_colour(text);
        if self.stderr.len() < STDERR_MAX {
            self.stderr
                .push_str(cut(&text, STDERR_MAX - self.stderr.len()));
            self.stderr.push('\n');
        }
        let talk = text.trim();
        if talk.contains("level=ERROR") {
            let hidden = quoted(talk, " error=\"").filter(|_| talk.contains("message=failed"));
            self.logged_error = hidden.or(self.logged_error.take());
            return Vec::new();
        }
        if talk.ends_with("Falling back to default agent") {
            let said = talk.trim_start_matches(['!', ' ']);
            let what = said.split(". Falling back").next().unwrap_or(said);
            let message = format!("OpenCode: {what}");
            self.must_stop = Some(Failure::new(FailureReason::MissingConfig, message));
            return Vec::new();
        }
        let Some(asked) = talk.split("permission requested: ").nth(1) else {
            return Vec::new();
        };
        let (what, answer) = asked.rsplit_once("; ").unwrap_or((asked, ""));
        let (permission, pattern) = what.split_once(" (").unwrap_or((what, ""));
        let granted = !answer.contains("reject");
        if !granted {
            self.asked_in_a_loop |= permission == "doom_loop";
            self.refused = Some(what.to_owned());
        }
        vec![EntryBody::Permission {
            permission: permission.to_owned(),
            pattern: pattern.trim_end_matches(')').to_owned(),
            granted,
        }]
    }

    /// What speaks against success, the strongest first.
    fn failure(&self, exit: Option<Exit>) -> Option<Failure> {
        if let Some(failure) = &self.must_stop {
            return Some(failure.clone());
        }
        if self.asked_in_a_loop {
            return Some(looped());
        }
        if let Some(error) = &self.error {
            return Some(self.of_error(error));
        }
        if let Some(refused) = &self.refused {
            let message = format!("a permission was refused: {}", one_line(refused));
            return Some(Failure::new(FailureReason::PermissionDenied, message));
        }
        self.of_end(exit)
    }

    fn of_error(&self, error: &AgentError) -> Failure {
        let failure = error.failure(self.logged_error.as_deref());
        if failure.reason == FailureReason::LoopDetected {
            return looped();
        }
        match &self.refused {
            Some(refused) if failure.reason == FailureReason::PermissionDenied => {
                failure.with_details(refused.clone())
            }
            _ => failure,
        }
    }

    /// There was neither error nor refusal: how did the last step and the process end?
    fn of_end(&self, exit: Option<Exit>) -> Option<Failure> {
        if let Some(Exit::Signal(signal)) = exit {
            let message = format!("Process was ended by {}", signal_name(signal));
            return Some(Failure::new(FailureReason::ProcessKilled, message));
        }
        let failed = |reason, message: &str| Some(Failure::new(reason, message));
        match (self.last_reason.as_deref(), exit) {
            (Some("stop"), Some(Exit::Code(0))) => None,
            (Some("stop"), Some(Exit::Code(1))) if self.has_recovered => None,
            (Some("length"), _) => failed(
                FailureReason::OutputLimit,
                "the model stopped at its output limit",
            ),
            (Some("content-filter"), _) => failed(
                FailureReason::ApiInvalidRequest,
                "the provider's content filter stopped it",
            ),
            (_, Some(Exit::Code(code))) if code != 0 => Some(self.of_code(code)),
            (Some("tool-calls"), _) => failed(
                FailureReason::NoCompletion,
                "the agent stopped after a tool call",
            ),
            (Some(reason), _) if reason != "stop" => Some(Failure::new(
                FailureReason::UnparseableOutput,
                format!("the last step ended with `{}`", one_line(reason)),
            )),
            (None, _) if self.turn == 0 => failed(
                FailureReason::UnparseableOutput,
                "OpenCode reported nothing",
            ),
            _ => failed(
                FailureReason::NoCompletion,
                "OpenCode ended in the middle of a step",
            ),
        }
    }

    fn of_code(&self, code: i32) -> Failure {
        failure::of_start(&self.stderr).unwrap_or_else(|| {
            let message = format!("Process exited with code {code}");
            let failure = Failure::new(FailureReason::ProcessFailure, message);
            let talk = self.stderr.trim();
            if talk.is_empty() {
                failure
            } else {
                failure.with_details(talk)
            }
        })
    }
}

fn looped() -> Failure {
    Failure::new(
        FailureReason::LoopDetected,
        "the agent made the same tool call over and over",
    )
}

/// Files that a tool of `OpenCode`'s own has changed.
fn changes(tool: &str, state: &ToolState) -> Vec<(String, FileChange)> {
    let text = |value: &Value, key: &str| value.get(key)?.as_str().map(str::to_owned);
    match tool {
        "write" | "edit" | "multiedit" => {
            let path = text(&state.input, "filePath").or_else(|| text(&state.metadata, "filepath"));
            let is_new =
                tool == "write" && state.metadata.get("exists") == Some(&Value::Bool(false));
            let change = if is_new {
                FileChange::Added
            } else {
                FileChange::Modified
            };
            path.map(|path| (path, change)).into_iter().collect()
        }
        "apply_patch" | "patch" => {
            let patch = text(&state.input, "patchText").unwrap_or_default();
            patch.lines().filter_map(patched).collect()
        }
        _ => Vec::new(),
    }
}

/// A heading of a patch: `*** Add File: path`.
fn patched(line: &str) -> Option<(String, FileChange)> {
    let heads = [
        ("*** Add File: ", FileChange::Added),
        ("*** Update File: ", FileChange::Modified),
        ("*** Delete File: ", FileChange::Deleted),
    ];
    heads
        .iter()
        .find_map(|(head, change)| Some((line.strip_prefix(head)?.trim().to_owned(), *change)))
}

fn plan(input: &Value) -> Vec<PlanItem> {
    let text = |item: &Value, key: &str| {
        item.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let items = input
        .get("todos")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items
        .map(|item| PlanItem {
            text: text(item, "content"),
            status: text(item, "status"),
        })
        .collect()
}

/// The text without terminal control sequences.
fn without_colour(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 2..];
        let end = tail
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or(tail.len(), |end| end + 1);
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

/// The value behind `key` up to the closing quote, escapes undone.
fn quoted(text: &str, key: &str) -> Option<String> {
    let value = text.split_once(key)?.1;
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(out),
            '\\' => out.push(match chars.next()? {
                'n' => '\n',
                other => other,
            }),
            other => out.push(other),
        }
    }
    Some(out)
}
