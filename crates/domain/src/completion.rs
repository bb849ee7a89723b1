//! Whether an agent's session ended well: judged from evidence alone.
//!
//! Precedence, first match wins: the `.done` file; what Crewboss itself did to the agent; the
//! `.error`, `.cancelled` and `.timeout` files; what the protocol reports; the exit.

use serde::{Deserialize, Serialize};

use crate::{
    agent::CompletionRule,
    failure::{Failure, FailureReason},
    process::Exit,
};

/// The exit code by which `timeout(1)` says that it ended its command.
const EXIT_CODE_TIMEOUT: i32 = 124;

/// The sentinel files of the session's own task, as they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentinels {
    /// `.done` exists; its content does not matter.
    pub done: bool,
    /// The content of `.error`.
    pub error: Option<String>,
    /// `.cancelled` exists.
    pub cancelled: bool,
    /// The content of `.timeout`.
    pub timeout: Option<String>,
}

/// Why Crewboss ended the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The task was cancelled.
    Cancel,
    /// The deadline passed after this many seconds.
    Deadline {
        /// The limit in force at the end, extensions included.
        seconds: u64,
    },
    /// An operator declared the task timed out.
    ManualTimeout,
    /// The task goes on from a checkpoint, in another session.
    Rewind,
}

/// What a driver that speaks its agent's protocol concluded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolVerdict {
    /// The agent said that it is finished, and nothing speaks against it.
    Finished,
    /// It is not, for this reason.
    Failed(Failure),
}

/// All that is known at the end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What the agent's configuration asks for.
    pub rule: CompletionRule,
    /// The sentinel files.
    pub sentinels: Sentinels,
    /// How the agent's process ended; `None` where nobody saw it.
    pub exit: Option<Exit>,
    /// Whether Crewboss ended it.
    pub stopped: Option<Stop>,
    /// The driver's report; `None` for agents without a protocol.
    pub protocol: Option<ProtocolVerdict>,
    /// Whether a tool call was completed, as far as the protocol tells.
    pub had_tool_call: bool,
    /// Whether the workspace differs from its base; `None` where nobody looked.
    pub has_diff: Option<bool>,
    /// Whether the task asks for a diff.
    pub require_diff: bool,
}

/// How a session ended, before gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The agent did what its rule asks for.
    Completed,
    /// It did not.
    Failed(Failure),
    /// It was cancelled, by us or by its own `.cancelled` file.
    Cancelled,
    /// Its time was up. The reason is always [`FailureReason::Timeout`].
    TimedOut {
        /// The failure to store.
        failure: Failure,
        /// The time that a `.timeout` file names, as written there.
        at: Option<String>,
    },
    /// It was ended for another session of the same task.
    Stopped,
}

impl Evidence {
    /// The verdict.
    #[must_use]
    pub fn judge(&self) -> Verdict {
        let obeys_files = self.rule.uses_sentinels();
        if obeys_files && self.sentinels.done {
            return self.unless_without_effect();
        }
        if let Some(stop) = self.stopped {
            return stop.verdict();
        }
        if !self.sentinels.done
            && let Some(content) = &self.sentinels.error
        {
            return Verdict::Failed(reported_error(content));
        }
        if obeys_files && self.sentinels.cancelled {
            return Verdict::Cancelled;
        }
        if obeys_files && let Some(content) = &self.sentinels.timeout {
            return reported_timeout(content);
        }
        self.judge_end()
    }

    /// No file decides and nobody stopped it.
    fn judge_end(&self) -> Verdict {
        match self.rule {
            CompletionRule::Protocol => match &self.protocol {
                Some(ProtocolVerdict::Finished) => self.unless_without_effect(),
                Some(ProtocolVerdict::Failed(failure)) => Verdict::Failed(failure.clone()),
                None => match bad_exit(self.exit) {
                    Some(failure) => Verdict::Failed(failure),
                    None => no_completion("the agent ended without a report"),
                },
            },
            CompletionRule::ExitCode => match bad_exit(self.exit) {
                Some(failure) => Verdict::Failed(failure),
                None => self.unless_without_effect(),
            },
            CompletionRule::Either | CompletionRule::Sentinel => {
                if self.exit == Some(Exit::Code(EXIT_CODE_TIMEOUT)) {
                    return timed_out("Task timed out (exit code 124)", None);
                }
                match (bad_exit(self.exit), self.rule) {
                    (Some(failure), _) => Verdict::Failed(failure),
                    (None, CompletionRule::Either) => self.unless_without_effect(),
                    (None, _) => no_completion("exit code 0, but no .done file"),
                }
            }
        }
    }

