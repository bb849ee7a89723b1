//! The checkpoints port: `tasks/<task>/checkpoints/`.
//!
//! A checkpoint in the making is `.new-<id>`, a deleted one `.old-<id>`: whatever has another name
//! than an id's is in no list.

mod packing;

use std::path::{Path, PathBuf};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::{
        checkpoints::{
            Checkpoints, Draft, Found, KeptFile, MANIFEST_SCHEMA, MANIFEST_VERSION, Manifest,
            Unfinished,
        },
        folders::FolderError,
    },
};
use domain::id::{CheckpointId, SessionId, TaskId};
use serde::{Deserialize, Serialize};

use crate::{
    dir::{Dir, Durability, failed},
    folders::{PLAN, ProjectFolders, STATE, pretty},
};

const CHECKPOINTS: &str = "checkpoints";
const MANIFEST: &str = "manifest.json";
const DECISIONS: &str = "decisions.md";
const CONVERSATION: &str = "conversation";
const INDEX: &str = ".index";
/// The version of the task that last went back to a checkpoint, with plan and decisions.
const REWOUND: &str = ".rewound";
const NEW: &str = ".new-";
const OLD: &str = ".old-";

/// More than any manifest has: a larger file is none.
const MANIFEST_MAX: usize = 1 << 20;

/// The checkpoints of projects' tasks.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckpointFolders;

/// `manifest.json`.
#[derive(Serialize, Deserialize)]
struct ManifestFile {
    checksum: String,
    #[serde(flatten)]
    manifest: Manifest,
}

impl CheckpointFolders {
    /// The checkpoints of projects' tasks.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    fn existing(root: &Path, task: TaskId) -> Result<Option<Dir>, FolderError> {
        match ProjectFolders::existing_task(root, task)? {
            Some(folder) => folder.existing(CHECKPOINTS),
            None => Ok(None),
        }
    }

    fn rename(root: &Path, task: TaskId, from: &str, to: &str) -> Result<(), FolderError> {
        let Some(checkpoints) = Self::existing(root, task)? else {
            return Ok(());
        };
        faults::around(Act::new(Thing::Checkpoint, Deed::Rename), || {
            checkpoints.rename(from, to)
        })
        .map_err(|error| failed("rename", checkpoints.path().join(from), error))?;
        checkpoints.sync_for(Thing::Checkpoint)
    }
}

impl Checkpoints for CheckpointFolders {
    fn begin(
        &self,
        root: &Path,
        task: TaskId,
        session: SessionId,
        id: CheckpointId,
    ) -> Result<Box<dyn Draft>, FolderError> {
        let folder = ProjectFolders::task(root, task)?;
        let (checkpoints, _) = folder.made(CHECKPOINTS)?;
        // Whoever looks for what is left behind waits until the draft is held.
        let lock = checkpoints.lock()?;
        let (draft, is_new) = checkpoints.made(&format!("{NEW}{id}"))?;
        if !is_new || checkpoints.has(&id.to_string()) || !draft.try_hold()? {
            let taken = std::io::ErrorKind::AlreadyExists;
            let path = checkpoints.path().join(id.to_string());
            return Err(failed("make", path, taken.into()));
        }
        drop(lock);
        let known = checkpoints.path().join(format!("{INDEX}-{session}"));
        Ok(Box::new(FolderDraft {
            task: folder,
            draft,
            known,
        }))
    }

