//! The `git` command line, wrapped once: hermetic configuration, scrubbed environment, bounds.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place where git is started"
)]

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use app::ports::workspaces::WorkspaceError;
use domain::workspace::CommitId;

use crate::{
    identity::Identity,
    process::{self, Bounds, RunError},
};

/// The oldest git that has `merge-tree --write-tree`.
const OLDEST: (u32, u32) = (2, 38);
const OLDEST_TEXT: &str = "2.38";

/// How much output of a command is accepted unless it is said otherwise: the file list of a
/// repository with a million files.
const STDOUT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How much of a command line or of git's complaint an error shows.
const SHOWN_MAX: usize = 2000;

/// What git is told before every command, whatever the user's configuration says.
const FLAGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.quotePath=false",
    "core.filesRefLockTimeout=10000",
    "core.packedRefsTimeout=10000",
    "core.fsync=committed,reference",
    "core.fsyncMethod=batch",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "merge.verifySignatures=false",
    "merge.autoStash=false",
    "submodule.recurse=false",
    "worktree.useRelativePaths=false",
    "i18n.commitEncoding=UTF-8",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "color.ui=false",
];

/// What is added where the environment has no `git-lfs`: pointers stay pointers.
const WITHOUT_LFS: &[&str] = &[
    "filter.lfs.smudge=",
    "filter.lfs.clean=",
    "filter.lfs.process=",
    "filter.lfs.required=false",
];

/// What git is given in its environment, whatever the caller's says.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("LC_ALL", "C"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_ADVICE", "0"),
    ("GIT_EDITOR", "true"),
    ("GIT_SEQUENCE_EDITOR", "true"),
    ("GIT_ASKPASS", "true"),
    ("GIT_PAGER", "cat"),
    ("GIT_LFS_SKIP_DOWNLOAD_ERRORS", "1"),
];

/// What git inherits, and every name that ends in `_PROXY`: a filter that an agent configured sees
/// no secret that the agent was not given.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "TERM",
    "TMPDIR",
    "SSH_AUTH_SOCK",
];

/// What else git inherits, by how it begins.
const INHERITED_PREFIXES: &[&str] = &["LC_", "XDG_", "SSL_CERT_"];

/// How git is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program: a name to look up in the environment's `PATH`, or a path.
    pub program: OsString,
    /// Where worktrees, folders and locks are kept; outside of every repository.
    pub state_directory: PathBuf,
    /// The environment, of which git, and with it every filter, gets what it needs and no more.
    pub environment: Vec<(OsString, OsString)>,
    /// How long one git command may take, save the one that updates the user's checkout.
    pub timeout: Duration,
}

impl Settings {
    /// `git` from the environment's `PATH`, 120 s per command: a checkout of a large repository
    /// on a slow disk takes a minute.
    #[must_use]
    pub fn new(state_directory: PathBuf, environment: Vec<(OsString, OsString)>) -> Self {
        Self {
            program: "git".into(),
            state_directory,
            environment,
            timeout: Duration::from_mins(2),
        }
    }
}

/// The wrapped command line.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    settings: Settings,
    has_lfs: bool,
    overrides: Vec<(OsString, OsString)>,
    /// Where the configuration was read already.
    identity: Option<Identity>,
    version: OnceLock<(u32, u32)>,
}

impl Git {
    pub(crate) fn new(mut settings: Settings) -> Self {
        settings.environment.retain(|(name, _)| is_inherited(name));
        let has_lfs = has_program(&settings.environment, "git-lfs");
        Self {
            settings,
            has_lfs,
            overrides: Vec::new(),
            identity: None,
            version: OnceLock::new(),
        }
    }

    /// The same with settings that win over every file's. A key may hold any character.
    pub(crate) fn with_overrides(&self, overrides: Vec<(OsString, OsString)>) -> Self {
        Self {
            overrides,
            ..self.clone()
        }
    }

