//! `export`: everything that the store holds, as one archive.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use api_types::ExportDocument;
use app::{
    error::Error,
    export::{self, Member},
    query::{Query, View},
};
use archive::{ArchiveError, Digest, Manifest, Scope, Spool};
use domain::project::Project;

use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    listing, papers,
    render::count,
    wiring,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The archive is a tar file with a manifest and JSON lines of projects, events, tasks, retry chains,
sessions, decisions, plans, gate results and checkpoint manifests. Equal states give equal bytes.
`crewboss import FILE` takes it into another store. Transcripts, what agents printed and the objects
of checkpoints stay in the folders of the tasks.")]
pub(crate) struct Args {
    /// The file, which must not exist; by default `crewboss-export-TIME.tar` in the current folder
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only this project, rather than every project of the store
    #[arg(long)]
    only_project: bool,
    /// Write nothing: print the SHA-256 that the archive would have
    #[arg(long, conflicts_with = "file")]
    digest: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        super::history::refuse_layout(context)?;
        super::store::require_store(context)?;
        let projects = self.projects(context)?;
        take_in(context, &projects)?;
        let file = match (&self.file, self.digest) {
            (_, true) => None,
            (Some(file), false) => Some(context.env.directory().join(file)),
            (None, false) => Some(super::store::default_name(
                context,
                "crewboss-export",
                "tar",
            )?),
        };
        if let Some(file) = file.as_ref().filter(|file| file.symlink_metadata().is_ok()) {
            return Err(Error::Exists {
                what: "a file of this name".to_owned(),
                name: file.display().to_string(),
            }
            .into());
        }
        let scope = if self.only_project {
            Scope::Project
        } else {
            Scope::Store
        };
        let spool = spool(context, &projects, file.as_deref())?;
        let (manifest, digest) = match &file {
            Some(file) => spool.write(scope, file)?,
            None => spool.write_to(scope, &mut io::sink())?,
        };
        say(context, file, &manifest, digest)
    }

    fn projects(&self, context: &Context) -> Result<Vec<Project>, Fail> {
        if self.only_project {
            let project = context.known_project()?;
            return project.map(|project| vec![project]).ok_or_else(|| {
                let root = context.places.project.display();
                Fail::new(
                    Exit::NotFound,
                    format!("{root} is no project of this store"),
                )
            });
        }
        match context.store()?.read(&Query::Projects)? {
            View::Projects { projects } => Ok(projects),
            _ => Err(unexpected("projects")),
        }
    }
}

/// What people and agents have written into folders since it was last kept.
fn take_in(context: &Context, projects: &[Project]) -> Result<(), Fail> {
    let layers = wiring::layers();
    for project in projects {
        let root = Path::new(&project.root);
        if !root.join(crate::places::PROJECT_FOLDER).is_dir() {
            continue;
        }
        let store = context.store()?;
        let tasks = listing::every_task(&*store, project.id)?;
        papers::take_in(context, &*layers, root, &tasks)?;
    }
    Ok(())
}

fn spool(context: &Context, projects: &[Project], file: Option<&Path>) -> Result<Spool, Fail> {
    let folder = file.and_then(Path::parent).map(Path::to_owned);
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let ids: BTreeSet<_> = projects.iter().map(|project| project.id).collect();
    let mut spool = Spool::new(&folder);
    let mut failed: Option<ArchiveError> = None;
    let mut sink = |member: Member, line: &[u8]| {
        spool.add(member, line).map_err(|error| {
            let message = error.to_string();
            failed = Some(error);
            Error::unavailable(message)
        })
    };
    let store = context.direct()?;
    let shown = store.look(|reader| export::export(reader, &ids, &mut sink));
    match (failed, shown) {
        (Some(error), _) => Err(error.into()),
        (None, shown) => {
            shown?;
            Ok(spool)
        }
    }
}

fn say(context: &Context, file: Option<PathBuf>, manifest: &Manifest, digest: Digest) -> Outcome {
    let lines = |member: Member| manifest.lines(member.file());
    let many = |member, what| count(usize::try_from(lines(member)).unwrap_or(usize::MAX), what);
    match &file {
        Some(file) => {
            context.out.line(format_args!(
                "Exported {}, {} and {} to {} ({} bytes)",
                many(Member::Projects, "project"),
                many(Member::Tasks, "task"),
                many(Member::Events, "event"),
                file.display(),
                digest.bytes
            ))?;
            context
                .out
                .line(format_args!("SHA-256 {}", digest.sha256))?;
        }
        None => context.out.line(&digest.sha256)?,
    }
    context.out.print(&ExportDocument {
        file,
        sha256: digest.sha256,
        bytes: digest.bytes,
        projects: lines(Member::Projects),
        tasks: lines(Member::Tasks),
        sessions: lines(Member::Sessions),
        events: lines(Member::Events),
        decisions: lines(Member::Decisions),
        plans: lines(Member::Plans),
        checkpoints: lines(Member::Checkpoints),
    })?;
    Ok(Exit::Ok)
}

impl From<ArchiveError> for Fail {
    fn from(error: ArchiveError) -> Self {
        match &error {
            ArchiveError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::caused(Exit::NotFound, error.to_string(), source)
            }
            ArchiveError::Io { source, .. } => Self::io(error.to_string(), source),
            ArchiveError::Broken { .. } => Self::usage(error.to_string()),
        }
    }
}
