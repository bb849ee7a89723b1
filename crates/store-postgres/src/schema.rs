//! The form of the store in its schema, and how an older one is brought up to it.

use app::error::Error;
use tokio_postgres::types::Type;

use crate::{
    ask::first,
    failure::Trouble,
    link::{Link, Step},
    row::Columns as _,
    target::Target,
};

/// Every migration: its form, its name, and its statements, in which `@` stands for the schema.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "store", include_str!("../migrations/V1__store.sql")),
    (2, "locks", include_str!("../migrations/V2__locks.sql")),
    (3, "quotas", include_str!("../migrations/V3__quotas.sql")),
    (4, "nodes", include_str!("../migrations/V4__nodes.sql")),
];

/// The oldest server that has everything.
const SERVER_MIN: i32 = 140_000;

/// The form that this program reads and writes.
pub(crate) fn known() -> i32 {
    MIGRATIONS.last().map_or(0, |migration| migration.0)
}

/// What a look at the server shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// The server's version, as it numbers it.
    pub(crate) server: i32,
    /// The server's time in Unix milliseconds.
    pub(crate) millis: i64,
    /// The store, where there is one: its form and its id.
    pub(crate) store: Option<(i32, String)>,
}

/// A migration that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The form that the store has after it.
    pub form: i32,
    /// What it is called.
    pub name: String,
    /// What is done, as it is sent to the server.
    pub statements: String,
}

/// The form of a store beside the one that this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The schema.
    pub schema: String,
    /// The form of the store in it; 0 where there is none.
    pub found: i32,
    /// The form that this program reads and writes.
    pub known: i32,
    /// The server's version, as it says it.
    pub server: String,
    /// What brings the store up to this program's form, oldest first.
    pub pending: Vec<Migration>,
}

/// Looks at the server and at the form of the store.
///
/// # Errors
/// [`Error::Unavailable`] where the server is too old.
pub(crate) fn look(link: &Link, target: &Target) -> Result<Look, Error> {
    let rows = link.ask(
        "SELECT current_setting('server_version_num')::integer,
                (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
                EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = $1 AND c.relname = 'store'),
                current_setting('server_version')",
        &[(&target.schema, Type::TEXT)],
    )?;
    let said = first(&rows, |row| {
        let version: &str = row.value(3)?;
        Ok((
            row.value::<i32>(0)?,
            row.value::<i64>(1)?,
            row.value::<bool>(2)?,
            version.to_owned(),
        ))
    })?;
    let Some((server, millis, exists, version)) = said else {
        return Err(Error::corrupt("the server said nothing of itself"));
    };
    if server < SERVER_MIN {
        return Err(Error::unavailable(format!(
            "{} has version {version}, and 14 is the oldest that works: upgrade the server",
            target.place_name()
        )));
    }
    let store = if exists { stored(link)? } else { None };
    Ok(Look {
        server,
        millis,
        store,
    })
}

fn stored(link: &Link) -> Result<Option<(i32, String)>, Error> {
    let rows = link.ask("SELECT form, id FROM @store", &[])?;
    first(&rows, |row| Ok((row.value(0)?, row.value(1)?)))
}

/// Refuses a form that is newer than ours: an old program must not touch it.
pub(crate) fn require_not_newer(form: i32) -> Result<(), Error> {
    let known = known();
    if form > known {
        return Err(Error::unavailable(format!(
            "the store has form {form} and this program knows {known}: use a newer crewboss; the \
             way back is `export` with the newer one and `import` into an empty store with this one"
        )));
    }
    Ok(())
}

/// What is missing to our form.
pub(crate) fn pending(form: i32, target: &Target) -> Vec<Migration> {
    let schema = format!("\"{}\".", target.schema);
    MIGRATIONS
        .iter()
        .filter(|(to, ..)| *to > form)
        .map(|(to, name, sql)| Migration {
            form: *to,
            name: (*name).to_owned(),
            statements: sql.replace('@', &schema),
        })
        .collect()
}

/// Brings the store up to our form, in one transaction and in turn with everybody else who wants to.
/// Answers the store as it is then.
pub(crate) fn migrate(link: &Link, target: &Target) -> Result<(i32, String), Error> {
    let lock = format!(
        "BEGIN; SET LOCAL lock_timeout = '30s'; SELECT pg_advisory_xact_lock({})",
        lock_key(target)
    );
    link.together(&[Step::Plain(&lock)])?;
    let result = bring_up(link, target);
    let end = if result.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = link.together(&[Step::Plain(end)]);
    match result {
        Ok(store) => ended.map(|_| store),
        Err(error) => {
            link.forgive();
            Err(error)
        }
    }
}

fn bring_up(link: &Link, target: &Target) -> Result<(i32, String), Error> {
    let found = look(link, target)?.store;
    let form = found.as_ref().map_or(0, |(form, _)| *form);
    require_not_newer(form)?;
    let mut text = String::new();
    if found.is_none() {
        text = format!(
            "CREATE SCHEMA IF NOT EXISTS \"{0}\";
             CREATE TABLE \"{0}\".store (
                 one  boolean PRIMARY KEY DEFAULT true CHECK (one),
                 form integer NOT NULL,
                 id   text NOT NULL
             );
             INSERT INTO \"{0}\".store (form, id) VALUES (0, replace(gen_random_uuid()::text, '-', ''));",
            target.schema
        );
    }
    for migration in pending(form, target) {
        text.push_str(&migration.statements);
        let (schema, form) = (&target.schema, migration.form);
        text.extend([
            ";\nUPDATE \"",
            schema,
            "\".store SET form = ",
            &form.to_string(),
            ";\n",
        ]);
    }
    link.attempt(&[Step::Plain(&text)])
        .map_err(|trouble| match trouble {
            Trouble::Refused { .. } => match trouble.told(target) {
                Error::Unavailable { message } => {
                    Error::unavailable(format!("the store cannot be made or migrated: {message}"))
                }
                other => other,
            },
            lost => lost.told(target),
        })?;
    stored(link)?.ok_or_else(|| Error::corrupt("the store's own row is gone"))
}

/// The number by which writers of one store take turns: of the schema's name, as a lock is of one
/// database.
pub(crate) fn lock_key(target: &Target) -> i64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in b"crewboss:".iter().chain(target.schema.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    i64::from_ne_bytes(hash.to_ne_bytes())
}
