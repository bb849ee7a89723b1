//! A task file as a task to be taken over.

use std::collections::BTreeMap;

use app::command::ImportedTask;
use domain::{
    failure::{Failure, FailureReason},
    id::TaskId,
    task::{Limits, Priority, TaskState},
};

use crate::document::{Document, Word};

/// Metadata: when its agent was started.
pub(crate) const STARTED_AT: &str = "imported.startedAt";
/// Metadata: keys of other tools, as JSON.
const EXTRA: &str = "imported.extra";
/// Metadata: the retry history, as JSON.
const HISTORY: &str = "imported.retryHistory";
/// Metadata: the task that it tries again, also where that one is not here.
const RETRY_OF: &str = "imported.retryOf";
/// Metadata: from which folder.
const FROM: &str = "imported.from";
/// How the details of a failure begin that name a time.
pub(crate) const DETAILS_TIMED_OUT: &str = "timed out at ";

/// Why a task file cannot become a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its agent's name could be a path or an option.
    #[error("its agent: {0}")]
    Agent(String),
    /// It is running, and that is for the caller to find out about first.
    #[error("it is running")]
    Running,
}

/// The task to be taken over. `from` names the folder for people.
///
/// # Errors
/// [`Refused`] where no task can be made of it.
pub fn imported(
    document: &Document,
    owner: &str,
    from: &str,
    is_archived: bool,
) -> Result<ImportedTask, Refused> {
    let agent = document
        .agent
        .parse()
        .map_err(|error: domain::agent::InvalidAgentName| Refused::Agent(error.to_string()))?;
    let at = document
        .completed_at
        .or(document.started_at)
        .unwrap_or(document.created_at);
    let state = match document.status {
        Word::Pending => TaskState::Pending,
        Word::Running => return Err(Refused::Running),
        Word::Complete => TaskState::Completed { at },
        Word::Cancelled => TaskState::Cancelled { at },
        Word::Failed => TaskState::Failed {
            failure: failure(document),
            at,
        },
    };
    Ok(ImportedTask {
        source: document.id,
        agent,
        prompt: document.prompt.clone(),
        owner: owner.to_owned(),
        metadata: metadata(document, from),
        priority: Priority::try_from(document.priority).unwrap_or_default(),
        limits: Limits {
            timeout_seconds: document.timeout,
            timeout_warning_seconds: document
                .timeout_warning
                .unwrap_or(Limits::default().timeout_warning_seconds),
            retries_max: document.retries_max,
            auto_retry: document.auto_retry,
        },
        depends_on: document.depends_on.clone(),
        retry_of: retry_of(document),
        retry_count: document.retry_count,
        state,
        created_at: document.created_at,
        is_archived,
    })
}

/// The task before it: as the last entry of its history says, else its parent if it is the first.
fn retry_of(document: &Document) -> Option<TaskId> {
    let last = document
        .retry_history
        .last()
        .and_then(|attempt| attempt.retried_from);
    last.or_else(|| document.parent.filter(|_| document.retry_count == 1))
        .filter(|of| *of != document.id)
}

fn failure(document: &Document) -> Failure {
    let message = document.error_message.as_deref().unwrap_or("Unknown error");
    let timed_out = document.timed_out_at.is_some()
        || message.starts_with("Task timed out")
        || message == "Manually timed out";
    let reason = if timed_out {
        FailureReason::Timeout
    } else if message.starts_with("Process exited with code ") {
        FailureReason::ProcessFailure
    } else if message == "Process terminated unexpectedly" {
        FailureReason::NoCompletion
    } else {
        FailureReason::Imported
    };
    let failure = Failure::new(reason, message);
    match document.timed_out_at.filter(|_| timed_out) {
        Some(at) => failure.with_details(format!("{DETAILS_TIMED_OUT}{at}")),
        None => failure,
    }
}

fn metadata(document: &Document, from: &str) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(FROM.to_owned(), from.to_owned())]);
    let mut put = |key: &str, value: Option<String>| {
        metadata.extend(value.map(|value| (key.to_owned(), value)));
    };
    put(STARTED_AT, document.started_at.map(|at| at.to_string()));
    put(RETRY_OF, retry_of(document).map(|id| id.to_string()));
    let extra = (!document.extra.is_empty()).then(|| serde_json::to_string(&document.extra).ok());
    put(EXTRA, extra.flatten());
    if !document.retry_history.is_empty() {
        let history: Vec<serde_json::Value> = document
            .retry_history
            .iter()
            .map(crate::document::Attempt::render)
            .collect();
        put(HISTORY, serde_json::to_string(&history).ok());
    }
    metadata
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{layout::Layout, reading::read_in_zone};

    fn document(more: &str) -> Document {
        let json = format!(
            "{{\"taskId\":\"task_3\",\"agent\":\"coder\",\"prompt\":\"p\",\
             \"createdAt\":\"2025-12-01T00:00:00Z\",{more}}}"
        );
        let id = "task_3".parse().unwrap();
        read_in_zone(Layout::Gemini, id, json.as_bytes(), &TimeZone::UTC)
            .unwrap()
            .0
    }

    #[test]
    fn ends_and_links_are_kept() {
        let failed = document(
            "\"status\":\"failed\",\"errorMessage\":\"Task timed out after 3600 seconds\",\
             \"retryCount\":2,\"parentTaskId\":\"task_1\",\"x\":1,\"retryHistory\":[\
             {\"attempt\":1,\"error\":\"e\",\"retriedFrom\":\"task_1\"},\
             {\"attempt\":2,\"error\":\"f\",\"retriedFrom\":\"task_2\"}]",
        );
        let task = imported(&failed, "me", ".gemini/agents", false).unwrap();
        assert_eq!(task.retry_of, "task_2".parse().ok());
        assert_eq!(task.metadata[EXTRA], "{\"x\":1}");
        let TaskState::Failed { failure, .. } = task.state else {
            panic!("{:?}", task.state)
        };
        assert_eq!(failure.reason, FailureReason::Timeout);
    }

    #[test]
    fn a_running_task_and_a_wild_agent_are_refused() {
        let running = document("\"status\":\"running\"");
        assert_eq!(imported(&running, "me", "x", false), Err(Refused::Running));
        let wild = Document {
            agent: "../x y".to_owned(),
            ..document("\"status\":\"pending\"")
        };
        assert!(matches!(
            imported(&wild, "me", "x", false),
            Err(Refused::Agent(_))
        ));
    }
}
