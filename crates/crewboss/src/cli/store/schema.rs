//! `store schema`.

use api_types::{StoreMigration, StoreSchemaDocument};
use store_postgres::{PostgresStore, SchemaStatus};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::count,
    stores::Server,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Say which form the store has and which one this program needs
    Status,
    /// Bring the store up to this program's form; every process does so by itself unless
    /// `store.migrate` is false
    Upgrade {
        /// Change nothing: print what would be sent to the server
        #[arg(long)]
        dry_run: bool,
    },
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let Some(server) = &context.places.server else {
            return Err(Fail::new(
                Exit::Usage,
                format!(
                    "the store is the file {}, which every command keeps up to date by itself",
                    context.places.store_name()
                ),
            ));
        };
        match self.verb {
            Verb::Status => status(context, server),
            Verb::Upgrade { dry_run } => upgrade(context, server, dry_run),
        }
    }
}

fn status(context: &Context, server: &Server) -> Outcome {
    let status = PostgresStore::schema_status(&server.target)?;
    let out = &context.out;
    out.line(format_args!("Store   {}", server.target))?;
    out.line(format_args!("Server  PostgreSQL {}", status.server))?;
    out.line(format_args!("Form    {} of {}", status.found, status.known))?;
    for migration in &status.pending {
        out.line(format_args!(
            "Pending {} ({})",
            migration.form, migration.name
        ))?;
    }
    out.print(&document(server, &status, false))?;
    Ok(Exit::Ok)
}

fn upgrade(context: &Context, server: &Server, dry_run: bool) -> Outcome {
    let out = &context.out;
    if dry_run {
        let status = PostgresStore::schema_status(&server.target)?;
        for migration in &status.pending {
            out.line(&migration.statements)?;
        }
        out.print(&document(server, &status, true))?;
        return Ok(Exit::Ok);
    }
    let before = PostgresStore::upgrade(&server.target)?;
    out.line(match before.pending.len() {
        0 => format!("The store has form {} already", before.known),
        many => format!(
            "The store has form {} now ({})",
            before.known,
            count(many, "migration")
        ),
    })?;
    let after = PostgresStore::schema_status(&server.target)?;
    out.print(&document(server, &after, false))?;
    Ok(Exit::Ok)
}

fn document(server: &Server, status: &SchemaStatus, with_statements: bool) -> StoreSchemaDocument {
    let pending = status.pending.iter().map(|migration| StoreMigration {
        form: i64::from(migration.form),
        name: migration.name.clone(),
        statements: with_statements.then(|| migration.statements.clone()),
    });
    StoreSchemaDocument {
        store: server.target.to_string(),
        found: i64::from(status.found),
        known: i64::from(status.known),
        server: status.server.clone(),
        pending: pending.collect(),
    }
}
