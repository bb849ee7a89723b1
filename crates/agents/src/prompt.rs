//! The text an agent is given: the user's words alone, or wrapped where sentinels are expected.

use std::{fs, path::Path};

use app::ports::agents::AgentRequest;

use crate::template::{Values, fill_all};

/// A prompt template longer than this is a mistake.
const TEMPLATE_BYTES_MAX: u64 = 1024 * 1024;

/// The text, and what the user should know about how it came about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) warnings: Vec<String>,
}

/// The prompt of a session.
pub(crate) fn of(request: &AgentRequest) -> Prompt {
    if !request.config.completion_rule().uses_sentinels() {
        return Prompt {
            text: request.prompt.clone(),
            warnings: Vec::new(),
        };
    }
    match from_template(request) {
        Ok(Some(text)) => Prompt {
            text,
            warnings: Vec::new(),
        },
        Ok(None) => Prompt {
            text: basic(request),
            warnings: Vec::new(),
        },
        Err(problem) => {
            let agent = &request.agent;
            let warning = format!("agent {agent}: {problem}; the basic prompt is used");
            Prompt {
                text: basic(request),
                warnings: vec![warning],
            }
        }
    }
}

fn basic(request: &AgentRequest) -> String {
    let done = request.sentinels.done.display();
    format!(
        "Your Task ID is {}. Task: {}. Signal completion by creating {done}",
        request.task, request.prompt
    )
}

fn from_template(request: &AgentRequest) -> Result<Option<String>, String> {
    let (template, name) = match (
        &request.config.prompt_template_file,
        &request.config.prompt_template,
    ) {
        (Some(file), _) => {
            let path = request.project_root.join(file);
            (
                read_template(&path)?,
                format!("prompt template {}", path.display()),
            )
        }
        (None, Some(template)) => (template.clone(), "prompt template".to_owned()),
        (None, None) => return Ok(None),
    };
    let task = request.task.to_string();
    let plan = request.plan_file.to_string_lossy();
    let log = request.log_file.to_string_lossy();
    let values: &Values<'_> = &[
        ("taskId", &task),
        ("userPrompt", &request.prompt),
        ("planFile", &plan),
        ("logFile", &log),
        ("agent", request.agent.as_str()),
    ];
    fill_all(&template, values)
        .map(Some)
        .map_err(|error| format!("{name}: {error}"))
}

fn read_template(path: &Path) -> Result<String, String> {
    let refuse = |problem: &dyn std::fmt::Display| {
        format!(
            "prompt template {} cannot be read: {problem}",
            path.display()
        )
    };
    let size = fs::metadata(path).map_err(|error| refuse(&error))?.len();
    if size > TEMPLATE_BYTES_MAX {
        return Err(refuse(&"it is larger than 1 MiB"));
    }
    fs::read_to_string(path).map_err(|error| refuse(&error))
}