    fn unless_without_effect(&self) -> Verdict {
        let is_unchanged = self.has_diff == Some(false);
        if is_unchanged && self.require_diff {
            let message = "the agent changed no file, and the task asks for a change";
            return Verdict::Failed(Failure::new(FailureReason::NoEffect, message));
        }
        let is_idle = self.rule == CompletionRule::Protocol && !self.had_tool_call;
        if is_unchanged && is_idle {
            let message = "the agent changed no file and called no tool";
            return Verdict::Failed(Failure::new(FailureReason::NoEffect, message));
        }
        Verdict::Completed
    }
}

impl Stop {
    fn verdict(self) -> Verdict {
        match self {
            Self::Cancel => Verdict::Cancelled,
            Self::Deadline { seconds } => {
                timed_out(format!("Task timed out after {seconds} seconds"), None)
            }
            Self::ManualTimeout => timed_out("Manually timed out", None),
            Self::Rewind => Verdict::Stopped,
        }
    }
}

fn timed_out(message: impl Into<String>, at: Option<String>) -> Verdict {
    Verdict::TimedOut {
        failure: Failure::new(FailureReason::Timeout, message),
        at,
    }
}

fn no_completion(details: &str) -> Verdict {
    let failure = Failure::new(
        FailureReason::NoCompletion,
        "Process terminated unexpectedly",
    );
    Verdict::Failed(failure.with_details(details))
}

/// The failure that an exit is by itself.
fn bad_exit(exit: Option<Exit>) -> Option<Failure> {
    match exit {
        Some(Exit::Code(0)) => None,
        Some(Exit::Code(code)) => Some(Failure::new(
            FailureReason::ProcessFailure,
            format!("Process exited with code {code}"),
        )),
        Some(Exit::Signal(signal)) => Some(Failure::new(
            FailureReason::ProcessKilled,
            format!("Process was ended by {}", signal_name(signal)),
        )),
        None => Some(
            Failure::new(
                FailureReason::ProcessFailure,
                "Process terminated unexpectedly",
            )
            .with_details("its exit was not observed"),
        ),
    }
}

/// A signal as people know it: `SIGKILL (9)`.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("{name} ({signal})")
}

/// The two fields of an `.error` file that are kept.
#[derive(Deserialize)]
struct ErrorFile {
    error: String,
    #[serde(default)]
    details: Option<serde_json::Value>,
}

/// What an `.error` file says: JSON with `error` and `details`, or the message as plain text.
fn reported_error(content: &str) -> Failure {
    let text = content.trim_start_matches('\u{feff}').trim();
    if let Ok(file) = serde_json::from_str::<ErrorFile>(text) {
        let failure = Failure::new(FailureReason::AgentError, or_unknown(&file.error));
        return match file.details {
            None | Some(serde_json::Value::Null) => failure,
            Some(serde_json::Value::String(details)) => failure.with_details(details),
            Some(details) => failure.with_details(details.to_string()),
        };
    }
    Failure::new(FailureReason::AgentError, or_unknown(text))
}

fn or_unknown(message: &str) -> &str {
    if message.trim().is_empty() {
        "Unknown error"
    } else {
        message
    }
}

/// A `.timeout` file: `{"timeout": <seconds> | "manual", "timestamp": "<ISO>"}`.
#[derive(Deserialize)]
struct TimeoutFile {
    #[serde(default)]
    timeout: Option<serde_json::Value>,
    #[serde(default)]
    timestamp: Option<String>,
}

