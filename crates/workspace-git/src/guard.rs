//! Programs that git would run because its configuration names them. What came into the
//! configuration while a session ran is its agent's doing: our own git does not run it, neither for
//! that session nor later.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use app::ports::workspaces::WorkspaceError;
use domain::workspace::WorkspaceRecord;

use crate::{
    git::Git,
    identity::Identity,
    layout::Layout,
    names,
    repository::{Repository, io_error},
    worktree::Worktree,
};

/// What the built-in merge of text does.
const PLAIN_MERGE: &str = "git merge-file --marker-size=%L %A %O %B";

/// Where it is noted, beside a repository's worktrees, what its agents configured. A person who
/// wants it run deletes the file.
const DISTRUSTED: &str = "distrusted-settings";

/// Settings as `git config --list -z` prints them: the key, a line end, the value.
type Settings = BTreeSet<Vec<u8>>;

/// Git with what an agent put into its configuration taken out.
#[derive(Debug)]
pub(crate) struct Guard {
    git: Git,
    pub(crate) warnings: Vec<String>,
}

impl Guard {
    /// For a session's worktree. What is found is remembered for the repository.
    ///
    /// Where the note of what was there before is gone, nothing is trusted, and nothing remembered.
    pub(crate) fn of_session(
        repository: &Repository<'_>,
        record: &WorkspaceRecord,
    ) -> Result<Self, WorkspaceError> {
        let worktree = Worktree::at(repository, &record.path)?;
        let list = record.path.with_file_name(DISTRUSTED);
        let distrusted = read(&list)?.unwrap_or_default();
        let settings = settings(&worktree)?;
        let identity = Identity::among(settings.iter());
        let mut found = programs(settings);
        if let Some(known) = read(&baseline(&record.path))? {
            found.retain(|setting| !known.contains(setting) || distrusted.contains(setting));
            remember(&list, found.difference(&distrusted))?;
        }
        let guard = Self::against(repository, &found, &list);
        Ok(Self {
            git: guard.git.with_identity(identity),
            ..guard
        })
    }

    /// For a repository, against what was found in its sessions.
    pub(crate) fn of_repository(
        repository: &Repository<'_>,
        layout: &Layout,
    ) -> Result<Self, WorkspaceError> {
        let list = layout.worktrees(repository).join(DISTRUSTED);
        let distrusted = read(&list)?.unwrap_or_default();
        Ok(Self::against(repository, &distrusted, &list))
    }

    fn against(repository: &Repository<'_>, found: &Settings, list: &Path) -> Self {
        let overrides = found.iter().flat_map(|setting| neutral(key(setting)));
        let warnings = found.iter().map(|setting| {
            let (key, list) = (names::shown(key(setting)), list.display());
            format!("git's configuration got `{key}` while an agent ran: what it names is not run (noted in {list})")
        });
        Self {
            git: repository.git.with_overrides(overrides.collect()),
            warnings: warnings.collect(),
        }
    }

    pub(crate) fn repository(&self, plain: &Repository<'_>) -> Repository<'_> {
        Repository {
            git: &self.git,
            common: plain.common.clone(),
        }
    }
}

/// Notes which programs the configuration names before an agent is started.
pub(crate) fn record(worktree: &Worktree<'_>) -> Result<(), WorkspaceError> {
    let path = baseline(&worktree.path);
    let settings: Vec<_> = programs(settings(worktree)?).into_iter().collect();
    fs::write(&path, settings.join(&0)).map_err(io_error("write", &path))
}

/// Beside the worktree, where no session has its name.
pub(crate) fn baseline(worktree: &Path) -> PathBuf {
    worktree.with_extension("programs")
}

/// The settings of every file that git reads, included ones too, each after those that it wins over.
fn settings(worktree: &Worktree<'_>) -> Result<Vec<Vec<u8>>, WorkspaceError> {
    let list = ["config", "--list", "--show-scope", "-z"];
    // The worktree's own git directory may be damaged.
    let output = worktree
        .call()
        .args(list)
        .run()
        .or_else(|_| worktree.repository.call().args(list).run())?;
    let (mut items, mut found) = (output.items(), Vec::new());
    while let (Some(scope), Some(setting)) = (items.next(), items.next()) {
        if scope != b"command" {
            found.push(setting.to_vec());
        }
    }
    Ok(found)
}

/// Those that name programs.
fn programs(settings: Vec<Vec<u8>>) -> Settings {
    let is_program = |setting: &Vec<u8>| is_program(key(setting));
    settings.into_iter().filter(is_program).collect()
}

fn read(path: &Path) -> Result<Option<Settings>, WorkspaceError> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(io_error("read", path))?,
    };
    let settings = text
        .split(|byte| *byte == 0)
        .filter(|item| !item.is_empty());
    Ok(Some(settings.map(<[u8]>::to_vec).collect()))
}

/// Adds what there is something to do about.
fn remember<'a>(
    path: &Path,
    settings: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<(), WorkspaceError> {
    let mut text = Vec::new();
    for setting in settings.filter(|setting| !neutral(key(setting)).is_empty()) {
        text.extend_from_slice(setting);
        text.push(0);
    }
    if text.is_empty() {
        return Ok(());
    }
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(&text))
        .map_err(io_error("write", path))
}

fn key(setting: &[u8]) -> &[u8] {
    setting
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}

/// A key's section, the name inside it, and the variable.
fn parts(key: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = key.iter().position(|byte| *byte == b'.')?;
    let last = key.iter().rposition(|byte| *byte == b'.')?;
    Some((
        &key[..first],
        key.get(first + 1..last).unwrap_or_default(),
        &key[last + 1..],
    ))
}

fn is_program(key: &[u8]) -> bool {
    let Some((section, _, variable)) = parts(key) else {
        return false;
    };
    let variables: &[&str] = match section {
        b"filter" => &["clean", "smudge", "process", "required"],
        b"core" => &["fsmonitor", "gitproxy", "hookspath", "pager", "sshcommand"],
        b"diff" => &["command", "external", "textconv"],
        b"merge" => &["driver"],
        b"credential" => &["helper"],
        b"include" | b"includeif" => &["path"],
        b"alias" => return true,
        _ => return false,
    };
    variables.iter().any(|known| known.as_bytes() == variable)
}

/// The settings that undo one; none where our calls do not use it anyway.
fn neutral(key: &[u8]) -> Vec<(OsString, OsString)> {
    let setting = |key: &[u8], value: &str| (OsStr::from_bytes(key).to_owned(), value.into());
    match parts(key) {
        Some((b"filter", name, _)) => [
            ("clean", ""),
            ("smudge", ""),
            ("process", ""),
            ("required", "false"),
        ]
        .iter()
        .map(|(variable, value)| {
            let key = [b"filter", name, variable.as_bytes()].join(&b'.');
            setting(&key, value)
        })
        .collect(),
        Some((b"merge", _, _)) => vec![setting(key, PLAIN_MERGE)],
        Some((b"core", _, b"sshcommand")) => vec![setting(key, "ssh")],
        Some((b"core", _, b"gitproxy") | (b"credential", _, _)) => vec![setting(key, "")],
        _ => Vec::new(),
    }
}
