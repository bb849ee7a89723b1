//! What an agent did, for a person: its log, with every line of `OpenCode`'s protocol put in words.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use app::ports::agents::{EntryBody, FileChange, OutputParser, Stream, TranscriptEntry};
use domain::usage::Usage;
use serde_json::Value;

use super::{count, cut, symbols::Symbol, task_details::usage_text};
use crate::output::Output;

/// Characters of what a tool was called for.
const TARGET_CHARS: usize = 100;
/// Characters of what it answered.
const RESULT_CHARS: usize = 80;
/// Characters of a thought.
const THOUGHT_CHARS: usize = 300;
/// Steps whose costs are told one by one.
const COSTS_SHOWN: usize = 12;

/// Arguments of tools that say what they are called for, the most telling first.
const TARGETS: &[&str] = &[
    "filePath",
    "path",
    "command",
    "pattern",
    "url",
    "query",
    "description",
    "name",
    "prompt",
];

/// Turns a log into text, piece by piece.
#[derive(Debug)]
pub(crate) struct Transcript {
    out: Output,
    parser: Box<dyn OutputParser>,
    /// Paths below it are shown from there.
    workspace: Option<PathBuf>,
    /// A line whose end has not come.
    partial: Vec<u8>,
    /// Calls without an answer, by their ids.
    calls: HashMap<String, String>,
    /// What the last tool was called for.
    target: String,
    steps: Vec<Usage>,
}

impl Transcript {
    /// Of a session whose log this parser understands.
    pub(crate) fn new(
        out: &Output,
        parser: Box<dyn OutputParser>,
        workspace: Option<&Path>,
    ) -> Self {
        Self {
            out: out.clone(),
            parser,
            workspace: workspace.map(Path::to_owned),
            partial: Vec::new(),
            calls: HashMap::new(),
            target: String::new(),
            steps: Vec::new(),
        }
    }

    /// Where the agent works, once that is known.
    pub(crate) fn works_in(&mut self, workspace: &Path) {
        if self.workspace.as_deref() != Some(workspace) {
            self.workspace = Some(workspace.to_owned());
        }
    }

    /// The text of the lines that are whole by now.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> String {
        self.partial.extend_from_slice(bytes);
        let end = self.partial.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = end else {
            return String::new();
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        let mut text = String::new();
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            self.line(line.strip_suffix(b"\n").unwrap_or(line), &mut text);
        }
        text
    }

    /// What is left, and what all steps used.
    pub(crate) fn end(&mut self) -> String {
        let mut text = String::new();
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest, &mut text);
        }
        for call in std::mem::take(&mut self.calls).into_values() {
            push(&mut text, &format!("{call}: no answer"));
        }
        let steps = std::mem::take(&mut self.steps);
        if !steps.is_empty() {
            push(&mut text, &usage_of(&steps));
        }
        text
    }

    fn line(&mut self, line: &[u8], text: &mut String) {
        // The log holds more than the protocol: what the agent said on standard error, and what
        // Crewboss did before and after it.
        if !line.starts_with(b"{\"") {
            push(text, &String::from_utf8_lossy(line));
            return;
        }
        for TranscriptEntry { body, .. } in self.parser.line(Stream::Stdout, line) {
            self.entry(body, line, text);
        }
    }

    fn entry(&mut self, body: EntryBody, line: &[u8], text: &mut String) {
        match body {
            EntryBody::Message { text: said } => push(text, said.trim()),
            EntryBody::Thought { text: thought } => {
                push(text, &format!("(thinks) {}", cut(&thought, THOUGHT_CHARS)));
            }
            EntryBody::ToolCall { call, tool, input } => {
                self.target = self.target_of(&input);
                let named = [tool, self.target.clone()].join(" ");
                self.calls.insert(call, named.trim_end().to_owned());
            }
            EntryBody::ToolResult {
                call,
                tool,
                ok,
                output,
            } => {
                let called = self.calls.remove(&call).unwrap_or(tool);
                let symbol = if ok { Symbol::Check } else { Symbol::Failed };
                let sign = self
                    .out
                    .paint(symbol.color(), symbol.text(self.out.unicode));
                push(text, &format!("{sign} {called}{}", answer(&output)));
            }
            EntryBody::FileChange { path, change } => {
                let path = self.short(&path);
                if path != self.target {
                    push(text, &format!("  {} {path}", letter(change)));
                }
            }
            EntryBody::Plan { items } => {
                for item in items {
                    push(
                        text,
                        &format!("  [{}] {}", item.status, cut(&item.text, TARGET_CHARS)),
                    );
                }
            }
            EntryBody::Permission {
                permission,
                pattern,
                granted,
            } => {
                let word = if granted { "granted" } else { "refused" };
                push(
                    text,
                    &format!("permission {permission} ({pattern}): {word}"),
                );
            }
            EntryBody::Usage(step) => self.steps.push(step),
            EntryBody::Error { name, message } => {
                let symbol = Symbol::Failed;
                let sign = self
                    .out
                    .paint(symbol.color(), symbol.text(self.out.unicode));
                push(text, &format!("{sign} {name}: {message}"));
            }
            EntryBody::Raw { .. } => {
                match serde_json::from_slice::<Value>(line) {
                    Ok(event) if event.get("sessionID").is_some() => {}
                    Ok(_) => push(text, &String::from_utf8_lossy(line)),
                    // It was longer than a line may be, and was cut.
                    Err(_) => push(text, &cut(&String::from_utf8_lossy(line), THOUGHT_CHARS)),
                }
            }
        }
    }

    fn target_of(&self, input: &Value) -> String {
        let named = TARGETS.iter().find_map(|key| input.get(key)?.as_str());
        match named {
            Some(text) => cut(&self.short(text), TARGET_CHARS),
            None if input.as_object().is_none_or(serde_json::Map::is_empty) => String::new(),
            None => cut(&input.to_string(), TARGET_CHARS),
        }
    }

    fn short(&self, path: &str) -> String {
        let below = self
            .workspace
            .as_ref()
            .and_then(|root| Path::new(path).strip_prefix(root).ok());
        below.map_or_else(|| path.to_owned(), |below| below.display().to_string())
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The first line that says something, and how many there are.
fn answer(output: &str) -> String {
    let lines = output.trim().lines().count();
    let is_mark = |line: &&str| line.starts_with('<') && line.ends_with('>');
    let first = output
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !is_mark(line));
    match (first, lines) {
        (None, _) => String::new(),
        (Some(first), 0 | 1) => format!(": {}", cut(first, RESULT_CHARS)),
        (Some(first), lines) => format!(": {} ({lines} lines)", cut(first, RESULT_CHARS)),
    }
}

