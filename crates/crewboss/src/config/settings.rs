//! Every key with a default: its type, what it may be, and what it means. The one table from which
//! the configuration, `config show`, the commented file and the reference are made.

use std::time::Duration;

use app::checkpoints::Retention;
use domain::{retry::Backoff, task::Limits as TaskLimits, workspace::WorkspaceMode};
use runner::CheckpointTimes;

use super::value::{Raw, Setting};

/// A key of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

#[expect(clippy::unnecessary_wraps, reason = "every check has one signature")]
fn any(_: &Raw) -> Result<(), String> {
    Ok(())
}

fn positive(raw: &Raw) -> Result<(), String> {
    match raw {
        Raw::Int(number) if *number < 1 => Err(format!("{number} is too small: at least 1")),
        Raw::Int(_) | Raw::Bool(_) | Raw::Text(_) | Raw::Other(_) => Ok(()),
    }
}

fn absolute(raw: &Raw) -> Result<(), String> {
    match raw {
        Raw::Text(path) if !path.is_empty() && !path.starts_with('/') => Err(format!(
            "\"{}\" is no absolute path: expected one that begins with /",
            path.escape_debug()
        )),
        Raw::Int(_) | Raw::Bool(_) | Raw::Text(_) | Raw::Other(_) => Ok(()),
    }
}

fn pooler(raw: &Raw) -> Result<(), String> {
    match raw {
        Raw::Text(word) if !["none", "transaction"].contains(&word.as_str()) => Err(format!(
            "\"{}\" is no pooler: expected none or transaction",
            word.escape_debug()
        )),
        Raw::Int(_) | Raw::Bool(_) | Raw::Text(_) | Raw::Other(_) => Ok(()),
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $section:ident: $Section:ident {
        $($key:ident: $type:ty = $default:expr, $check:ident, $meaning:literal;)*
    })*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $Section {
            $(#[doc = $meaning] pub $key: $type,)*
        }

        impl Default for $Section {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        })*

        /// Every section.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct Settings {
            $($(#[$doc])* pub $section: $Section,)*
        }

        /// Every key, section by section.
        pub(crate) const KEYS: &[Key] = &[$($(Key {
            name: concat!(stringify!($section), ".", stringify!($key)),
            meaning: $meaning,
        },)*)*];

        impl Settings {
            /// Sets a key, or says what would be right.
            pub(crate) fn assign(&mut self, name: &str, raw: &Raw) -> Result<(), String> {
                $($(if name == concat!(stringify!($section), ".", stringify!($key)) {
                    $check(raw)?;
                    self.$section.$key = <$type as Setting>::read(raw)?;
                    return Ok(());
                })*)*
                Err("there is no such key".to_owned())
            }

            /// A key's value; none where it is not set or not a key.
            pub(crate) fn value(&self, name: &str) -> Option<Raw> {
                $($(if name == concat!(stringify!($section), ".", stringify!($key)) {
                    return self.$section.$key.to_raw();
                })*)*
                None
            }
        }
    };
}

