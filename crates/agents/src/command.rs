//! The `command` driver: any program, judged by its exit code or by sentinel files.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use app::ports::agents::{
    AgentCommand, AgentRequest, Driver, EntryBody, OutputParser, ProtocolReport, Stream,
    TranscriptEntry,
};
use domain::{
    agent::PromptBy,
    failure::{Failure, FailureReason},
    process::Exit,
};

use crate::{
    environment::Environment,
    prompt,
    template::{Values, fill_known},
};

/// The kernel's limit for one argument (`MAX_ARG_STRLEN`), its closing NUL included.
const ARGUMENT_BYTES_MAX: usize = 128 * 1024;

/// The prompt's file in the session's folder.
const PROMPT_FILE: &str = "prompt.txt";

/// Drives any program.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandDriver;

impl Driver for CommandDriver {
    fn prepare(&self, request: &AgentRequest) -> Result<AgentCommand, Failure> {
        let config = &request.config;
        let program = config.command.clone().ok_or_else(|| {
            let message = format!("agents.{}.command is not set", request.agent);
            Failure::new(FailureReason::MissingConfig, message)
        })?;
        let prompt = prompt::of(request);
        let by = config.prompt_by();
        let prompt_file = request.session_dir.join(PROMPT_FILE);
        let stdin = match by {
            PromptBy::Argv => {
                fits_in_an_argument(&prompt.text)?;
                Vec::new()
            }
            PromptBy::Stdin => prompt.text.clone().into_bytes(),
            PromptBy::Plan => Vec::new(),
            PromptBy::File => {
                write_private(&prompt_file, prompt.text.as_bytes())?;
                Vec::new()
            }
        };
        let args = arguments(request, by, &prompt.text, &prompt_file.to_string_lossy())?;
        let mut environment =
            Environment::allowed(&request.environment, config.env.iter().map(String::as_str));
        add_own(&mut environment, request);
        for (name, value) in &config.env_set {
            environment.set(name, value);
        }
        Ok(AgentCommand {
            program,
            args,
            secrets: environment.secrets(),
            env: environment.into_pairs(),
            stdin,
            directory: directory(request),
            warnings: prompt.warnings,
        })
    }

    fn parser(&self) -> Box<dyn OutputParser> {
        Box::new(PlainText::default())
    }
}

/// The agent's working directory.
pub(crate) fn directory(request: &AgentRequest) -> std::path::PathBuf {
    match &request.config.directory {
        Some(below) => request.workspace.join(below),
        None => request.workspace.clone(),
    }
}

/// The variables by which an agent, and what it calls, can find its own task.
pub(crate) fn add_own(environment: &mut Environment, request: &AgentRequest) {
    let absolute = |path: &Path| directory(request).join(path).to_string_lossy().into_owned();
    environment.set("CREWBOSS_TASK", request.task.to_string());
    environment.set("CREWBOSS_PLAN_FILE", absolute(&request.plan_file));
    environment.set("CREWBOSS_DONE_FILE", absolute(&request.sentinels.done));
    environment.set("CREWBOSS_ERROR_FILE", absolute(&request.sentinels.error));
}

/// The configured arguments with placeholders filled; the prompt comes last if none names it.
pub(crate) fn arguments(
    request: &AgentRequest,
    by: PromptBy,
    prompt: &str,
    prompt_file: &str,
) -> Result<Vec<String>, Failure> {
    let task = request.task.to_string();
    let plan = request.plan_file.to_string_lossy();
    let log = request.log_file.to_string_lossy();
    let values: &Values<'_> = &[
        ("prompt", prompt),
        ("promptFile", prompt_file),
        ("taskId", &task),
        ("agent", request.agent.as_str()),
        ("planFile", &plan),
        ("logFile", &log),
    ];
    let own = match by {
        PromptBy::Argv => Some(("{prompt}", prompt)),
        PromptBy::File => Some(("{promptFile}", prompt_file)),
        PromptBy::Stdin | PromptBy::Plan => None,
    };
    let configured = &request.config.args;
    let mut args: Vec<String> = configured
        .iter()
        .map(|arg| fill_known(arg, values))
        .collect();
    if let Some((placeholder, value)) = own
        && !configured.iter().any(|arg| arg.contains(placeholder))
    {
        args.push(value.to_owned());
    }
    for arg in &args {
        fits_in_an_argument(arg)?;
    }
    Ok(args)
}

fn fits_in_an_argument(text: &str) -> Result<(), Failure> {
    if text.contains('\0') {
        return Err(Failure::new(
            FailureReason::MissingConfig,
            "the prompt holds a NUL byte, which cannot be an argument; set prompt = \"stdin\"",
        ));
    }
    if text.len() >= ARGUMENT_BYTES_MAX {
        let message = format!(
            "an argument of {} bytes is longer than the system takes (128 KiB); set prompt = \"stdin\" or \"file\"",
            text.len()
        );
        return Err(Failure::new(FailureReason::MissingConfig, message));
    }
    Ok(())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|error| {
            let reason = if error.kind() == std::io::ErrorKind::StorageFull {
                FailureReason::DiskFull
            } else {
                FailureReason::WorkspaceFailed
            };
            let message = format!("cannot write {}", path.display());
            Failure::new(reason, message).with_details(error.to_string())
        })
}

/// What the last line of an agent's output is cut to.
const LAST_TEXT_MAX: usize = 4 * 1024;

/// A parser for output without a protocol: every line is kept as it is.
#[derive(Debug, Default)]
pub(crate) struct PlainText {
    last: Option<String>,
}

impl OutputParser for PlainText {
    fn line(&mut self, stream: Stream, line: &[u8]) -> Vec<TranscriptEntry> {
        let text = String::from_utf8_lossy(line).into_owned();
        if stream == Stream::Stdout && !text.trim().is_empty() {
            self.last = Some(crate::cut(&text, LAST_TEXT_MAX).to_owned());
        }
        vec![TranscriptEntry {
            turn: 0,
            body: EntryBody::Raw { stream },
            raw: Some(text),
        }]
    }

    fn must_stop(&self) -> Option<&Failure> {
        None
    }

    fn finish(&mut self, _exit: Option<Exit>) -> ProtocolReport {
        ProtocolReport {
            last_text: self.last.take(),
            ..ProtocolReport::default()
        }
    }
}