fn reported_timeout(content: &str) -> Verdict {
    let Ok(file) = serde_json::from_str::<TimeoutFile>(content.trim()) else {
        return timed_out("Task timed out", None);
    };
    let message = match &file.timeout {
        Some(serde_json::Value::Number(seconds)) => {
            format!("Task timed out after {seconds} seconds")
        }
        Some(serde_json::Value::String(word)) if word == "manual" => {
            "Manually timed out".to_owned()
        }
        _ => "Task timed out".to_owned(),
    };
    timed_out(message, file.timestamp)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const RULES: [CompletionRule; 4] = [
        CompletionRule::ExitCode,
        CompletionRule::Sentinel,
        CompletionRule::Either,
        CompletionRule::Protocol,
    ];
    const STOPS: [Option<Stop>; 4] = [
        None,
        Some(Stop::Cancel),
        Some(Stop::Deadline { seconds: 90 }),
        Some(Stop::ManualTimeout),
    ];
    const EXITS: [Option<Exit>; 5] = [
        Some(Exit::Code(0)),
        Some(Exit::Code(7)),
        Some(Exit::Code(124)),
        Some(Exit::Signal(9)),
        None,
    ];

    fn evidence(rule: CompletionRule) -> Evidence {
        Evidence {
            rule,
            sentinels: Sentinels::default(),
            exit: Some(Exit::Code(0)),
            stopped: None,
            protocol: None,
            had_tool_call: true,
            has_diff: Some(true),
            require_diff: false,
        }
    }

    fn files(bits: u8) -> Sentinels {
        Sentinels {
            done: bits & 1 != 0,
            error: (bits & 2 != 0).then(|| "boom".to_owned()),
            cancelled: bits & 4 != 0,
            timeout: (bits & 8 != 0)
                .then(|| r#"{"timeout":30,"timestamp":"2025-12-01T10:30:00Z"}"#.to_owned()),
        }
    }

    fn brief(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Completed => "completed".to_owned(),
            Verdict::Cancelled => "cancelled".to_owned(),
            Verdict::Stopped => "stopped".to_owned(),
            Verdict::Failed(failure) => format!("{}: {}", failure.reason, failure.message),
            Verdict::TimedOut { failure, at } => {
                let at = at.as_ref().map_or(String::new(), |at| format!(" @{at}"));
                format!("timed out: {}{at}", failure.message)
            }
        }
    }

    /// Every file × exit × rule × stop; equal neighbours share a line.
    #[test]
    fn every_combination() {
        let mut table = String::new();
        for rule in RULES {
            for stopped in STOPS {
                writeln!(table, "\n== {rule:?}, stopped by us: {stopped:?}").unwrap();
                for bits in 0..16 {
                    let sentinels = files(bits);
                    let verdicts: Vec<String> = EXITS
                        .iter()
                        .map(|&exit| {
                            let sentinels = sentinels.clone();
                            brief(
                                &Evidence {
                                    sentinels,
                                    exit,
                                    stopped,
                                    ..evidence(rule)
                                }
                                .judge(),
                            )
                        })
                        .collect();
                    let names: Vec<&str> = [".done", ".error", ".cancelled", ".timeout"]
                        .into_iter()
                        .enumerate()
                        .filter_map(|(bit, name)| (bits >> bit & 1 != 0).then_some(name))
                        .collect();
                    let names = if names.is_empty() {
                        "no file".to_owned()
                    } else {
                        names.join(" ")
                    };
                    if verdicts.iter().all(|verdict| *verdict == verdicts[0]) {
                        writeln!(table, "{names} | any exit | {}", verdicts[0]).unwrap();
                    } else {
                        for (exit, verdict) in EXITS.iter().zip(verdicts) {
                            writeln!(table, "{names} | {exit:?} | {verdict}").unwrap();
                        }
                    }
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_protocol_is_believed_but_for_doing_nothing() {
        let failed = Failure::new(FailureReason::OutputLimit, "cut");
        let mut table = String::new();
        for protocol in [
            None,
            Some(ProtocolVerdict::Finished),
            Some(ProtocolVerdict::Failed(failed)),
        ] {
            for had_tool_call in [false, true] {
                for has_diff in [None, Some(false), Some(true)] {
                    for require_diff in [false, true] {
                        let evidence = Evidence {
                            protocol: protocol.clone(),
                            had_tool_call,
                            has_diff,
                            require_diff,
                            ..evidence(CompletionRule::Protocol)
                        };
                        let word = match &protocol {
                            None => "no report",
                            Some(ProtocolVerdict::Finished) => "finished",
                            Some(ProtocolVerdict::Failed(_)) => "failed",
                        };
                        writeln!(
                            table,
                            "{word} | tool call {had_tool_call} | diff {has_diff:?} | asked {require_diff} | {}",
                            brief(&evidence.judge()),
                        )
                        .unwrap();
                    }
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn an_error_file_is_json_or_plain_text() {
        let read = |content: &str| {
            let failure = reported_error(content);
            (failure.message, failure.details)
        };
        let json =
            r#"{"error":"Network timeout","details":"stack","timestamp":"2025-12-01T10:30:00Z"}"#;
        assert_eq!(
            read(json),
            ("Network timeout".to_owned(), Some("stack".to_owned()))
        );
        assert_eq!(read("boom\n"), ("boom".to_owned(), None));
        assert_eq!(read(" \n"), ("Unknown error".to_owned(), None));
        assert_eq!(read(r#"{"error":""}"#), ("Unknown error".to_owned(), None));
        assert_eq!(read(r#"{"other":1}"#), (r#"{"other":1}"#.to_owned(), None));
        assert_eq!(
            read(r#"{"error":"x","details":{"line":3}}"#),
            ("x".to_owned(), Some(r#"{"line":3}"#.to_owned())),
        );
    }

    #[test]
    fn a_timeout_file_names_seconds_or_a_hand() {
        for (content, message) in [
            (r#"{"timeout":2}"#, "Task timed out after 2 seconds"),
            (r#"{"timeout":"manual"}"#, "Manually timed out"),
            ("", "Task timed out"),
            ("junk", "Task timed out"),
        ] {
            assert_eq!(
                reported_timeout(content),
                timed_out(message, None),
                "{content:?}"
            );
        }
    }
}
