//! What checkpoints hold.

use api_types::{
    CheckpointDiffDocument, CheckpointDocument, CheckpointFile, CheckpointListDocument,
};
use app::ports::checkpoints::Found;
use domain::workspace::CommitId;

use super::{find, of_project, whole};
use crate::{
    cli::diff,
    context::Context,
    fail::{Exit, Outcome},
    render::table,
};

pub(super) fn list(context: &Context, task: &str) -> Outcome {
    let id = context.resolve(task)?;
    let (_, checkpointer) = of_project(context)?;
    let mut found = checkpointer.list(id)?;
    found.reverse();
    let out = &context.out;
    if found.is_empty() {
        out.line(format_args!("{id} has no checkpoints."))?;
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(row).collect();
        let header = ["Checkpoint", "Made", "Commit", "Size", "Note"];
        out.line(table::render(out, &header, &rows))?;
    }
    for one in &found {
        for finding in &one.findings {
            out.warn(format_args!("{} is damaged: {finding}", one.id));
        }
    }
    for half in checkpointer.left_behind(id)? {
        out.warn(format_args!(
            "{half} was not finished; the next `checkpoint create` or `delete` clears it up"
        ));
    }
    out.print(&CheckpointListDocument {
        task: id,
        checkpoints: found.iter().map(document).collect(),
    })?;
    Ok(Exit::Ok)
}

fn row(found: &Found) -> Vec<String> {
    let id = found.id.to_string();
    match &found.manifest {
        Some(manifest) => vec![
            id,
            manifest.created_at.to_string(),
            manifest.workspace.commit.short().to_owned(),
            size(manifest.bytes()),
            match (&manifest.note, found.findings.is_empty()) {
                (_, false) => "damaged".to_owned(),
                (Some(note), true) => note.clone(),
                (None, true) => manifest.cause.as_str().to_owned(),
            },
        ],
        None => vec![
            id,
            String::new(),
            String::new(),
            String::new(),
            "damaged".to_owned(),
        ],
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

pub(super) fn show(context: &Context, text: &str) -> Outcome {
    let (_, checkpointer) = of_project(context)?;
    let found = find(context, &checkpointer, text)?;
    let out = &context.out;
    let line = |name: &str, value: &str| match value {
        "" => Ok(()),
        value => out.line(format_args!("{:<13}{value}", format!("{name}:"))),
    };
    line("Checkpoint", &found.id.to_string())?;
    line("Task", &found.task.to_string())?;
    if let Some(manifest) = &found.manifest {
        let workspace = &manifest.workspace;
        line("Session", &manifest.session.to_string())?;
        line("Made", &manifest.created_at.to_string())?;
        line("Note", manifest.note.as_deref().unwrap_or_default())?;
        line("Cause", manifest.cause.as_str())?;
        line("Events", &format!("up to {}", manifest.log_position))?;
        line("Workspace", workspace.mode.as_str())?;
        line("Commit", workspace.commit.as_str())?;
        let ignored = workspace.with_ignored.as_ref();
        line("Ignored too", ignored.map_or("", |commit| commit.as_str()))?;
        line("Kept by", &workspace.reference)?;
        line("Repository", &workspace.repository.display().to_string())?;
        if let Some(conversation) = &manifest.conversation {
            line("Conversation", &conversation.agent_session)?;
        }
        line("Size", &size(manifest.bytes()))?;
        for file in &manifest.files {
            line("File", &format!("{} ({})", file.path, size(file.bytes)))?;
        }
        for warning in &workspace.warnings {
            line("Warning", warning)?;
        }
    }
    for finding in &found.findings {
        line("Damaged", finding)?;
    }
    out.print(&document(&found))?;
    Ok(if found.findings.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

pub(super) fn diff(context: &Context, from: &str, to: Option<&str>, stat: bool) -> Outcome {
    let (_, checkpointer) = of_project(context)?;
    let from = whole(context, &checkpointer, from)?;
    let (to, tip): (_, CommitId) = match to {
        Some(to) => {
            let to = whole(context, &checkpointer, to)?;
            (Some(to.id), to.workspace.commit)
        }
        None => (None, checkpointer.tree_now(from.task)?.commit),
    };
    let max = if stat {
        0
    } else {
        let max = context.config()?.settings.limits.diff_bytes_max;
        usize::try_from(max).unwrap_or(usize::MAX)
    };
    let base = &from.workspace.commit;
    let workspaces = context.workspaces();
    let diff = workspaces.checkpoint_diff(&checkpointer.root, base, &tip, max)?;
    let out = &context.out;
    if out.json {
        let patch = String::from_utf8_lossy(&diff.patch).into_owned();
        out.print(&CheckpointDiffDocument {
            from: from.id,
            to,
            files: diff.files,
            patch: (!stat).then_some(patch),
            truncated: diff.truncated && !stat,
        })?;
        return Ok(Exit::Ok);
    }
    if stat {
        return diff::stat(context, &diff.files);
    }
    out.foreign(&diff.patch)?;
    if diff.truncated {
        out.warn("the patch is longer than limits.diff_bytes_max");
    }
    Ok(Exit::Ok)
}

pub(super) fn document(found: &Found) -> CheckpointDocument {
    let manifest = found.manifest.as_ref();
    let kept = manifest.map(|manifest| &manifest.workspace);
    let conversation = manifest.and_then(|manifest| manifest.conversation.as_ref());
    let files = manifest.map_or(&[][..], |manifest| &manifest.files);
    CheckpointDocument {
        id: found.id,
        task: found.task,
        session: manifest.map(|manifest| manifest.session),
        created_at: manifest.map(|manifest| manifest.created_at),
        note: manifest.and_then(|manifest| manifest.note.clone()),
        cause: manifest.map(|manifest| manifest.cause.as_str().to_owned()),
        log_position: manifest.map(|manifest| manifest.log_position),
        workspace_mode: kept.map(|kept| kept.mode),
        repository: kept.map(|kept| kept.repository.clone()),
        reference: kept.map(|kept| kept.reference.clone()),
        commit: kept.map(|kept| kept.commit.clone()),
        with_ignored: kept.and_then(|kept| kept.with_ignored.clone()),
        tree: kept.map(|kept| kept.tree.clone()),
        agent_session: conversation.map(|kept| kept.agent_session.clone()),
        last_message: conversation.and_then(|kept| kept.last_message.clone()),
        bytes: manifest.map(app::ports::checkpoints::Manifest::bytes),
        files: files
            .iter()
            .map(|file| CheckpointFile {
                path: file.path.clone(),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
            })
            .collect(),
        warnings: kept.map(|kept| kept.warnings.clone()).unwrap_or_default(),
        findings: found.findings.clone(),
    }
}
