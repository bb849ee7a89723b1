//! From a request to what is sent back: decides, and touches no socket.

use serde_json::{Value, json};

use super::{
    conversation::{Conversation, Next, NoAnswer},
    recording::{Answer, RecordedRequest, Recording},
    reply::Reply,
    scenario::{Fault, Scenario, Turn},
    template::Placeholders,
};

/// How many characters of a prompt that nothing matched are quoted.
const QUOTED_CHARS: usize = 200;

/// Plays one scenario.
#[derive(Debug)]
pub(super) struct Player {
    scenario: Scenario,
    recording: Recording,
}

/// What is to be sent.
#[derive(Debug)]
pub(super) struct Performance {
    /// Wait before the first byte.
    pub(super) delay_ms: u64,
    /// Wait before each further piece of a stream.
    pub(super) pace_ms: u64,
    /// And then.
    pub(super) action: Action,
}

/// What is to be sent after the delay.
#[derive(Debug)]
pub(super) enum Action {
    /// A status, headers and a JSON body.
    Json {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Value,
    },
    /// Nothing: close the connection.
    Drop,
    /// Server-sent events, or the same as one body.
    Reply {
        reply: Reply,
        stream: bool,
        include_usage: bool,
        breaks: Break,
    },
}

/// Where an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// It does not.
    Never,
    /// The connection is closed half-way.
    Dropped,
    /// Half-way comes something that is not JSON, and the end.
    Malformed,
    /// It ends half-way without a finish reason.
    Unfinished,
}

impl Player {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            recording: Recording::default(),
        }
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.recording.requests()
    }

    /// The list of models.
    pub(super) fn models(&self, path: &str) -> Performance {
        self.record(Answer::Models, path, None, None, None);
        let model = |id| json!({"id": id, "object": "model", "created": 0, "owned_by": "scripted"});
        at_once(
            200,
            json!({"object": "list", "data": [model("scripted"), model("scripted-small")]}),
        )
    }

    /// A request that is none of the API's.
    pub(super) fn refuse(&self, path: &str, status: u16, message: &str) -> Performance {
        self.record(Answer::Refused, path, None, None, None);
        at_once(status, error_body(message, "invalid_request_error", None))
    }

    /// A chat request.
    pub(super) fn chat(&self, path: &str, body: &Value, session: Option<String>) -> Performance {
        let conversation = match Conversation::read(body, session) {
            Ok(conversation) => conversation,
            Err(message) => return self.refuse(path, 400, &message),
        };
        let note = |answer, next: Option<&Next<'_>>| {
            self.record(answer, path, Some(&conversation), next, Some(body));
        };
        if conversation.asks_for_title() {
            note(Answer::Title, None);
            let reply = Reply::of_title(&self.scenario.title, &conversation);
            return say(reply, &conversation, &Turn::default(), Break::Never);
        }
        let next = match conversation.next(&self.scenario) {
            Ok(next) => next,
            Err(NoAnswer::Unmatched) => {
                note(Answer::Unmatched, None);
                return bad_request("no_script", &self.unmatched(conversation.last_prompt()));
            }
            Err(NoAnswer::PastEnd { script, turns }) => {
                note(Answer::PastEnd, None);
                let message = format!("script \"{script}\" has {turns} turns, all played");
                return bad_request("past_end", &message);
            }
        };
        let key = conversation.key();
        let fault = next.turn.fault_at(self.recording.count_call(&next, &key));
        note(
            if fault.is_some() {
                Answer::Fault
            } else {
                Answer::Turn
            },
            Some(&next),
        );
        let values = Placeholders {
            directory: conversation.directory(),
            prompt: conversation.text_at(next.position),
            session: &key,
        };
        let breaks = match fault {
            None => Break::Never,
            Some(Fault::DropMidStream { .. }) => Break::Dropped,
            Some(Fault::Malformed { .. }) => Break::Malformed,
            Some(Fault::Unfinished { .. }) => Break::Unfinished,
            Some(fault @ (Fault::Status { .. } | Fault::DropBefore { .. })) => {
                return fail(fault, next.turn);
            }
        };
        match Reply::of_turn(&next, &conversation, &values) {
            Ok(reply) => say(reply, &conversation, next.turn, breaks),
            Err(message) => bad_request("placeholder", &message),
        }
    }

    fn unmatched(&self, prompt: &str) -> String {
        let quoted: String = prompt.chars().take(QUOTED_CHARS).collect();
        let scripts: Vec<String> = self
            .scenario
            .scripts
            .iter()
            .map(|script| format!("\"{}\" (match {})", script.name, script.needles))
            .collect();
        format!(
            "no script matches the prompt {quoted:?}; there are: {}",
            scripts.join(", ")
        )
    }

    fn record(
        &self,
        answer: Answer,
        path: &str,
        conversation: Option<&Conversation>,
        next: Option<&Next<'_>>,
        body: Option<&Value>,
    ) {
        self.recording.add(RecordedRequest {
            answer,
            path: path.to_owned(),
            script: next.map(|next| next.script.name.clone()),
            turn: next.map(|next| next.number),
            conversation: conversation.map(Conversation::key),
            directory: conversation.and_then(|c| c.directory().map(str::to_owned)),
            model: conversation.map(|conversation| conversation.model.clone()),
            body: body.filter(|_| self.scenario.record_bodies).cloned(),
        });
    }
}

fn say(reply: Reply, conversation: &Conversation, turn: &Turn, breaks: Break) -> Performance {
    Performance {
        delay_ms: turn.delay_ms,
        pace_ms: turn.pace_ms,
        action: Action::Reply {
            reply,
            stream: conversation.stream,
            include_usage: conversation.include_usage,
            breaks,
        },
    }
}

fn fail(fault: &Fault, turn: &Turn) -> Performance {
    let action = match fault {
        Fault::Status {
            status,
            retry_after_s,
            retry_after_ms,
            message,
            code,
            ..
        } => {
            let message = message.as_deref().unwrap_or_else(|| usual_message(*status));
            let header = |name, value: Option<u64>| value.map(|value| (name, value.to_string()));
            let headers = [
                header("retry-after", *retry_after_s),
                header("retry-after-ms", *retry_after_ms),
            ];
            Action::Json {
                status: *status,
                headers: headers.into_iter().flatten().collect(),
                body: error_body(message, "scripted_error", code.as_deref()),
            }
        }
        Fault::DropBefore { .. }
        | Fault::DropMidStream { .. }
        | Fault::Malformed { .. }
        | Fault::Unfinished { .. } => Action::Drop,
    };
    Performance {
        delay_ms: turn.delay_ms,
        pace_ms: 0,
        action,
    }
}

fn usual_message(status: u16) -> &'static str {
    match status {
        401 => "Invalid API key",
        403 => "Permission denied",
        429 => "Rate limit reached",
        400..=499 => "Bad request",
        _ => "Internal server error",
    }
}

fn bad_request(code: &str, message: &str) -> Performance {
    at_once(
        400,
        error_body(message, "invalid_request_error", Some(code)),
    )
}

fn at_once(status: u16, body: Value) -> Performance {
    Performance {
        delay_ms: 0,
        pace_ms: 0,
        action: Action::Json {
            status,
            headers: Vec::new(),
            body,
        },
    }
}

fn error_body(message: &str, kind: &str, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
