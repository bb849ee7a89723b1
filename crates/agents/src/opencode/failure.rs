//! `OpenCode`'s errors in our vocabulary.

use domain::failure::{Failure, FailureReason};
use serde::Deserialize;

/// An `error` event's content.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct AgentError {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) data: ErrorData,
}

/// What is known of an error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ErrorData {
    pub(super) message: String,
    pub(super) status_code: Option<u16>,
    pub(super) response_body: Option<String>,
}

impl AgentError {
    pub(super) fn is_overflow(&self) -> bool {
        self.reason() == FailureReason::ContextOverflow
    }

    /// The failure; `log` is what standard error says about it, for errors that hide their cause.
    pub(super) fn failure(&self, log: Option<&str>) -> Failure {
        let reason = match (self.reason(), log) {
            (FailureReason::AgentError, Some(log)) => reason_of_log(log),
            (reason, _) => reason,
        };
        let said = if self.data.message.is_empty() {
            &self.name
        } else {
            &self.data.message
        };
        let message = match log.filter(|_| self.hides_its_cause()) {
            Some(log) => one_line(log),
            None => one_line(said),
        };
        let details = [self.data.response_body.as_deref(), log];
        let details: Vec<&str> = details.into_iter().flatten().collect();
        let failure = Failure::new(reason, message);
        if details.is_empty() {
            failure
        } else {
            failure.with_details(details.join("\n"))
        }
    }

    fn hides_its_cause(&self) -> bool {
        self.data.message.starts_with("Unexpected server error")
    }

    fn reason(&self) -> FailureReason {
        match self.name.as_str() {
            "ProviderAuthError" => FailureReason::ProviderAuth,
            "MessageOutputLengthError" => FailureReason::OutputLimit,
            "ContextOverflowError" => FailureReason::ContextOverflow,
            "ContentFilterError" => FailureReason::ApiInvalidRequest,
            "StructuredOutputError" => FailureReason::UnparseableOutput,
            "APIError" => self.reason_of_answer(),
            _ => reason_of_text(&self.data.message),
        }
    }

    fn reason_of_answer(&self) -> FailureReason {
        let body = self.data.response_body.as_deref().unwrap_or_default();
        let text = format!("{} {body}", self.data.message).to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match self.data.status_code {
            Some(401 | 403) => FailureReason::ProviderAuth,
            Some(402) => FailureReason::ProviderQuota,
            Some(429) if says(&["quota", "billing", "credit balance", "usage limit"]) => {
                FailureReason::ProviderQuota
            }
            Some(429 | 503 | 529) => FailureReason::ProviderCapacity,
            Some(404) => FailureReason::ModelUnavailable,
            Some(408) => FailureReason::ProviderNetwork,
            Some(500..) => FailureReason::ProviderServer,
            Some(400..) if says(&["context length", "context_length", "context window"]) => {
                FailureReason::ContextOverflow
            }
            Some(400..) if says(&["model_not_found", "model not found", "unknown model"]) => {
                FailureReason::ModelUnavailable
            }
            Some(400..) => FailureReason::ApiInvalidRequest,
            _ => reason_of_text(&self.data.message),
        }
    }
}

/// What an error without a code means.
fn reason_of_text(message: &str) -> FailureReason {
    const WORDS: &[(&[&str], FailureReason)] = &[
        (&["doom_loop"], FailureReason::LoopDetected),
        (
            &["rejected permission", "rule which prevents"],
            FailureReason::PermissionDenied,
        ),
        (
            &["no space left", "disk is full", "enospc"],
            FailureReason::DiskFull,
        ),
        (
            &["json parsing failed", "json parse error"],
            FailureReason::UnparseableOutput,
        ),
        (
            &[
                "cannot connect",
                "socket",
                "connection",
                "timed out",
                "unable to connect",
                "econnre",
                "enotfound",
                "eai_again",
                "fetch failed",
                "network",
                "certificate",
            ],
            FailureReason::ProviderNetwork,
        ),
        (
            &["overloaded", "rate limit"],
            FailureReason::ProviderCapacity,
        ),
        (
            &["model not found", "model_not_found"],
            FailureReason::ModelUnavailable,
        ),
    ];
    let text = message.to_ascii_lowercase();
    let found = WORDS
        .iter()
        .find(|(words, _)| words.iter().any(|word| text.contains(word)));
    found.map_or(FailureReason::AgentError, |(_, reason)| *reason)
}

/// What a line of the log says about an error whose message is empty of meaning.
fn reason_of_log(log: &str) -> FailureReason {
    if log.contains("ModelNotFoundError") {
        return FailureReason::ModelUnavailable;
    }
    let setup = [
        "ProviderInitError",
        "Agent not found",
        "Command not found",
        "ConfigInvalidError",
    ];
    if setup.iter().any(|name| log.contains(name)) {
        return FailureReason::MissingConfig;
    }
    reason_of_text(log)
}

/// What `OpenCode` prints on standard error when it cannot start at all.
pub(super) fn of_start(stderr: &str) -> Option<Failure> {
    const SIGNS: &[&str] = &[
        "is not valid JSON",
        "Configuration is invalid",
        "ConfigInvalidError",
        "ConfigJsonError",
        "Session not found",
        "Failed to parse YAML",
        "Failed to change directory",
    ];
    let line = stderr
        .lines()
        .find(|line| SIGNS.iter().any(|sign| line.contains(sign)))?;
    let message = one_line(line.trim().trim_start_matches("Error:"));
    Some(Failure::new(FailureReason::MissingConfig, message).with_details(stderr.trim()))
}

/// The first line of a text, cut to what fits in a table.
pub(super) fn one_line(text: &str) -> String {
    crate::cut(text.trim().lines().next().unwrap_or_default().trim(), 300).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16, body: &str) -> FailureReason {
        let data = ErrorData {
            message: "m".to_owned(),
            status_code: Some(status),
            response_body: Some(body.to_owned()),
        };
        AgentError {
            name: "APIError".to_owned(),
            data,
        }
        .failure(None)
        .reason
    }

    #[test]
    fn codes_of_providers_become_reasons() {
        for (status, body, reason) in [
            (401, "", FailureReason::ProviderAuth),
            (403, "", FailureReason::ProviderAuth),
            (402, "", FailureReason::ProviderQuota),
            (404, "", FailureReason::ModelUnavailable),
            (408, "", FailureReason::ProviderNetwork),
            (429, "slow down", FailureReason::ProviderCapacity),
            (429, "insufficient_quota", FailureReason::ProviderQuota),
            (500, "", FailureReason::ProviderServer),
            (502, "", FailureReason::ProviderServer),
            (529, "", FailureReason::ProviderCapacity),
            (400, "", FailureReason::ApiInvalidRequest),
            (422, "", FailureReason::ApiInvalidRequest),
            (
                400,
                "context_length_exceeded",
                FailureReason::ContextOverflow,
            ),
        ] {
            assert_eq!(api(status, body), reason, "{status} {body}");
        }
    }

    #[test]
    fn a_hidden_cause_is_taken_from_the_log() {
        let error = AgentError {
            name: "UnknownError".to_owned(),
            data: ErrorData {
                message: "Unexpected server error. Check server logs for details.".to_owned(),
                ..ErrorData::default()
            },
        };
        let failure = error.failure(Some("ProviderModelNotFoundError: Model not found: a/b."));
        assert_eq!(failure.reason, FailureReason::ModelUnavailable);
        assert_eq!(
            failure.message,
            "ProviderModelNotFoundError: Model not found: a/b."
        );
        assert_eq!(error.failure(None).reason, FailureReason::AgentError);
    }
}
