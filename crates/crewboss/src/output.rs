//! What is printed: data on stdout, talk on stderr, and nothing after the reader has gone.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api_types::{Body, Document, SCHEMA_VERSION};
use serde::Serialize;

use crate::{environment::Environment, fail::Fail};

/// How much is said on stderr about what is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What went wrong.
    Error,
    /// What a person should know; the ordinary level.
    Warn,
    /// Steps.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "error" => Some(Self::Error),
            "warn" | "warning" => Some(Self::Warn),
            "info" => Some(Self::Info),
            "debug" | "trace" => Some(Self::Debug),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The two streams, and what the reader of the first can show.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// Whether stdout is a terminal.
    pub(crate) terminal: bool,
    /// Whether colours may be used on stdout.
    pub(crate) color: bool,
    /// Whether the locale shows more than ASCII.
    pub(crate) unicode: bool,
    /// Whether data goes nowhere.
    muted: bool,
    /// Whether a document was printed: there is one for each command.
    has_document: Arc<AtomicBool>,
    level: Level,
}

impl Output {
    pub(crate) fn new(env: &Environment, json: bool, debug: bool, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = no_color || env.get("NO_COLOR").is_some() || env.text("TERM") == Some("dumb");
        let level = env
            .text("CREWBOSS_LOG")
            .and_then(Level::parse)
            .unwrap_or(Level::Warn);
        Self {
            json,
            terminal,
            color: terminal && !plain,
            unicode: is_unicode(env),
            muted: false,
            has_document: Arc::default(),
            level: if debug { Level::Debug } else { level },
        }
    }

    /// The same, but data goes nowhere.
    pub(crate) fn muted(&self) -> Self {
        Self {
            muted: true,
            json: false,
            terminal: false,
            color: false,
            ..self.clone()
        }
    }

    /// Prints one line of data. Nothing under `--json`.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Fail> {
        if self.json {
            return Ok(());
        }
        self.raw(format!("{}\n", harmless(&text.to_string())).as_bytes())
    }

    /// Prints text that another program had a say in: harmless wherever it is read.
    pub(crate) fn told(&self, text: &str) -> Result<(), Fail> {
        if text.is_empty() {
            return Ok(());
        }
        self.raw(harmless(text).as_bytes())
    }

    /// Prints data as it is.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), Fail> {
        if self.muted {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Fail::closed(),
            _ => Fail::io("cannot write to standard output", &error),
        })
    }

    /// Prints what an agent or another program wrote: as it is into a pipe, harmless on a terminal.
    pub(crate) fn foreign(&self, bytes: &[u8]) -> Result<(), Fail> {
        if self.terminal {
            self.raw(harmless(&String::from_utf8_lossy(bytes)).as_bytes())
        } else {
            self.raw(bytes)
        }
    }

    /// Prints the one document of a command under `--json`: `schema`, `schema_version`, then the
    /// body's fields.
    pub(crate) fn print(&self, body: &impl Body) -> Result<(), Fail> {
        if !self.json {
            return Ok(());
        }
        self.written(&Document::new(body))
    }

    /// Says that the one document is now written piece by piece.
    pub(crate) fn begin_document(&self) {
        self.has_document.store(true, Ordering::Relaxed);
    }

    /// The same for a body that has no type of its own.
    pub(crate) fn document(&self, schema: &str, body: &impl Serialize) -> Result<(), Fail> {
        if !self.json {
            return Ok(());
        }
        self.written(&Document {
            schema: format!("crewboss.{schema}"),
            schema_version: SCHEMA_VERSION,
            body,
        })
    }

    fn written(&self, document: &impl Serialize) -> Result<(), Fail> {
        let mut text = serde_json::to_vec_pretty(document).map_err(|error| {
            Fail::caused(
                crate::fail::Exit::Failed,
                "cannot write the answer as JSON",
                &error,
            )
        })?;
        text.push(b'\n');
        self.has_document.store(true, Ordering::Relaxed);
        self.raw(&text)
    }

    /// Says why a command failed: on stderr for people, and as its document where it has printed
    /// none. The text begins with `word` in place of `error`.
    pub(crate) fn fail(&self, fail: &Fail, word: &str) {
        let text = fail.render().replacen("error", word, 1);
        drop(write!(io::stderr().lock(), "{}", harmless(&text)));
        if let Some(document) = fail.document()
            && !self.has_document.load(Ordering::Relaxed)
        {
            // Whoever does not read it has the exit code.
            drop(self.print(&document));
        }
    }

    /// Says something to the person, not to the pipe. A closed stderr is no reason to stop.
    #[expect(
        clippy::unused_self,
        reason = "whoever has no output has nothing to say"
    )]
    pub(crate) fn say(&self, text: impl Display) {
        drop(writeln!(
            io::stderr().lock(),
            "{}",
            harmless(&text.to_string())
        ));
    }

    /// Says what is being done, where that level was asked for.
    pub(crate) fn log(&self, level: Level, text: impl Display) {
        if level <= self.level {
            let level = level.as_str();
            self.say(format_args!("{level}: {text}"));
        }
    }

    pub(crate) fn debug(&self, text: impl Display) {
        self.log(Level::Debug, text);
    }

    pub(crate) fn info(&self, text: impl Display) {
        self.log(Level::Info, text);
    }

    pub(crate) fn warn(&self, text: impl Display) {
        self.log(Level::Warn, text);
    }

    /// Text in a terminal colour (an SGR number), where colours may be used.
    pub(crate) fn paint(&self, color: u8, text: &str) -> String {
        if self.color {
            format!("\x1b[{color}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The locale decides, as in C: `LC_ALL`, else `LC_CTYPE`, else `LANG`. Without any of them what
/// is read by programs and modern terminals is UTF-8.
fn is_unicode(env: &Environment) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| env.text(name));
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// A text that does nothing to a terminal but show: control characters are spelled out, except
/// line ends, tabs, and sequences that set colours.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = if c == '\x1b' { colour_len(rest) } else { 0 };
        if taken > 0 {
            shown.push_str(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        }
        if is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(shown)
}

/// The length of the sequence `ESC [ digits and semicolons m` at the start; 0 where there is none.
fn colour_len(text: &str) -> usize {
    let Some(numbers) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';');
    end.filter(|end| numbers[*end..].starts_with('m'))
        .map_or(0, |end| end + 3)
}

#[cfg(test)]
mod harmless_tests {
    use super::harmless;

    #[test]
    fn what_moves_or_titles_a_terminal_is_spelled_out() {
        assert_eq!(harmless("a\tb\nc é"), "a\tb\nc é");
        assert_eq!(harmless("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m");
        assert_eq!(
            harmless("\x1b[2J\x1b]0;x\x07\r"),
            "\\u{1b}[2J\\u{1b}]0;x\\u{7}\\r"
        );
        assert_eq!(harmless("\x1b["), "\\u{1b}[");
    }
}
