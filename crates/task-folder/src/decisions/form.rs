//! The form of a decision, and the few characters that it spells otherwise.
//!
//! ```text
//! ## What was decided
//!
//! - Agent: coder
//! - Time: 2026-11-20T12:00:00.000Z
//! - Metadata: {"ticket":"X-1"}
//!
//! ### Context
//!
//! ### Alternatives
//!
//! - one line, or more of them
//!   with two spaces before each further one
//!
//! ### Reasoning
//! ```
//!
//! A line of text that begins with `#`, after any number of backslashes, has one backslash more. A
//! control character, white space at either end of a value, and a `&` before `#` are spelled as
//! numeric character references (`&#13;`), as is a line end in a value of one line.

use std::fmt::Write as _;

use app::ports::journal::Decision;

/// How the parts of a decision are called.
pub(super) const AGENT: &str = "Agent";
pub(super) const TIME: &str = "Time";
pub(super) const METADATA: &str = "Metadata";
pub(super) const CONTEXT: &str = "Context";
pub(super) const ALTERNATIVES: &str = "Alternatives";
pub(super) const REASONING: &str = "Reasoning";

/// What stands before each further line of an item.
pub(super) const INDENT: &str = "  ";

/// A decision as it is added.
pub(super) fn text(decision: &Decision) -> serde_json::Result<String> {
    let mut text = format!("## {}\n\n", one_line(&decision.decision));
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "- {name}: {value}");
    };
    field(AGENT, &one_line(&decision.agent));
    if let Some(at) = decision.at {
        field(TIME, &at.to_string());
    }
    if !decision.metadata.is_empty() {
        field(METADATA, &serde_json::to_string(&decision.metadata)?);
    }
    section(&mut text, CONTEXT, &lines(&decision.context));
    let items: Vec<String> = decision
        .alternatives
        .iter()
        .map(|item| list_item(item))
        .collect();
    section(&mut text, ALTERNATIVES, &items.join("\n"));
    section(&mut text, REASONING, &lines(&decision.reasoning));
    Ok(text)
}

fn section(text: &mut String, name: &str, content: &str) {
    if !content.is_empty() {
        let _ = write!(text, "\n### {name}\n\n{content}\n");
    }
}

/// A value on one line.
fn one_line(value: &str) -> String {
    spelled(value, true)
}

/// A value of any number of lines, none of which looks like a heading.
fn lines(value: &str) -> String {
    let spelled = spelled(value, false);
    let lines = spelled.split('\n').map(|line| {
        if line.trim_start_matches('\\').starts_with('#') {
            format!("\\{line}")
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// An item; further lines are indented, but for empty ones.
fn list_item(value: &str) -> String {
    let mut item = String::from("-");
    for (number, line) in spelled(value, false).split('\n').enumerate() {
        match (number, line) {
            (0, "") => {}
            (0, line) => drop(write!(item, " {line}")),
            (_, "") => item.push('\n'),
            (_, line) => drop(write!(item, "\n{INDENT}{line}")),
        }
    }
    item
}

fn spelled(value: &str, is_one_line: bool) -> String {
    let begins = value.len() - value.trim_start().len();
    let ends = value.trim_end().len();
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.char_indices() {
        let is_edge = at < begins || at >= ends;
        let is_control = c.is_control() && c != '\t' && (c != '\n' || is_one_line);
        let is_reference = c == '&' && value[at..].starts_with("&#");
        if is_edge || is_control || is_reference {
            let _ = write!(text, "&#{};", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

/// The characters that references stand for; what is none stays as it is.
pub(super) fn unspelled(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("&#") {
        value.push_str(&rest[..at]);
        let tail = &rest[at + 2..];
        let found = tail.split_once(';').and_then(|(digits, behind)| {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let c = digits.parse().ok().and_then(char::from_u32);
            c.filter(|_| is_number).map(|c| (c, behind))
        });
        if let Some((c, behind)) = found {
            value.push(c);
            rest = behind;
        } else {
            value.push_str("&#");
            rest = tail;
        }
    }
    value.push_str(rest);
    value
}
