//! `repair --from-folders`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use api_types::{FileFinding, LeftStream, RebuiltDocument};
use app::{
    crash_points::CrashPoint,
    error::Error,
    ports::journal::{Finding, Level, NewEntry},
    query::{Query, View},
    repair::{Aside, RepairError, gather, merge},
    restore::{Restored, Source, restore},
};
use domain::{
    id::{ProjectId, TaskId},
    project::Project,
};
use store_sqlite::{check, set_aside};

use super::{Report, folders, shown};
use crate::{
    context::{Context, unexpected},
    daemon::{DaemonLock, LockError},
    fail::{Exit, Fail, Outcome},
    heads,
    output::Output,
    rebuild,
    render::count,
    wiring,
};

/// What is not as it was written, with the task in whose folder it is.
type Findings = Vec<(Option<TaskId>, Finding)>;

/// What was taken in, and what was not as it was written.
#[derive(Debug)]
pub(super) struct Rebuilt {
    /// The name under which an unreadable store is kept.
    aside: Option<PathBuf>,
    restored: Restored,
    findings: Findings,
}

pub(super) fn run(context: &Context, also: &[PathBuf]) -> Outcome {
    let _lock = hold_daemon_off(context)?;
    let mut roots = vec![context.places.root()?.to_owned()];
    for folder in also {
        let root = context.env.directory().join(folder).canonicalize();
        let root = root.map_err(|error| {
            let message = format!("no folder {}", folder.display());
            Fail::caused(Exit::NotFound, message, &error)
        })?;
        let text = root
            .to_str()
            .ok_or_else(|| Fail::usage(format!("the path `{}` is not UTF-8", root.display())))?;
        if !roots.iter().any(|known| known == text) {
            roots.push(text.to_owned());
        }
    }
    let (source, findings) = source(context, &roots)?;
    let aside = put_unreadable_aside(context)?;
    CrashPoint::StoreAside.reached();
    let meta = context.meta();
    let store = context.direct()?;
    let restored = store.transact(|tx| restore(tx, &source, &meta))?;
    drop(store);
    CrashPoint::StoreRebuilt.reached();
    tell_epoch(context, &source.roots, &restored)?;
    rebuild::after(context, &restored)?;
    let mut report = Report {
        rebuilt: Some(Rebuilt {
            aside,
            restored,
            findings,
        }),
        ..Report::default()
    };
    for project in projects(context)? {
        if roots.contains(&project.root) {
            folders(context, &project, &[], false, &mut report)?;
        }
    }
    report.say(context)?;
    Ok(report.exit())
}

/// A daemon remembers what it has read.
pub(crate) fn hold_daemon_off(context: &Context) -> Result<DaemonLock, Fail> {
    DaemonLock::take(&context.places.daemon_lock()).map_err(|error| match error {
        LockError::Held { .. } => Fail::new(Exit::Conflict, error.to_string())
            .hint("end it first: SIGTERM, or Ctrl+C where it runs; agents go on"),
        LockError::Io { ref source, .. } => Fail::io(error.to_string(), source),
    })
}

/// Everything that the folders tell.
fn source(context: &Context, roots: &[String]) -> Result<(Source, Findings), Fail> {
    let (layers, journal) = (wiring::layers(), context.journal()?);
    let mut source = Source {
        heads: heads::trusted(context)?,
        ..Source::default()
    };
    let (mut standings, mut findings) = (Vec::new(), Vec::new());
    for root in roots {
        let gathered =
            gather(&*layers, &*journal, Path::new(root)).map_err(|error| match error {
                RepairError::Store(error) => Fail::from(error),
                RepairError::Folder(error) => Fail::from(error),
            })?;
        let Some(project) = gathered.project else {
            return Err(Fail::new(
                Exit::NotFound,
                format!("nothing in {root} tells of a project"),
            ));
        };
        if let Some(other) = source.roots.insert(project, root.clone()) {
            return Err(Fail::new(
                Exit::Conflict,
                format!("{other} and {root} are copies of one project: name one of them"),
            ));
        }
        standings.extend(gathered.events);
        source.images.extend(gathered.images);
        source.epoch = source.epoch.max(gathered.epoch);
        findings.extend(gathered.findings);
    }
    source.events = merge(standings);
    Ok((source, findings))
}

