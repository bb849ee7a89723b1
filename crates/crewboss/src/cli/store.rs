//! `store`: the file that everything is in.

mod migrate;
mod restore;
mod schema;

use std::path::PathBuf;

use api_types::{StoreBackupDocument, StoreCheckDocument};
use store_sqlite::{back_up, check};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::{count, symbols::Symbol},
    stores,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Copy the store into a new file, while everything goes on
    ///
    /// The copy is the store as it was at one moment, is checked, and has reached the disk when the
    /// command ends. Folders of tasks, with logs and transcripts, are in their projects and not in it.
    Backup {
        /// The file, which must not exist; by default `crewboss-TIME.db` in the current folder
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Put a copy in the place of the store; the old file is kept beside it
    ///
    /// No daemon may run, and no agent be at work. Folders that tell of more than the copy are named;
    /// `repair` brings both together.
    Restore(restore::Args),
    /// Move everything into a store of another kind, and prove that it arrived
    ///
    /// The store that is configured has to be the one to move to, and empty. No daemon may run, and
    /// no agent be at work. The file of the old store stays as it is.
    Migrate(migrate::Args),
    /// Look at the form of a store in PostgreSQL, or bring it up to this program's
    Schema(schema::Args),
    /// Look whether the file of the store, or a copy, is whole
    Check {
        /// A copy rather than the store itself
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.verb {
            Verb::Backup { file } => backup(context, file),
            Verb::Restore(args) => args.run(context),
            Verb::Migrate(args) => args.run(context),
            Verb::Schema(args) => args.run(context),
            Verb::Check { file } => examine(context, file),
        }
    }
}

fn backup(context: &Context, file: Option<PathBuf>) -> Outcome {
    stores::refuse_server(
        &context.places,
        "`store backup`",
        "`pg_dump` copies a database, and `crewboss export` everything in an archive",
    )?;
    require_store(context)?;
    let file = match file {
        Some(file) => file,
        None => default_name(context, "crewboss", "db")?,
    };
    let out = &context.out;
    let copied = back_up(&context.places.store_file(), &file)?;
    out.line(format_args!(
        "Copied {} and {} to {} ({} bytes)",
        count(usize::try_from(copied.tasks).unwrap_or(usize::MAX), "task"),
        count(
            usize::try_from(copied.position).unwrap_or(usize::MAX),
            "event"
        ),
        file.display(),
        copied.bytes
    ))?;
    out.print(&StoreBackupDocument {
        file,
        bytes: copied.bytes,
        tasks: copied.tasks,
        position: copied.position,
    })?;
    Ok(Exit::Ok)
}

fn examine(context: &Context, file: Option<PathBuf>) -> Outcome {
    let file = match file {
        Some(file) if !file.is_file() => {
            return Err(Fail::new(
                Exit::NotFound,
                format!("{} is no file", file.display()),
            ));
        }
        Some(file) => file,
        None => {
            stores::refuse_server(
                &context.places,
                "`store check`",
                "the server checks its own files; `crewboss audit verify` checks the log",
            )?;
            require_store(context)?;
            context.places.store_file()
        }
    };
    let problems = check(&file)?;
    let out = &context.out;
    out.print(&StoreCheckDocument {
        ok: problems.is_empty(),
        file: file.clone(),
        problems: problems.clone(),
    })?;
    if problems.is_empty() {
        let sign = Symbol::Check.text(out.unicode);
        out.line(format_args!("{sign} {} is whole", file.display()))?;
        return Ok(Exit::Ok);
    }
    for problem in &problems {
        out.line(problem)?;
    }
    let message = format!("{} is not whole", file.display());
    Err(Fail::new(Exit::Failed, message).hint(
        "`crewboss store restore FILE` puts a copy in its place, and `crewboss repair --from-folders` \
         builds it from the folders",
    ))
}

pub(super) fn require_store(context: &Context) -> Result<(), Fail> {
    if context.has_store()? {
        return Ok(());
    }
    Err(Fail::new(
        Exit::NotFound,
        format!("there is no store yet at {}", context.places.store_name()),
    )
    .hint("it is made with the first task"))
}

/// To the second, in UTC, without what file systems do not like.
pub(super) fn default_name(
    context: &Context,
    stem: &str,
    extension: &str,
) -> Result<PathBuf, Fail> {
    let now = context.clock()?.now().wall.to_string();
    let seconds = now.split('.').next().unwrap_or(&now);
    let plain: String = seconds
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    Ok(context
        .env
        .directory()
        .join(format!("{stem}-{plain}.{extension}")))
}