settings! {
    /// How tasks are run.
    run: Run {
        parallel: u32 = 3, positive, "Tasks that `run --parallel` without a number runs at once.";
        timeout_seconds: Option<u32> = None, positive, "Seconds that a task may take where neither it nor its agent says.";
        timeout_warning_seconds: u32 = 60, any, "Seconds before its deadline at which a task is shown as near it.";
        retries_max: u32 = 3, any, "Retries that a task may have.";
        auto_retry: bool = false, any, "Whether failed tasks are tried again by themselves.";
        backoff_base_seconds: u64 = 2, positive, "Seconds before the first automatic retry; doubled before each further one.";
        backoff_cap_seconds: u64 = 300, positive, "Seconds between automatic retries at most.";
        cancel_grace_seconds: u32 = 3, any, "Seconds between TERM and KILL when a task is cancelled.";
        timeout_grace_seconds: u32 = 5, any, "Seconds between TERM and KILL when a task's time is up.";
        sentinel_grace_seconds: u32 = 2, any, "Seconds that an agent has to end by itself once it has left a sentinel file.";
        ageing_seconds: u64 = 600, any, "Seconds of waiting that are worth one more priority; 0 switches ageing off.";
        requeues_max: u32 = 3, any, "Times that a task whose session was lost goes back to the queue before it fails.";
        lease_seconds: u64 = 30, positive, "Seconds that a session may stay silent before it is taken for lost.";
        session_max_seconds: Option<u32> = None, positive, "Seconds that a session may take at most, whatever its task or its agent says, and whatever is added.";
        require_diff: bool = false, any, "Whether a task that changes no file has failed.";
    }
    /// Tasks whose agents attach from outside.
    external: External {
        lease_seconds: u64 = 3_600, positive, "Seconds that an agent outside may stay silent before its task goes back to the queue.";
    }
    /// Limits on what is stored and shown.
    limits: Limits {
        queue_max: u64 = 10_000, positive, "Tasks of a project that have not ended, at most.";
        queue_refuse: bool = true, any, "Whether a task over `queue_max` is refused (true) or only warned about.";
        prompt_bytes_max: u64 = 1_048_576, positive, "Bytes of a prompt at most: more belongs into a file of the project.";
        log_file_bytes: u64 = 50_000_000, positive, "Bytes after which a session's log is rotated.";
        log_files_kept: u32 = 5, positive, "Rotated logs of a session that are kept.";
        log_bytes_max: u64 = 500_000_000, positive, "Bytes that a session may log in all; what comes after is dropped, and the log says so.";
        transcript_bytes_max: u64 = 500_000_000, positive, "The same for its transcript.";
        history_file_bytes: u64 = 50_000_000, positive, "Bytes after which a task's `logs.jsonl` goes on in a new file.";
        history_file_hours: u64 = 24, positive, "Hours after its first entry at which it does.";
        history_file_entries: u64 = 60_000, positive, "Entries after which it does.";
        history_files_kept: u32 = 5, positive, "Full files of a `logs.jsonl` that are kept; one that holds events of the task stays in any case.";
        line_bytes_max: u64 = 1_048_576, positive, "Bytes of one line of an agent's output; a longer one is cut.";
        diff_bytes_max: u64 = 10_485_760, positive, "Bytes of a patch that `diff` shows at most.";
        status_tasks: u32 = 50, positive, "Tasks that `status` shows of each kind at most.";
    }
    /// Where agents work.
    workspace: Workspace {
        mode: Option<WorkspaceMode> = None, any, "`worktree`, `in-place` or `folder`; by default a worktree in a git repository, else a folder.";
        target: Option<String> = None, any, "The branch that work starts from and is merged into; by default the one checked out.";
        keep: bool = false, any, "Whether worktrees stay after their work is on a branch or salvaged.";
    }
    /// Keeping what tasks have reached.
    checkpoint: Checkpoint {
        every_minutes: Option<u32> = None, positive, "Minutes after which what a task at work has reached is kept, again and again; not by itself where it is not set.";
        every_turns: Option<u32> = None, positive, "Turns of an agent after which it is kept; for agents that say when a turn begins, as OpenCode does.";
        on_shutdown: bool = true, any, "Whether it is kept when a runner is told to go down, which the task then goes back to, or the daemon is.";
        before_merge: bool = true, any, "Whether what a task left is kept before its work is merged.";
        keep_last: u32 = 10, positive, "Checkpoints of a task that are kept, the newest first.";
        keep_daily: u32 = 7, any, "Days of which a task's last checkpoint is kept too.";
        keep_weekly: u32 = 4, any, "Weeks of which a task's last checkpoint is kept too.";
        max_bytes: u64 = 5_000_000_000, positive, "Bytes of all checkpoints of a project; above it the oldest go first, the newest of a task never.";
    }
    /// Moving old tasks out of the lists.
    archive: Archive {
        enabled: bool = false, any, "Whether old tasks are archived without being asked to.";
        max_completed_age_days: u32 = 7, any, "Days after which a completed task may be archived.";
        max_failed_age_days: u32 = 14, any, "Days after which a failed or cancelled task may be archived.";
    }
    /// Deleted tasks.
    deletion: Deletion {
        purge: bool = true, any, "Whether the daemon purges deleted tasks by itself.";
        keep_days: u32 = 30, any, "Days after which a deleted task is purged, by the daemon and by `task purge`.";
    }
    /// Signed heads of the log.
    audit: Audit {
        heads: Option<String> = None, absolute, "A file in another place, best on another machine's disk, that gets every signed head too; for your own configuration only.";
        head_events: u64 = 100, positive, "Events after which the log's head is signed: so many could be cut off its end unseen; each head costs one fsync.";
        head_minutes: u64 = 15, positive, "Minutes after which it is signed if anything was logged since.";
    }
    /// Where everything is kept.
    store: Store {
        url: Option<String> = None, any, "A PostgreSQL database, `postgres://USER:PASSWORD@HOST/NAME`, or `file:PATH` of a file that holds such an address; by default a file of SQLite. `CREWBOSS_STORE` comes before it.";
        pooler: String = "none".to_owned(), pooler, "`transaction` where a pooler that shares connections stands before the server, else `none`.";
        migrate: bool = true, any, "Whether a store in PostgreSQL is brought up to the form of a newer program by itself.";
    }
    /// The scheduler that stays.
    daemon: Daemon {
        max_concurrent: u32 = 3, positive, "Tasks of a project that the daemon runs at once; for `serve`, over all nodes and only where it is set.";
        interval_seconds: u32 = 5, positive, "Seconds between its status lines and safety checks; work starts on events, not on this.";
    }
    /// What joins checkouts of a project.
    project: Project {
        remote: Option<String> = None, any, "The repository, a remote's name or an address, that joins this project's checkouts on several nodes; finished and salvaged work is pushed to it.";
    }
    /// A node among others: `crewboss serve`.
    serve: Serve {
        max_sessions: u32 = 25, positive, "Sessions that run at once on all nodes of the store together; also from `MAX_CONCURRENT_SESSIONS`.";
        capacity: Option<u32> = None, positive, "Sessions that this node carries at once; by default `max_sessions`.";
        session_timeout_seconds: u32 = 3_600, positive, "Seconds that a session started by this node may take, whatever its task says; also from `SESSION_TIMEOUT_SECONDS`.";
        name: Option<String> = None, any, "What people call this node; by default the machine's name.";
        labels: Option<String> = None, any, "What people say of this node: words with commas between them.";
        lease_seconds: u64 = 10, positive, "Seconds that a node may stay silent before it is declared lost.";
        drain_seconds: u32 = 300, any, "Seconds that a node's sessions have to end once it is told to end; then they go on without it.";
    }
}

