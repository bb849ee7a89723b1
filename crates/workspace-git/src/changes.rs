//! What differs between two commits.

use std::collections::HashMap;

use app::ports::workspaces::{Diff, WorkspaceError};
use domain::workspace::{ChangeStatus, ChangedFile, CommitId};

use crate::{names, repository::Repository};

/// The files that differ, renames found.
pub(crate) fn changed_files(
    repository: &Repository<'_>,
    base: &CommitId,
    tip: &CommitId,
) -> Result<Vec<ChangedFile>, WorkspaceError> {
    let ask = [
        "diff-tree",
        "-r",
        "-z",
        "--find-renames",
        "--raw",
        "--numstat",
        "--no-ext-diff",
    ];
    let call = repository
        .call()
        .args(ask)
        .args(["--no-textconv", base.as_str(), tip.as_str()]);
    let output = call.run()?;
    parse(&output.stdout).ok_or_else(|| WorkspaceError::Git {
        command: "git diff-tree".to_owned(),
        message: "its output is not understood".to_owned(),
    })
}

/// Files and patch, the patch cut at a limit.
pub(crate) fn diff(
    repository: &Repository<'_>,
    base: &CommitId,
    tip: &CommitId,
    patch_bytes_max: usize,
) -> Result<Diff, WorkspaceError> {
    let (base, tip) = (repository.commit(base)?, repository.commit(tip)?);
    let files = changed_files(repository, &base, &tip)?;
    let ask = [
        "diff-tree",
        "-r",
        "-p",
        "--find-renames",
        "--no-ext-diff",
        "--no-textconv",
    ];
    let call = repository
        .call()
        .args(ask)
        .args([base.as_str(), tip.as_str()]);
    let output = call.cut_at(patch_bytes_max).run()?;
    Ok(Diff {
        files,
        patch: output.stdout,
        truncated: output.truncated,
    })
}

/// `--raw` records, each with its names behind NULs, and then `--numstat` records.
fn parse(stdout: &[u8]) -> Option<Vec<ChangedFile>> {
    let mut items = stdout.split(|byte| *byte == 0).peekable();
    let mut files = Vec::new();
    while let Some(record) = items.next_if(|item| item.starts_with(b":")) {
        let letter = *record.rsplit(|byte| *byte == b' ').next()?.first()?;
        let first = items.next()?.to_vec();
        files.push(match letter {
            b'R' | b'C' => (items.next()?.to_vec(), ChangeStatus::Renamed, Some(first)),
            other => (first, status(other), None),
        });
    }
    let mut counts = HashMap::new();
    while let Some(record) = items.next_if(|item| !item.is_empty()) {
        let mut fields = record.splitn(3, |byte| *byte == b'\t');
        let (added, removed) = (number(fields.next()?), number(fields.next()?));
        let mut name = fields.next()?.to_vec();
        if name.is_empty() {
            items.next()?;
            name = items.next()?.to_vec();
        }
        counts.insert(name, (added, removed));
    }
    let changed = files.into_iter().map(|(name, status, from)| {
        let (insertions, deletions) = counts.get(&name).copied().unwrap_or_default();
        let from = from.as_deref().map(names::shown);
        ChangedFile {
            path: names::shown(&name),
            status,
            from,
            insertions,
            deletions,
        }
    });
    Some(changed.collect())
}

fn status(letter: u8) -> ChangeStatus {
    match letter {
        b'A' => ChangeStatus::Added,
        b'D' => ChangeStatus::Deleted,
        b'T' => ChangeStatus::TypeChanged,
        _ => ChangeStatus::Modified,
    }
}

/// `-` stands for binary content.
fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_and_numstat_are_joined_by_name() {
        let output = b":000000 100644 0 1 A\0new\nline\0:100644 100644 1 2 R090\0old\0moved\0\
            :100644 000000 1 0 D\0gone\0\
            3\t0\tnew\nline\x001\t2\t\0old\0moved\0-\t-\tgone\0";
        let files = parse(output).expect("parses");
        assert_eq!(files.len(), 3);
        assert_eq!(
            (files[0].path.as_str(), files[0].insertions),
            ("new\nline", Some(3))
        );
        assert_eq!(files[1].from.as_deref(), Some("old"));
        assert_eq!(
            (files[1].insertions, files[1].deletions),
            (Some(1), Some(2))
        );
        assert_eq!(
            (files[2].status, files[2].deletions),
            (ChangeStatus::Deleted, None)
        );
    }
}
