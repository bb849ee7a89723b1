//! `store migrate`.

use std::sync::Arc;

use api_types::StoreMigrateDocument;
use app::{
    audit::{self, Beginning, Report},
    hex::hex,
    ports::store::Store as _,
    query::{Query, View},
};
use store_sqlite::{SqliteLog, SqliteStore};

use crate::{
    cli::{audit::Progress, repair::hold_daemon_off},
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    heads,
    places::Places,
    render::count,
    stores::{Direct, Log},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The kind of the store that everything is in
    #[arg(long, value_name = "KIND", value_parser = ["sqlite"])]
    from: String,
    /// The kind of the store that it is to be in
    #[arg(long, value_name = "KIND", value_parser = ["postgres"])]
    to: String,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let Self { from, to } = self;
        crate::cli::history::refuse_layout(context)?;
        let Some(server) = &context.places.server else {
            return Err(Fail::new(
                Exit::Usage,
                format!("the store to move to is not configured: it is {from}, not {to}"),
            )
            .hint("CREWBOSS_STORE=postgres://… or the key store.url names it"));
        };
        let file = context.places.store_file();
        if !file.is_file() {
            let message = format!("there is no store at {}", file.display());
            return Err(Fail::new(Exit::NotFound, message));
        }
        // That of the old store and that of the new one.
        let of_file = Places {
            server: None,
            ..context.places.clone()
        };
        let _old = hold_daemon_off_at(context, &of_file)?;
        let _new = hold_daemon_off(context)?;
        let source = SqliteStore::open(&file, context.local_clock()?)?;
        refuse_work(&source)?;
        let before = verified(context, &Log::Sqlite(SqliteLog::open(&file)?))?;
        let Direct::Postgres(target) = context.direct()? else {
            return Err(unexpected("server"));
        };
        let mut progress = Progress::new(context, Some(before.last))?;
        let filled = source.look(|reader| target.fill_from(reader, &mut |n| progress.show(n)))?;
        drop(progress);
        let after = verified(context, &context.log_place()?.open()?)?;
        if (before.entries, before.last, before.hash) != (after.entries, after.last, after.hash) {
            return Err(Fail::new(
                Exit::Failed,
                "what arrived is not what was sent: the new store must not be used",
            ));
        }
        compare_counts(&source, &target)?;
        heads::carry_over(&context.places)?;
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        context.out.line(format_args!(
            "Moved {}, {}, {} and {} to {}",
            count(number(filled.projects), "project"),
            count(number(filled.tasks), "task"),
            count(number(filled.sessions), "session"),
            count(number(filled.events), "event"),
            server.target
        ))?;
        context.out.line(format_args!(
            "Both chains are the same in both stores, and end in {}",
            hex(&after.hash)
        ))?;
        context.out.line(format_args!(
            "The old store stays at {}: nothing uses it while this one is configured",
            file.display()
        ))?;
        context.out.print(&StoreMigrateDocument {
            from: file.display().to_string(),
            to: server.target.to_string(),
            projects: filled.projects,
            tasks: filled.tasks,
            sessions: filled.sessions,
            events: filled.events,
            hash: hex(&after.hash),
        })?;
        Ok(Exit::Ok)
    }
}

fn hold_daemon_off_at(
    context: &Context,
    places: &Places,
) -> Result<crate::daemon::DaemonLock, Fail> {
    crate::daemon::DaemonLock::take(&places.daemon_lock()).map_err(|error| {
        context.out.debug(format_args!("{error}"));
        Fail::new(Exit::Conflict, "a daemon of the old store is at work")
            .hint("end it first: SIGTERM, or Ctrl+C where it runs; agents go on")
    })
}

/// Whoever is at work would tell the old store how it ended.
fn refuse_work(source: &SqliteStore) -> Result<(), Fail> {
    let live = source.look(|reader| reader.live_sessions(None))?;
    match live.first() {
        None => Ok(()),
        Some(session) => Err(Fail::new(
            Exit::Conflict,
            format!("{} of {} is at work", session.id, session.task),
        )
        .hint("cancel what runs, or wait for it")),
    }
}

/// What a log comes to, every entry of both chains checked.
fn verified(context: &Context, log: &Log) -> Result<Report, Fail> {
    let end = log.end()?.map(|end| end.position);
    let mut progress = Progress::new(context, end)?;
    let report = audit::verify(log, Beginning::default(), &[], &mut |read| {
        progress.show(read);
    })?;
    match &report.fault {
        None => Ok(report),
        Some(_) => Err(
            Fail::new(Exit::Failed, "the log is not whole, and nothing is moved")
                .hint("`crewboss audit verify` says where"),
        ),
    }
}

/// Each project has as many tasks of each status here as there.
fn compare_counts(
    source: &SqliteStore,
    target: &Arc<store_postgres::PostgresStore>,
) -> Result<(), Fail> {
    let View::Projects { projects } = source.read(&Query::Projects)? else {
        return Err(unexpected("projects"));
    };
    for project in projects {
        let there = source.look(|reader| reader.counts(project.id))?;
        let here = target.look(|reader| reader.counts(project.id))?;
        if there != here {
            return Err(Fail::new(
                Exit::Failed,
                format!("{} has {here:?} and had {there:?}", project.root),
            ));
        }
    }
    Ok(())
}