    /// The same where it is known who commits.
    pub(crate) fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Who commits, where that is known.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// A command that finds its repository from a directory.
    pub(crate) fn discover(&self, directory: &Path) -> Call<'_> {
        let mut command = Command::new(&self.settings.program);
        command
            .env_clear()
            .envs(self.settings.environment.iter().map(|(k, v)| (k, v)));
        command
            .envs(ENVIRONMENT.iter().copied())
            .current_dir(directory)
            .env("GIT_CONFIG_COUNT", self.overrides.len().to_string())
            .arg("--no-pager");
        for (number, (key, value)) in self.overrides.iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{number}"), key)
                .env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        let lfs = if self.has_lfs { &[] } else { WITHOUT_LFS };
        for flag in FLAGS.iter().chain(lfs) {
            command.args(["-c", flag]);
        }
        Call {
            git: self,
            command,
            label: OsString::from("git"),
            stdin: Vec::new(),
            timeout: Some(self.settings.timeout),
            stdout_bytes_max: STDOUT_BYTES_MAX,
            accepted: &[0],
        }
    }

    /// A command on objects and references alone.
    pub(crate) fn bare(&self, common: &Path) -> Call<'_> {
        self.discover(common).env("GIT_DIR", common)
    }

    /// A command in a worktree whose git directory is known: what the agent did to the `.git`
    /// file does not matter.
    pub(crate) fn worktree(&self, git_dir: &Path, work_tree: &Path) -> Call<'_> {
        self.discover(work_tree)
            .env("GIT_DIR", git_dir)
            .env("GIT_WORK_TREE", work_tree)
    }

    /// Refuses a git that is missing or too old; asks once.
    pub(crate) fn require(&self) -> Result<(), WorkspaceError> {
        if self.version.get().is_some() {
            return Ok(());
        }
        let output = self.discover(Path::new("/")).args(["version"]).run()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let found = parse_version(&text);
        match found {
            Some(version) if version >= OLDEST => {
                self.version.get_or_init(|| version);
                Ok(())
            }
            _ => Err(WorkspaceError::GitTooOld {
                found: text,
                needed: OLDEST_TEXT,
            }),
        }
    }
}

/// One git command being put together.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    git: &'a Git,
    command: Command,
    label: OsString,
    stdin: Vec<u8>,
    timeout: Option<Duration>,
    stdout_bytes_max: usize,
    accepted: &'static [i32],
}

/// What an accepted command printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) truncated: bool,
}