impl Run {
    /// The wait before automatic retries.
    #[must_use]
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            base_millis: self.backoff_base_seconds.saturating_mul(1_000),
            cap_millis: self.backoff_cap_seconds.saturating_mul(1_000),
        }
    }

    /// What a task may take where it does not say.
    #[must_use]
    pub(crate) fn task_limits(&self) -> TaskLimits {
        TaskLimits {
            timeout_seconds: self.timeout_seconds,
            timeout_warning_seconds: self.timeout_warning_seconds,
            retries_max: self.retries_max,
            auto_retry: self.auto_retry,
        }
    }
}

impl Checkpoint {
    /// Which checkpoints stay.
    #[must_use]
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            keep_last: self.keep_last,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            max_bytes: self.max_bytes,
        }
    }

    /// When one is made by itself.
    #[must_use]
    pub(crate) fn times(&self) -> CheckpointTimes {
        CheckpointTimes {
            every: self
                .every_minutes
                .map(|minutes| Duration::from_secs(60 * u64::from(minutes))),
            every_turns: self.every_turns,
            on_shutdown: self.on_shutdown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_takes_its_own_default_back() {
        let defaults = Settings::default();
        let mut settings = Settings::default();
        for key in KEYS {
            if let Some(raw) = defaults.value(key.name) {
                settings.assign(key.name, &raw).unwrap();
            }
            assert!(
                settings.assign(key.name, &Raw::Other("table")).is_err(),
                "{}",
                key.name
            );
        }
        assert_eq!(settings, defaults);
    }

    #[test]
    fn zero_is_refused_where_it_means_nothing() {
        let mut settings = Settings::default();
        assert!(settings.assign("run.parallel", &Raw::Int(0)).is_err());
        assert!(settings.assign("run.parallel", &Raw::Int(-1)).is_err());
        assert!(settings.assign("run.nothing", &Raw::Int(1)).is_err());
        assert!(settings.assign("run.ageing_seconds", &Raw::Int(0)).is_ok());
    }
}
