//! What the model was asked, kept for assertions.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::conversation::Next;

/// What a request was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The list of models.
    Models,
    /// A title.
    Title,
    /// A turn of a script.
    Turn,
    /// A fault of a turn.
    Fault,
    /// HTTP 400: no script matched the prompt.
    Unmatched,
    /// HTTP 400: the script has no further turn.
    PastEnd,
    /// HTTP 4xx: not a request that this server knows.
    Refused,
}

/// One request.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// What it was answered with.
    pub answer: Answer,
    /// The path that was asked for.
    pub path: String,
    /// The script that matched.
    pub script: Option<String>,
    /// The turn of the script, from 0.
    pub turn: Option<usize>,
    /// The conversation: the client's `x-session-id`, else a name made from its beginning.
    pub conversation: Option<String>,
    /// The working directory that the agent told.
    pub directory: Option<String>,
    /// The model that was asked for.
    pub model: Option<String>,
    /// The body, if the scenario says `record_bodies`.
    pub body: Option<Value>,
}

/// All that is remembered between requests.
#[derive(Debug, Default)]
pub(super) struct Recording {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: Vec<RecordedRequest>,
    calls: HashMap<(String, usize, String, usize), u32>,
}

impl Recording {
    pub(super) fn add(&self, request: RecordedRequest) {
        self.lock().requests.push(request);
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    /// Counts a call of a turn in a conversation, and returns how many there were before.
    pub(super) fn count_call(&self, next: &Next<'_>, conversation: &str) -> u32 {
        let key = (
            next.script.name.clone(),
            next.number,
            conversation.to_owned(),
            next.position,
        );
        let mut inner = self.lock();
        let calls = inner.calls.entry(key).or_default();
        *calls += 1;
        *calls - 1
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
