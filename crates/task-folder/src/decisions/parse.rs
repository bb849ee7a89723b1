//! Reading decisions line by line. Every heading of the second level is a decision, whatever
//! stands below it; what does not belong to one is said.

use std::io::{self, BufRead};

use app::ports::journal::{Decision, Finding};
use serde_json::{Map, Value};

use super::{
    FILE,
    form::{AGENT, ALTERNATIVES, CONTEXT, INDENT, METADATA, REASONING, TIME, unspelled},
};

/// Longer lines are cut: nobody decides so much at once.
const LINE_MAX: usize = 4 << 20;

/// Where the lines belong that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first decision.
    Before,
    /// The fields below its heading.
    Fields,
    Context,
    Alternatives,
    Reasoning,
    /// Below a heading that is none of ours; it has been said.
    Unknown,
}

#[derive(Debug)]
struct Parser {
    decisions: Vec<Decision>,
    findings: Vec<Finding>,
    place: Place,
    line: u64,
    /// Lines of the text or of the item that is being read.
    text: Vec<String>,
    is_in_item: bool,
}

/// See [`super::read`].
pub(super) fn read(mut reader: impl BufRead) -> io::Result<(Vec<Decision>, Vec<Finding>)> {
    let mut parser = Parser {
        decisions: vec![],
        findings: vec![],
        place: Place::Before,
        line: 0,
        text: vec![],
        is_in_item: false,
    };
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let is_cut = read_line(&mut reader, &mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        parser.line += 1;
        if is_cut {
            parser.says(format!("it was cut after {LINE_MAX} bytes"));
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            parser.says("it is not UTF-8".to_owned());
        }
        parser.read_line(&text);
    }
    parser.end_text();
    Ok((parser.decisions, parser.findings))
}

/// Reads a line with its end; says whether it was cut.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let mut is_cut = false;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(is_cut);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        let room = (LINE_MAX - line.len()).min(taken);
        is_cut |= room < taken;
        line.extend_from_slice(&available[..room]);
        reader.consume(taken);
        if end.is_some() {
            return Ok(is_cut);
        }
    }
}

impl Parser {
    fn says(&mut self, what: String) {
        self.findings.push(Finding {
            file: FILE.to_owned(),
            line: self.line,
            what,
        });
    }

    fn read_line(&mut self, line: &str) {
        // What a mark of the byte order leaves.
        let line = match self.line {
            1 => line.strip_prefix('\u{feff}').unwrap_or(line),
            _ => line,
        };
        if let Some(decision) = heading(line, "##") {
            self.end_text();
            self.place = Place::Fields;
            self.decisions.push(Decision {
                decision: unspelled(decision.trim()),
                ..Decision::default()
            });
        } else if let (Some(name), true) = (heading(line, "###"), self.place != Place::Before) {
            self.end_text();
            self.place = self.section(name.trim());
        } else {
            self.content(line);
        }
    }

    fn section(&mut self, name: &str) -> Place {
        let (place, is_there) = {
            let Some(decision) = self.decisions.last() else {
                return Place::Before;
            };
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is(CONTEXT) {
                (Place::Context, !decision.context.is_empty())
            } else if is(ALTERNATIVES) {
                (Place::Alternatives, false)
            } else if is(REASONING) {
                (Place::Reasoning, !decision.reasoning.is_empty())
            } else {
                (Place::Unknown, false)
            }
        };
        if place == Place::Unknown {
            self.says(format!(
                "the heading `{name}` is none of {CONTEXT}, {ALTERNATIVES}, {REASONING}: what is below it is left out"
            ));
        }
        if is_there {
            self.says(format!("a second `{name}`: it is added to the first"));
        }
        place
    }

    fn content(&mut self, line: &str) {
        let is_blank = line.trim().is_empty();
        match self.place {
            Place::Before => {
                let is_title = line.starts_with("# ");
                if !is_blank && !is_title {
                    self.says("it stands before the first decision".to_owned());
                }
            }
            Place::Fields => {
                if !is_blank {
                    self.field(line);
                }
            }
            Place::Context | Place::Reasoning => self.text.push(unescaped(line).to_owned()),
            Place::Alternatives => self.item_line(line, is_blank),
            Place::Unknown => {}
        }
    }

    fn field(&mut self, line: &str) {
        let item = line.trim_start().strip_prefix(['-', '*']).map(str::trim);
        let Some((name, value)) = item.and_then(|item| item.split_once(':')) else {
            return self.says("it is no field and stands below no heading".to_owned());
        };
        let (name, value) = (
            name.trim().trim_matches('*'),
            value.trim_start_matches('*').trim(),
        );
        let Some(decision) = self.decisions.last_mut() else {
            return;
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is(AGENT) {
            decision.agent = unspelled(value);
        } else if is(TIME) {
            match serde_json::from_value(Value::from(value)) {
                Ok(at) => decision.at = Some(at),
                Err(error) => self.says(format!("`{value}` is no time: {error}")),
            }
        } else if is(METADATA) {
            match serde_json::from_str::<Map<String, Value>>(value) {
                Ok(metadata) => decision.metadata = metadata,
                Err(error) => self.says(format!("the metadata are no JSON object: {error}")),
            }
        } else {
            self.says(format!(
                "the field `{name}` is none of {AGENT}, {TIME}, {METADATA}"
            ));
        }
    }

    fn item_line(&mut self, line: &str, is_blank: bool) {
        if let Some(item) = item(line) {
            self.end_text();
            self.is_in_item = true;
            self.text.push(item.to_owned());
        } else if let (true, Some(line)) = (self.is_in_item, line.strip_prefix(INDENT)) {
            self.text.push(line.to_owned());
        } else if self.is_in_item && is_blank {
            self.text.push(String::new());
        } else if !is_blank {
            self.says("it is no item of the alternatives".to_owned());
        }
    }

    /// The text or the item is whole: blank lines around it are not part of it.
    fn end_text(&mut self) {
        let lines = std::mem::take(&mut self.text);
        let is_in_item = std::mem::take(&mut self.is_in_item);
        let text = lines.join("\n");
        let text = unspelled(text.trim());
        let Some(decision) = self.decisions.last_mut() else {
            return;
        };
        match self.place {
            Place::Context => add(&mut decision.context, text),
            Place::Reasoning => add(&mut decision.reasoning, text),
            Place::Alternatives if is_in_item => decision.alternatives.push(text),
            Place::Alternatives | Place::Before | Place::Fields | Place::Unknown => {}
        }
    }
}

fn add(there: &mut String, text: String) {
    if there.is_empty() {
        *there = text;
    } else if !text.is_empty() {
        there.push_str("\n\n");
        there.push_str(&text);
    }
}

/// The text of a heading of this level.
fn heading<'a>(line: &'a str, marks: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(marks)?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some(rest)
}

/// A line without the backslash that keeps it from being a heading.
fn unescaped(line: &str) -> &str {
    match line.strip_prefix('\\') {
        Some(rest) if rest.trim_start_matches('\\').starts_with('#') => rest,
        _ => line,
    }
}

/// The text of a list item: `-`, `*`, `1.`.
fn item(line: &str) -> Option<&str> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = match line.strip_prefix(['-', '*']) {
        Some(rest) => rest,
        None if digits > 0 => line[digits..].strip_prefix('.')?,
        None => return None,
    };
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(' ')
}
