//! Agents: how a driver turns a task into a command line, and what it makes of the output.
//!
//! A driver starts nothing. The runner starts what [`Driver::prepare`] returns, feeds every line
//! of both streams to the parser, and asks it for a report once the process has ended.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{
    agent::{AgentConfig, AgentName, DriverKind},
    completion::ProtocolVerdict,
    failure::Failure,
    id::{SessionId, TaskId},
    process::Exit,
    time::Timestamp,
    usage::Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::checkpoints::KeptConversation;

/// Where the agent may leave its sentinel files. Shown to it exactly as given, so they may be
/// relative to its working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelPaths {
    /// Created empty on success.
    pub done: PathBuf,
    /// Written on failure.
    pub error: PathBuf,
    /// Created by an agent that gives up its task.
    pub cancelled: PathBuf,
    /// Created by an agent, or its wrapper, that ran out of time.
    pub timeout: PathBuf,
}

/// An earlier conversation to go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The agent's own id of it.
    pub id: String,
    /// The private folder of the session that had it, where the agent keeps its memory there.
    pub session_dir: Option<PathBuf>,
}

/// A session about to start.
#[derive(Debug, Clone)]
pub struct AgentRequest {
    /// The task.
    pub task: TaskId,
    /// The session.
    pub session: SessionId,
    /// The user's text.
    pub prompt: String,
    /// The agent's name.
    pub agent: AgentName,
    /// Its configuration in force.
    pub config: AgentConfig,
    /// The root of the session's workspace; the agent works there or below.
    pub workspace: PathBuf,
    /// The session's private folder; exists, mode 0700. The only place a driver writes to.
    pub session_dir: PathBuf,
    /// The root of the project, where untracked agents and configuration are.
    pub project_root: PathBuf,
    /// The task's plan.
    pub plan_file: PathBuf,
    /// The session's log.
    pub log_file: PathBuf,
    /// The task's sentinel files.
    pub sentinels: SentinelPaths,
    /// The user's whole environment, of which the agent sees what is allowed.
    pub environment: Vec<(String, String)>,
    /// A conversation to continue.
    pub continues: Option<Conversation>,
}

/// What the runner starts.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentCommand {
    /// A path, or a name that is looked up in the `PATH` of `env`.
    pub program: String,
    /// Arguments, given to the program as they are.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Written to standard input, which is then closed.
    pub stdin: Vec<u8>,
    /// Working directory.
    pub directory: PathBuf,
    /// Credentials that the agent can see: to be masked in whatever it prints.
    pub secrets: Vec<String>,
    /// What the user should know: a template that was left out, a file that was skipped.
    pub warnings: Vec<String>,
}

/// Without environment, secrets and prompt.
impl std::fmt::Debug for AgentCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("AgentCommand")
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("env", &names)
            .field("stdin_bytes", &self.stdin.len())
            .field("directory", &self.directory)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It is new.
    Added,
    /// It was there and was written.
    Modified,
    /// It was removed.
    Deleted,
}

/// One item of an agent's own plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanItem {
    /// What is to be done.
    pub text: String,
    /// The agent's word for how far it is.
    pub status: String,
}

/// One thing that happened in a session, in the words of no particular agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EntryBody {
    /// The agent says.
    Message {
        /// What it says.
        text: String,
    },
    /// The agent thinks.
    Thought {
        /// What it thinks.
        text: String,
    },
    /// A tool is called.
    ToolCall {
        /// Joins call and result.
        call: String,
        /// The tool.
        tool: String,
        /// Its arguments.
        input: Value,
    },
    /// A tool has answered.
    ToolResult {
        /// Joins call and result.
        call: String,
        /// The tool.
        tool: String,
        /// Whether it succeeded.
        ok: bool,
        /// What it answered, cut to 16 KiB.
        output: String,
    },
    /// The agent changed a file by a tool of its own.
    FileChange {
        /// The file, as the agent names it.
        path: String,
        /// What happened to it.
        change: FileChange,
    },
    /// The agent's plan, whole.
    Plan {
        /// Its items, in order.
        items: Vec<PlanItem>,
    },
    /// A permission was asked for.
    Permission {
        /// Its name.
        permission: String,
        /// What for.
        pattern: String,
        /// The answer.
        granted: bool,
    },
    /// What one step used.
    Usage(Usage),
    /// Something went wrong.
    Error {
        /// The agent's name for it.
        name: String,
        /// What it says.
        message: String,
    },
    /// A line that is nothing of the above.
    Raw {
        /// Where it came from.
        stream: Stream,
    },
}