impl Call<'_> {
    /// A `-c` setting for this command; before any argument.
    pub(crate) fn config(mut self, setting: &OsStr) -> Self {
        self.command.arg("-c").arg(setting);
        self
    }

    pub(crate) fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, args: I) -> Self {
        for arg in args {
            self = self.arg(arg);
        }
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.label.push(" ");
        self.label.push(arg.as_ref());
        self.command.arg(arg);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Waits for its end however long that takes.
    pub(crate) fn unbounded(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// Output beyond this is cut instead of refused; the caller looks at `truncated`.
    pub(crate) fn cut_at(mut self, bytes_max: usize) -> Self {
        self.stdout_bytes_max = bytes_max;
        self
    }

    /// The exit codes that are answers; 0 alone unless it is said here.
    pub(crate) fn accept(mut self, codes: &'static [i32]) -> Self {
        self.accepted = codes;
        self
    }

    pub(crate) fn run(mut self) -> Result<Output, WorkspaceError> {
        let bounds = Bounds {
            stdin: &self.stdin,
            timeout: self.timeout,
            stdout_bytes_max: self.stdout_bytes_max,
        };
        let finished = match process::run(&mut self.command, &bounds) {
            Ok(finished) => finished,
            Err(error) => return Err(self.refused(error)),
        };
        let stderr = shown(&String::from_utf8_lossy(&finished.stderr));
        if !self.accepted.contains(&finished.code) {
            let message = if stderr.is_empty() {
                format!("exit code {}", finished.code)
            } else {
                stderr
            };
            return Err(WorkspaceError::Git {
                command: self.shown_label(),
                message,
            });
        }
        if finished.truncated && self.stdout_bytes_max == STDOUT_BYTES_MAX {
            let limit = self.stdout_bytes_max;
            return Err(WorkspaceError::OutputTooLong {
                command: self.shown_label(),
                limit,
            });
        }
        let (stdout, truncated) = (finished.stdout, finished.truncated);
        Ok(Output {
            code: finished.code,
            stdout,
            stderr,
            truncated,
        })
    }

    fn refused(&self, error: RunError) -> WorkspaceError {
        match error {
            RunError::Spawn(source) if !self.directory().is_dir() => WorkspaceError::Io {
                action: "enter",
                path: self.directory().to_owned(),
                source,
            },
            RunError::Spawn(source) => WorkspaceError::GitMissing {
                program: self.git.settings.program.to_string_lossy().into_owned(),
                needed: OLDEST_TEXT,
                source,
            },
            RunError::TimedOut => WorkspaceError::TimedOut {
                command: self.shown_label(),
                timeout: self.git.settings.timeout,
            },
            RunError::Io(source) => WorkspaceError::Git {
                command: self.shown_label(),
                message: source.to_string(),
            },
        }
    }

    fn directory(&self) -> &Path {
        self.command.get_current_dir().unwrap_or(Path::new("/"))
    }

    fn shown_label(&self) -> String {
        shown(&self.label.to_string_lossy())
    }
}

impl Output {
    /// The one line that was printed, without its line end. Bytes, for it may be a path.
    pub(crate) fn line(&self) -> &[u8] {
        self.stdout.strip_suffix(b"\n").unwrap_or(&self.stdout)
    }

    /// The one path that was printed; it may contain line ends.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(self.line()))
    }

    /// The object id that was printed.
    pub(crate) fn object(&self) -> Result<CommitId, WorkspaceError> {
        object(self.line())
    }

    /// What was printed with NUL behind every item.
    pub(crate) fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.stdout
            .split(|byte| *byte == 0)
            .filter(|item| !item.is_empty())
    }
}

/// An object id as git prints it.
pub(crate) fn object(bytes: &[u8]) -> Result<CommitId, WorkspaceError> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    CommitId::try_from(text.clone()).map_err(|error| WorkspaceError::Git {
        command: "git".to_owned(),
        message: format!("{error}: {}", shown(&text)),
    })
}

fn shown(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn is_inherited(name: &OsStr) -> bool {
    let name = name.as_bytes();
    INHERITED.iter().any(|known| known.as_bytes() == name)
        || INHERITED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix.as_bytes()))
        || name.to_ascii_uppercase().ends_with(b"_PROXY")
}

fn has_program(environment: &[(OsString, OsString)], program: &str) -> bool {
    let path = environment
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value);
    path.is_some_and(|path| std::env::split_paths(path).any(|dir| dir.join(program).is_file()))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("git version ")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_all_vendors_parse() {
        assert_eq!(parse_version("git version 2.47.3"), Some((2, 47)));
        assert_eq!(
            parse_version("git version 2.39.5 (Apple Git-154)"),
            Some((2, 39))
        );
        assert_eq!(parse_version("git version 2.50.0.rc1"), Some((2, 50)));
        assert_eq!(parse_version("nonsense"), None);
    }

    #[test]
    fn git_inherits_what_it_needs_and_no_secret() {
        for name in [
            "GIT_DIR",
            "GIT_CONFIG_COUNT",
            "SSH_ASKPASS",
            "LANGUAGE",
            "OPENAI_API_KEY",
        ] {
            assert!(!is_inherited(OsStr::new(name)), "{name}");
        }
        for name in ["HOME", "LC_CTYPE", "XDG_CONFIG_HOME", "https_proxy"] {
            assert!(is_inherited(OsStr::new(name)), "{name}");
        }
    }
}