/// One that is not whole goes on under another name.
fn put_unreadable_aside(context: &Context) -> Result<Option<PathBuf>, Fail> {
    let file = context.places.store_file();
    if context.places.server.is_some() || !context.has_store()? {
        return Ok(None);
    }
    let is_whole = match check(&file) {
        Ok(problems) => problems.is_empty(),
        Err(Error::Corrupt { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    if is_whole {
        return Ok(None);
    }
    let now = context.clock()?.now().wall.as_millis();
    Ok(Some(set_aside(&file, &format!("unreadable-{now}"))?))
}

/// The next store that is built from these folders begins a later one.
fn tell_epoch(
    context: &Context,
    roots: &BTreeMap<ProjectId, String>,
    restored: &Restored,
) -> Result<(), Fail> {
    let Some(epoch) = restored.epoch else {
        return Ok(());
    };
    let data = serde_json::value::to_raw_value(&Aside { epoch: Some(epoch) });
    let entry = NewEntry {
        at: context.clock()?.now().wall,
        level: Level::Warn,
        message: format!(
            "{} events were taken from folders into the store: epoch {epoch}",
            restored.events
        ),
        data: data.ok(),
        position: None,
    };
    for root in roots.values() {
        wiring::layers().add_to_project(Path::new(root), std::slice::from_ref(&entry))?;
    }
    Ok(())
}

fn projects(context: &Context) -> Result<Vec<Project>, Fail> {
    match context.store()?.read(&Query::Projects)? {
        View::Projects { projects } => Ok(projects),
        _ => Err(unexpected("projects")),
    }
}

impl Rebuilt {
    pub(super) fn has_left(&self) -> bool {
        !self.restored.left.is_empty()
    }

    pub(super) fn say(&self, out: &Output) -> Result<(), Fail> {
        let restored = &self.restored;
        if let Some(aside) = &self.aside {
            out.line(format_args!(
                "The store could not be read; it is kept as {}",
                aside.display()
            ))?;
        }
        let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
        if restored.events == 0 {
            out.line("The store holds everything that the folders tell")?;
        } else {
            out.line(format_args!(
                "Took in {} of {} and {}",
                count(number(restored.events), "event"),
                count(restored.tasks.len(), "task"),
                count(restored.sessions.len(), "session"),
            ))?;
        }
        if let Some((from, to)) = restored.unverified {
            out.line(format_args!(
                "No signed head vouches for positions {from} to {to}: they are as the folders say"
            ))?;
        }
        for id in &restored.restated {
            out.line(format_args!(
                "{id}: events of it are lost; it stands as its state.json shows"
            ))?;
        }
        for left in &restored.left {
            out.line(format_args!(
                "{}: {} from {} on not taken in: {}",
                left.stream,
                count(number(left.events), "event"),
                left.seq,
                left.why
            ))?;
        }
        for (task, finding) in &self.findings {
            let of = task.map_or_else(|| "tasks".to_owned(), |task| task.to_string());
            out.line(format_args!("{of}: {finding}"))?;
        }
        Ok(())
    }

    pub(super) fn document(&self) -> RebuiltDocument {
        let restored = &self.restored;
        let finding = |(task, found): &(Option<TaskId>, Finding)| FileFinding {
            file: match task {
                Some(task) => format!("{task}/{}", found.file),
                None => found.file.clone(),
            },
            ..shown(found.clone())
        };
        RebuiltDocument {
            aside: self.aside.clone(),
            events: restored.events,
            known: restored.known,
            tasks: restored.tasks.clone(),
            restated: restored.restated.clone(),
            epoch: restored.epoch,
            unverified_from: restored.unverified.map(|(from, _)| from),
            unverified_to: restored.unverified.map(|(_, to)| to),
            left: restored
                .left
                .iter()
                .map(|left| LeftStream {
                    stream: left.stream.clone(),
                    seq: left.seq,
                    events: left.events,
                    why: left.why.clone(),
                })
                .collect(),
            findings: self.findings.iter().map(finding).collect(),
        }
    }
}