/// An entry of the transcript before the runner gives it its number and time.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptEntry {
    /// The agent's turn, from 1; 0 before the first.
    pub turn: u32,
    /// What happened.
    pub body: EntryBody,
    /// The agent's own line, on the first of the entries that it gave rise to.
    pub raw: Option<String>,
}

/// The version of a transcript line.
pub const TRANSCRIPT_VERSION: u32 = 1;

/// A line of the transcript: `{v, seq, at, turn, kind, …, raw}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TranscriptRecord {
    /// [`TRANSCRIPT_VERSION`].
    pub v: u32,
    /// Its number in the session, from 1.
    pub seq: u64,
    /// When the line was read.
    pub at: Timestamp,
    /// The agent's turn.
    pub turn: u32,
    /// What happened.
    #[serde(flatten)]
    pub body: EntryBody,
    /// The agent's own line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

impl TranscriptEntry {
    /// The line to be stored.
    #[must_use]
    pub fn numbered(self, seq: u64, at: Timestamp) -> TranscriptRecord {
        let Self { turn, body, raw } = self;
        TranscriptRecord {
            v: TRANSCRIPT_VERSION,
            seq,
            at,
            turn,
            body,
            raw,
        }
    }
}

/// What a parser knows at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProtocolReport {
    /// The protocol's verdict; `None` for agents without a protocol.
    pub verdict: Option<ProtocolVerdict>,
    /// Everything that was used, as far as the agent says.
    pub usage: Usage,
    /// The agent's own id of the conversation, by which it is continued.
    pub agent_session: Option<String>,
    /// Completed tool calls.
    pub tool_calls: u64,
    /// Files that the agent's own tools changed, with the last change of each.
    pub files: BTreeMap<String, FileChange>,
    /// The agent's last words, cut to 4 KiB.
    pub last_text: Option<String>,
}

/// Makes entries of lines. One parser for one process.
pub trait OutputParser: Send + std::fmt::Debug {
    /// Takes one line without its newline. Never fails: what is not understood is
    /// [`EntryBody::Raw`].
    fn line(&mut self, stream: Stream, line: &[u8]) -> Vec<TranscriptEntry>;

    /// Why the agent must be ended now: it is not the one that was asked for. The same failure is
    /// then the report's verdict.
    fn must_stop(&self) -> Option<&Failure>;

    /// The report, after the last line of both streams.
    fn finish(&mut self, exit: Option<Exit>) -> ProtocolReport;
}

/// Knows one way of driving agents.
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// The command line, environment and input of a session. Reads configuration, writes to the
    /// session's folder alone, starts nothing.
    ///
    /// # Errors
    /// The failure with which the task ends: nothing can be started.
    fn prepare(&self, request: &AgentRequest) -> Result<AgentCommand, Failure>;

    /// Copies into `folder` what another session needs to go on with the conversation in
    /// `session_dir`, as it is at this moment, whether or not the agent is at work. `known` is the
    /// conversation, where its session has ended. `None` where there is nothing to go on with.
    ///
    /// # Errors
    /// Why it cannot be kept; nothing of it is left in the folder then.
    fn keep_conversation(
        &self,
        session_dir: &Path,
        known: Option<&str>,
        folder: &Path,
    ) -> Result<Option<KeptConversation>, String> {
        let _ = (session_dir, known, folder);
        Ok(None)
    }

    /// Whether another session of this driver can go on with the conversation in `session_dir`, whose
    /// session has ended. `known` is its name, where that session left one.
    ///
    /// # Errors
    /// Why not.
    fn resumes(&self, session_dir: &Path, known: Option<&str>) -> Result<(), String> {
        let _ = (session_dir, known);
        Err("its agent keeps no conversation that can be gone on with".to_owned())
    }

    /// A parser for a process that was started from [`Driver::prepare`].
    fn parser(&self) -> Box<dyn OutputParser>;
}

/// Where an agent's configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentSource {
    /// `[agents.NAME]`.
    Config,
    /// An `agent-config.json`.
    File(PathBuf),
    /// Nowhere: the default for unlisted agents.
    Unlisted,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub struct ResolvedAgent {
    /// The configuration in force.
    pub config: AgentConfig,
    /// Where it came from.
    pub source: AgentSource,
}

/// Finds agents by name.
pub trait Agents: Send + Sync + std::fmt::Debug {
    /// The configuration of a name. Every name stands for something.
    fn resolve(&self, name: &AgentName) -> ResolvedAgent;

    /// The driver of a kind.
    fn driver(&self, kind: DriverKind) -> Arc<dyn Driver>;

    /// Every agent that is configured, by name.
    fn listed(&self) -> Vec<(AgentName, ResolvedAgent)>;

    /// What was wrong with the files that were read.
    fn warnings(&self) -> &[String];
}
