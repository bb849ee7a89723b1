//! `store restore`.

use std::path::{Path, PathBuf};

use api_types::StoreRestoreDocument;
use app::{
    crash_points::CrashPoint,
    error::Error,
    ports::{
        layers::{Layer, Layers},
        store::Mark,
    },
    query::{Query, View},
};
use domain::{id::TaskId, project::Project};
use store_sqlite::{SqliteStore, replace};

use crate::{
    cli::{confirm, repair::hold_daemon_off},
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    heads,
    render::count,
    wiring,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A copy made by `crewboss store backup`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Outcome {
        crate::cli::history::refuse_layout(context)?;
        crate::stores::refuse_server(
            &context.places,
            "`store restore`",
            "`pg_restore` brings back a database, and `crewboss import` an archive",
        )?;
        let copy = context.env.directory().join(&self.file);
        if !copy.is_file() {
            let message = format!("{} is no file", self.file.display());
            return Err(Fail::new(Exit::NotFound, message));
        }
        let _lock = hold_daemon_off(context)?;
        let epoch = refuse_work(context)?;
        let store = context.places.store_file();
        let question = format!("Put {} in the place of the store?", self.file.display());
        if !self.yes && !confirm(&context.out, &question)? {
            context.out.line("Nothing was changed")?;
            return Ok(Exit::Ok);
        }
        let now = context.clock()?.now().wall.as_millis();
        let replaced = replace(&store, &copy, &format!("before-{now}"), |new| {
            let clock = context
                .clock()
                .map_err(|_| Error::unavailable("no clock"))?;
            SqliteStore::open(new, clock)?.transact(|tx| {
                let next = epoch.max(tx.mark(Mark::Epoch)?) + 1;
                tx.set_mark(Mark::Epoch, next)
            })
        })?;
        CrashPoint::StoreRebuilt.reached();
        heads::set_aside_those_of_another_log(context, now.unsigned_abs())?;
        let ahead = ahead(context)?;
        let out = &context.out;
        out.line(format_args!(
            "The store is {} now: {}, {}",
            self.file.display(),
            count(
                usize::try_from(replaced.copied.tasks).unwrap_or(usize::MAX),
                "task"
            ),
            count(
                usize::try_from(replaced.copied.position).unwrap_or(usize::MAX),
                "event"
            ),
        ))?;
        if let Some(old) = &replaced.old {
            out.line(format_args!("The old one is kept as {}", old.display()))?;
        }
        if !ahead.is_empty() {
            out.warn(format_args!(
                "the folders of {} tell of more than this store: `crewboss repair --from-folders` \
                 takes it in, `crewboss repair --store-wins` sets it aside",
                count(ahead.len(), "task")
            ));
        }
        out.print(&StoreRestoreDocument {
            file: copy,
            old: replaced.old,
            tasks: replaced.copied.tasks,
            position: replaced.copied.position,
            ahead,
        })?;
        Ok(Exit::Ok)
    }
}

/// Whoever is at work would go on in another world. Answers the epoch of the present store, as far
/// as it can be read.
fn refuse_work(context: &Context) -> Result<u64, Fail> {
    if !context.has_store()? {
        return Ok(0);
    }
    let store = match SqliteStore::open(&context.places.store_file(), context.clock()?) {
        Ok(store) => store,
        Err(Error::Corrupt { .. }) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let seen = store.look(|reader| Ok((reader.live_sessions(None)?, reader.mark(Mark::Epoch)?)));
    let (live, epoch) = match seen {
        Ok(seen) => seen,
        Err(Error::Corrupt { .. }) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    drop(store);
    context.recover(&live)?;
    let live = Query::LiveSessions { project: None };
    let View::Sessions { sessions } = context.store()?.read(&live)? else {
        return Err(unexpected("sessions"));
    };
    match sessions.first() {
        None => Ok(epoch),
        Some(session) => Err(Fail::new(
            Exit::Conflict,
            format!("{} of {} is at work", session.id, session.task),
        )
        .hint("cancel what runs, or wait for it")),
    }
}

/// The tasks whose folders tell of more than the store does.
fn ahead(context: &Context) -> Result<Vec<TaskId>, Fail> {
    let layers = wiring::layers();
    let mut ahead = Vec::new();
    let View::Projects { projects } = context.store()?.read(&Query::Projects)? else {
        return Err(unexpected("projects"));
    };
    for Project { root, .. } in projects {
        let root = Path::new(&root);
        let Ok(listing) = layers.listing(root) else {
            continue;
        };
        for id in listing.tasks {
            let known = match context.store()?.read(&Query::Task { id }) {
                Ok(View::Task { details }) => details.view.task.version,
                Err(Error::NotFound { .. }) => 0,
                Ok(_) => return Err(unexpected("task")),
                Err(error) => return Err(error.into()),
            };
            if shown(&*layers, root, id) > known {
                ahead.push(id);
            }
        }
    }
    Ok(ahead)
}

fn shown(layers: &dyn Layers, root: &Path, task: TaskId) -> u64 {
    match layers.image(root, task) {
        Ok(Layer::Whole(image)) => image.version,
        Ok(Layer::Missing | Layer::Broken(_)) | Err(_) => 0,
    }
}