    fn publish(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<(), FolderError> {
        Self::rename(root, task, &format!("{NEW}{id}"), &id.to_string())
    }

    fn list(&self, root: &Path, task: TaskId, with_files: bool) -> Result<Vec<Found>, FolderError> {
        let Some(checkpoints) = Self::existing(root, task)? else {
            return Ok(vec![]);
        };
        let names = checkpoints.sorted_names()?;
        let mut ids: Vec<CheckpointId> =
            names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort();
        Ok(ids
            .into_iter()
            .map(|id| found(&checkpoints, task, id, with_files))
            .collect())
    }

    fn tasks(&self, root: &Path) -> Result<Vec<TaskId>, FolderError> {
        let Some(tasks) = ProjectFolders::existing_tasks(root)? else {
            return Ok(vec![]);
        };
        let names = tasks.sorted_names()?;
        let mut ids: Vec<TaskId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.retain(|id| {
            let folder = tasks.existing(&id.to_string());
            folder.is_ok_and(|folder| folder.is_some_and(|folder| folder.has(CHECKPOINTS)))
        });
        ids.sort();
        Ok(ids)
    }

    fn unfinished(&self, root: &Path, task: TaskId) -> Result<Vec<Unfinished>, FolderError> {
        let Some(checkpoints) = Self::existing(root, task)? else {
            return Ok(vec![]);
        };
        let _lock = checkpoints.lock()?;
        let mut left = Vec::new();
        for name in checkpoints.sorted_names()? {
            if let Some(id) = name.strip_prefix(OLD).and_then(|id| id.parse().ok()) {
                left.push(Unfinished::Deleted(id));
            }
            let Some(id) = name.strip_prefix(NEW).and_then(|id| id.parse().ok()) else {
                continue;
            };
            let draft = match checkpoints.existing(&name) {
                Ok(Some(draft)) => draft,
                Ok(None) => continue,
                Err(_) => {
                    left.push(Unfinished::Half(id));
                    continue;
                }
            };
            if !draft.try_hold()? {
                continue;
            }
            left.push(match checked(&draft, task, id, true) {
                (Some(manifest), findings) if findings.is_empty() => {
                    Unfinished::Whole(Box::new(manifest))
                }
                _ => Unfinished::Half(id),
            });
        }
        Ok(left)
    }

    fn has(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<bool, FolderError> {
        let Some(checkpoints) = Self::existing(root, task)? else {
            return Ok(false);
        };
        // In the order in which it goes from one to the next meanwhile.
        let names = [format!("{NEW}{id}"), id.to_string(), format!("{OLD}{id}")];
        Ok(names.iter().any(|name| checkpoints.has(name)))
    }

    fn hide(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<(), FolderError> {
        Self::rename(root, task, &id.to_string(), &format!("{OLD}{id}"))
    }

    fn discard(&self, root: &Path, task: TaskId, id: CheckpointId) -> Result<(), FolderError> {
        let Some(checkpoints) = Self::existing(root, task)? else {
            return Ok(());
        };
        for name in [format!("{NEW}{id}"), format!("{OLD}{id}")] {
            checkpoints.remove_folder(Thing::Checkpoint, &name)?;
        }
        Ok(())
    }

    fn hand_down(
        &self,
        root: &Path,
        from: (TaskId, CheckpointId),
        to: TaskId,
    ) -> Result<(), FolderError> {
        let source = Self::existing(root, from.0)?
            .map(|checkpoints| checkpoints.existing(&from.1.to_string()))
            .transpose()?
            .flatten();
        let Some(source) = source else {
            return Ok(());
        };
        let target = ProjectFolders::task(root, to)?;
        for name in [PLAN, DECISIONS] {
            if target.has(name) {
                continue;
            }
            if let Some(content) = source.read(name)? {
                target.replace(name, &content, Durability::Synced)?;
            }
        }
        Ok(())
    }

    fn bring_back(
        &self,
        root: &Path,
        from: (TaskId, CheckpointId),
        to: (TaskId, u64),
    ) -> Result<(), FolderError> {
        let source = Self::existing(root, from.0)?
            .map(|checkpoints| checkpoints.existing(&from.1.to_string()))
            .transpose()?
            .flatten();
        let Some(source) = source else {
            return Ok(());
        };
        let (task, version) = to;
        let target = ProjectFolders::task(root, task)?;
        // Nobody adds a decision meanwhile.
        let _lock = target.lock_patiently()?;
        let (checkpoints, _) = target.made(CHECKPOINTS)?;
        let mark = checkpoints.read(REWOUND)?;
        let mark = mark.and_then(|mark| String::from_utf8(mark).ok()?.trim().parse().ok());
        if mark.is_some_and(|done: u64| done >= version) {
            return Ok(());
        }
        for name in [PLAN, DECISIONS] {
            match source.read(name)? {
                Some(content) => target.replace(name, &content, Durability::Synced)?,
                None => target.remove(name)?,
            }
        }
        let mark = format!("{version}\n");
        checkpoints.replace(REWOUND, mark.as_bytes(), Durability::Synced)
    }

    fn unpack_conversation(
        &self,
        root: &Path,
        from: (TaskId, CheckpointId),
        into: &Path,
    ) -> Result<(), FolderError> {
        std::fs::create_dir_all(into).map_err(|error| failed("make", into.to_owned(), error))?;
        let into = Dir::root(into)?;
        let Some(checkpoints) = Self::existing(root, from.0)? else {
            return Ok(());
        };
        let Some(checkpoint) = checkpoints.existing(&from.1.to_string())? else {
            return Ok(());
        };
        match checkpoint.existing(CONVERSATION)? {
            Some(conversation) => packing::unpack_all(&conversation, &into),
            None => Ok(()),
        }
    }
}

#[derive(Debug)]
struct FolderDraft {
    task: Dir,
    draft: Dir,
    known: PathBuf,
}

impl Draft for FolderDraft {
    fn conversation(&self) -> Result<PathBuf, FolderError> {
        Ok(self.draft.made(CONVERSATION)?.0.path().to_owned())
    }

    fn index(&self) -> PathBuf {
        self.draft.path().join("index")
    }

    fn known_index(&self) -> PathBuf {
        self.known.clone()
    }

    fn gather(&mut self, state: &[u8]) -> Result<Vec<KeptFile>, FolderError> {
        for name in self.draft.sorted_names()? {
            if name.starts_with("index") {
                self.draft.remove(&name)?;
            }
        }
        self.draft.replace(STATE, state, Durability::Contents)?;
        for name in [PLAN, DECISIONS] {
            if let Some(content) = self.task.read(name)? {
                self.draft.replace(name, &content, Durability::Contents)?;
            }
        }
        let mut files = Vec::new();
        for name in self.draft.sorted_names()? {
            match self.draft.existing(&name) {
                Ok(Some(folder)) => {
                    if name == CONVERSATION {
                        packing::pack_all(&folder)?;
                    }
                    for inner in folder.sorted_names()? {
                        folder.sync_file(&inner)?;
                        files.extend(kept(&folder, &inner, format!("{name}/{inner}"))?);
                    }
                    folder.sync()?;
                }
                _ => files.extend(kept(&self.draft, &name, name.clone())?),
            }
        }
        Ok(files)
    }

    fn seal(&mut self, manifest: &Manifest) -> Result<(), FolderError> {
        self.draft.sync()?;
        let file = ManifestFile {
            checksum: manifest.checksum(),
            manifest: manifest.clone(),
        };
        let json = pretty(&file, &self.draft, MANIFEST)?;
        self.draft.replace(MANIFEST, &json, Durability::Synced)
    }
}

fn kept(folder: &Dir, name: &str, path: String) -> Result<Option<KeptFile>, FolderError> {
    let digest = folder.digest(name)?;
    Ok(digest.map(|(bytes, sha256)| KeptFile {
        path,
        bytes,
        sha256,
    }))
}

fn found(checkpoints: &Dir, task: TaskId, id: CheckpointId, with_files: bool) -> Found {
    let (manifest, findings) = match checkpoints.existing(&id.to_string()) {
        Ok(Some(folder)) => checked(&folder, task, id, with_files),
        Ok(None) => (None, vec!["the folder is gone".to_owned()]),
        Err(error) => (None, vec![told(&error)]),
    };
    Found {
        id,
        task,
        manifest,
        findings,
    }
}

/// What a folder says of itself, and what is wrong with that.
fn checked(
    folder: &Dir,
    task: TaskId,
    id: CheckpointId,
    with_files: bool,
) -> (Option<Manifest>, Vec<String>) {
    let manifest = match manifest_of(folder, task, id) {
        Ok(manifest) => manifest,
        Err(why) => return (None, vec![format!("{MANIFEST}: {why}")]),
    };
    let mut findings = Vec::new();
    for file in manifest.files.iter().filter(|_| with_files) {
        if let Err(why) = check_file(folder, &file.path, file.bytes, &file.sha256) {
            findings.push(format!("{}: {why}", file.path.escape_debug()));
        }
    }
    (Some(manifest), findings)
}

fn manifest_of(folder: &Dir, task: TaskId, id: CheckpointId) -> Result<Manifest, String> {
    let content = folder.read(MANIFEST).map_err(|error| told(&error))?;
    let content = content.ok_or("it is missing")?;
    if content.len() > MANIFEST_MAX {
        return Err("it is too long".to_owned());
    }
    let file: ManifestFile =
        serde_json::from_slice(&content).map_err(|error| format!("it cannot be read: {error}"))?;
    let manifest = file.manifest;
    if manifest.schema != MANIFEST_SCHEMA || manifest.schema_version != MANIFEST_VERSION {
        return Err("it is of another version".to_owned());
    }
    if (manifest.task, manifest.id) != (task, id) {
        return Err("it is another checkpoint's".to_owned());
    }
    if manifest.checksum() != file.checksum {
        return Err("it was changed: its checksum is another".to_owned());
    }
    Ok(manifest)
}

fn check_file(folder: &Dir, path: &str, bytes: u64, sha256: &str) -> Result<(), String> {
    let parts: Vec<&str> = path.split('/').collect();
    let is_plain = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
    if !parts.iter().all(is_plain) || parts.len() > 2 {
        return Err("it names a file outside the checkpoint".to_owned());
    }
    let digest = match parts[..] {
        [name] => folder.digest(name),
        [inner, name] => match folder.existing(inner) {
            Ok(Some(inner)) => inner.digest(name),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        },
        _ => Ok(None),
    };
    match digest {
        Ok(Some(found)) if found == (bytes, sha256.to_owned()) => Ok(()),
        Ok(Some(_)) => Err("its content was changed".to_owned()),
        Ok(None) => Err("it is missing".to_owned()),
        Err(error) => Err(told(&error)),
    }
}

fn told(error: &FolderError) -> String {
    if error.source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
        || error.source.raw_os_error() == Some(rustix::io::Errno::NOTDIR.raw_os_error())
    {
        return "it is a symbolic link or no folder".to_owned();
    }
    format!("{error}: {}", error.source)
}
