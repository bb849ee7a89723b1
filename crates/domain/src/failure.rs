//! Why a task failed: a closed vocabulary, each word with two properties.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, retry: $retry:literal, resume: $resume:literal;)*) => {
        /// A typed reason of failure. The word is part of the stored contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FailureReason {
            $($(#[$doc])* $name,)*
        }

        impl FailureReason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stored word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// Whether trying again, unchanged, has a chance; auto-retry asks this.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retry),* }
            }

            /// Whether the same agent conversation may be continued.
            #[must_use]
            pub const fn is_resumable(self) -> bool {
                match self { $(Self::$name => $resume),* }
            }
        }
    };
}

reasons! {
    /// The agent said itself that it failed (`.error` sentinel, or a driver's own report).
    AgentError = "agent_error", retry: true, resume: true;
    /// The agent's process ended with a non-zero code.
    ProcessFailure = "process_failure", retry: true, resume: true;
    /// The agent's process was ended by a signal that Crewboss did not send.
    ProcessKilled = "process_killed", retry: true, resume: true;
    /// The process ended without the completion that its agent is configured to give.
    NoCompletion = "no_completion", retry: true, resume: true;
    /// The deadline passed.
    Timeout = "timeout", retry: true, resume: true;
    /// A gate failed or could not be run.
    GateFailed = "gate_failed", retry: true, resume: true;
    /// The agent ended well but did nothing.
    NoEffect = "no_effect", retry: true, resume: true;
    /// The agent's program was not found or could not be started.
    MissingExecutable = "missing_executable", retry: false, resume: false;
    /// The agent, its model or its provider is not configured.
    MissingConfig = "missing_config", retry: false, resume: false;
    /// The provider refused the credentials.
    ProviderAuth = "provider_auth_or_access", retry: false, resume: true;
    /// The provider's quota is used up.
    ProviderQuota = "provider_quota_limit", retry: true, resume: true;
    /// The provider was overloaded or limited the rate beyond the agent's own retries.
    ProviderCapacity = "provider_capacity_or_rate_limit", retry: true, resume: true;
    /// The provider answered with a server error beyond the agent's own retries.
    ProviderServer = "provider_server_error", retry: true, resume: true;
    /// The provider could not be reached or the connection broke.
    ProviderNetwork = "provider_network", retry: true, resume: true;
    /// The provider refused the request itself: the conversation is poisoned.
    ApiInvalidRequest = "api_invalid_request", retry: true, resume: false;
    /// The model does not exist or is not available.
    ModelUnavailable = "model_not_found_or_unavailable", retry: false, resume: true;
    /// The conversation outgrew the model's context.
    ContextOverflow = "context_overflow", retry: true, resume: false;
    /// The agent's output could not be understood.
    UnparseableOutput = "empty_or_unparseable_output", retry: true, resume: false;
    /// The model stopped at its output limit.
    OutputLimit = "output_limit", retry: true, resume: true;
    /// The agent stopped because a permission it asked for was refused.
    PermissionDenied = "permission_denied", retry: false, resume: true;
    /// The agent repeated itself until it was stopped.
    LoopDetected = "loop_detected", retry: true, resume: false;
    /// A dependency failed and will not succeed.
    DependencyFailed = "dependency_failed", retry: false, resume: false;
    /// The work of two dependencies could not be merged.
    DependencyConflict = "dependency_conflict", retry: false, resume: false;
    /// The workspace could not be prepared or its work could not be committed.
    WorkspaceFailed = "workspace_failed", retry: true, resume: false;
    /// The disk was full.
    DiskFull = "disk_full", retry: true, resume: true;
    /// Runner or machine failed more often than `requeues_max` allows.
    Infrastructure = "infrastructure", retry: true, resume: true;
    /// The recorded process is another program's by now (imported tasks).
    StalePid = "stale_pid", retry: true, resume: false;
    /// A holder of an external task reported failure, or an operator did.
    Reported = "reported", retry: true, resume: true;
    /// An older system recorded a failure in words that have no counterpart here.
    Imported = "imported", retry: true, resume: false;
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as it is stored: the typed reason, one sentence for people, and what else is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The typed reason.
    pub reason: FailureReason,
    /// One line for people.
    pub message: String,
    /// Everything longer: the agent's details, a gate's last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

impl Failure {
    /// A failure without details.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            details: None,
        }
    }

    /// The same failure with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }
}