fn letter(change: FileChange) -> char {
    match change {
        FileChange::Added => 'A',
        FileChange::Modified => 'M',
        FileChange::Deleted => 'D',
    }
}

fn usage_of(steps: &[Usage]) -> String {
    let total: Usage = steps.iter().copied().sum();
    let count = count(steps.len(), "step");
    let used = match usage_text(&total) {
        used if used.is_empty() => return format!("{count}, nothing reported as used"),
        used => used,
    };
    let costs: Vec<String> = steps
        .iter()
        .map(|step| dollars(step.cost_micro_usd))
        .collect();
    if total.cost_micro_usd == 0 || steps.len() == 1 || steps.len() > COSTS_SHOWN {
        return format!("{count}: {used}");
    }
    format!("{count}: {used} ({})", costs.join(" + "))
}

fn dollars(micros: u64) -> String {
    format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100)
}

#[cfg(test)]
mod tests {
    use domain::agent::DriverKind;

    use super::*;
    use crate::environment::Environment;

    fn transcript() -> Transcript {
        use app::ports::agents::Agents as _;
        let agents = agents::Registry::new([].into(), &[], agents::Unlisted::Opencode);
        let out = Output::new(&Environment::default(), false, false, true);
        let parser = agents.driver(DriverKind::Opencode).parser();
        Transcript::new(&out, parser, Some(Path::new("/w")))
    }

    const LOG: &str = concat!(
        "crewboss: the workspace is ready\n",
        r#"{"type":"step_start","sessionID":"s","part":{}}"#,
        "\n",
        r#"{"type":"text","sessionID":"s","part":{"text":"I will\u001b[2J write it.\n"}}"#,
        "\n",
        r#"{"type":"tool_use","sessionID":"s","part":{"tool":"write","callID":"1","state":{"status":"completed","input":{"filePath":"/w/a/hello.txt","content":"x"},"output":"Wrote file successfully.","metadata":{"exists":false}}}}"#,
        "\n",
        r#"{"type":"tool_use","sessionID":"s","part":{"tool":"bash","callID":"2","state":{"status":"error","input":{"command":"make\ntest"},"error":"boom\nbang"}}}"#,
        "\n",
        r#"{"type":"step_finish","sessionID":"s","part":{"reason":"tool-calls","cost":0.001,"tokens":{"input":10,"output":2,"reasoning":0,"cache":{"read":0,"write":0}}}}"#,
        "\n",
        "timestamp=1 level=ERROR message=\"x\"\n",
        r#"{"type":"step_finish","sessionID":"s","part":{"reason":"stop","cost":0.002,"tokens":{"input":10,"output":2,"reasoning":0,"cache":{"read":0,"write":0}}}}"#,
        "\n",
    );

    const TEXT: &str = "crewboss: the workspace is ready\n\
        I will\u{1b}[2J write it.\n\
        \u{2713} write a/hello.txt: Wrote file successfully.\n\
        \u{2717} bash make test: boom (2 lines)\n\
        timestamp=1 level=ERROR message=\"x\"\n\
        2 steps: 24 tokens (20 in, 4 out, 0 reasoning, 0 cached), $0.0030 ($0.0010 + $0.0020)\n";

    #[test]
    fn a_log_is_put_in_words() {
        let mut whole = transcript();
        assert_eq!(whole.feed(LOG.as_bytes()) + &whole.end(), TEXT);
    }

    #[test]
    fn it_does_not_matter_where_it_is_cut() {
        for size in [1, 7, 100] {
            let mut pieces = transcript();
            let mut text: String = LOG
                .as_bytes()
                .chunks(size)
                .map(|piece| pieces.feed(piece))
                .collect();
            text += &pieces.end();
            assert_eq!(text, TEXT, "{size}");
        }
    }

    #[test]
    fn a_line_that_was_cut_is_shown_in_part() {
        let mut cut = transcript();
        let line = format!(
            "{{\"type\":\"text\",\"part\":{{\"text\":\"{} [9 bytes cut]\n",
            "x".repeat(2_000)
        );
        let text = cut.feed(line.as_bytes());
        assert!(text.starts_with("{\"type\"") && text.len() < 400, "{text}");
    }
}
