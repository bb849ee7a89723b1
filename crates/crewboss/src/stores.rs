//! Which store is meant, and how it is opened: a file of SQLite, or a schema of a PostgreSQL
//! database. An address with its password stays in the process that was given it; runners get it
//! from a file that only their user can read.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use app::{
    audit::{Head, Source, Visit},
    error::Error,
    event::{Hash, Stream},
    ports::{
        clock::Clock,
        store::{Reader, Store, Tx},
    },
};
use sha2::{Digest as _, Sha256};
use store_postgres::{Parts, Pooler, PostgresLog, PostgresStore, Target, Time, Upgrade};
use store_sqlite::{SqliteLog, SqliteStore};

use crate::{
    config::{Config, Origin, STORE_URL},
    environment::Environment,
    fail::{Exit, Fail},
    places::Places,
};

/// Names the store: `sqlite`, an address of PostgreSQL, or `file:PATH` of a file with one.
pub(crate) const VARIABLE: &str = "CREWBOSS_STORE";

/// The same under names that other tools use, where there is no SQLite store yet.
const DATABASE_URL: &str = "DATABASE_URL";

/// The parts of an address.
const PARTS: [&str; 5] = ["DB_HOST", "DB_PORT", "DB_NAME", "DB_USER", "DB_PASSWORD"];

/// Where else an address may stand that no child is to get.
const URL_VARIABLE: &str = "CREWBOSS_STORE_URL";

/// What a file of an address is called in an address's place.
const FILE: &str = "file:";

/// The largest file that is read for an address.
const FILE_MAX: u64 = 64 * 1024;

/// A PostgreSQL database that is the store, and who said so.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) target: Arc<Target>,
    pub(crate) origin: Origin,
    pub(crate) upgrade: Upgrade,
}

impl Server {
    /// Tells this store from others, also in names of files: 16 hexadecimal digits.
    pub(crate) fn name(&self) -> String {
        hex(&Sha256::digest(self.target.identity())[..8])
    }
}

/// Whether a file of variables may set this one.
pub(crate) fn is_of_env_file(name: &str) -> bool {
    name.starts_with("CREWBOSS_")
        || name == DATABASE_URL
        || PARTS.contains(&name)
        || name.starts_with("REDIS_")
        || ["MAX_CONCURRENT_SESSIONS", "SESSION_TIMEOUT_SECONDS"].contains(&name)
}

/// Takes in a file of variables.
pub(crate) fn read_env_file(env: &mut Environment, file: &Path) -> Result<(), Fail> {
    let path = env.directory().join(file);
    let text = small_file(&path)
        .map_err(|error| Fail::io(format!("cannot read {}", path.display()), &error))?;
    env.read_file(&path, &text, is_of_env_file)
        .map_err(Fail::usage)
}

/// The server that is the store; `None` where it is the file. What names it is kept from children.
pub(crate) fn find(
    env: &mut Environment,
    places: &Places,
    config: Option<&Config>,
) -> Result<Option<Server>, Fail> {
    if places.layout.is_some() {
        return Ok(None);
    }
    env.hide(&[VARIABLE, URL_VARIABLE]);
    let pooler = config.map_or("none", |config| config.settings.store.pooler.as_str());
    let pooler = Pooler::parse(pooler)?;
    let upgrade = if config.is_none_or(|config| config.settings.store.migrate) {
        Upgrade::ByItself
    } else {
        Upgrade::Never
    };
    let server = |target: Target, origin: Origin| Server {
        target: Arc::new(match pooler {
            Pooler::Transaction => target.behind(Pooler::Transaction),
            Pooler::None => target,
        }),
        origin,
        upgrade,
    };
    if let Some(said) = env.get(VARIABLE) {
        let said = said
            .to_str()
            .ok_or_else(|| Fail::usage(format!("{VARIABLE} is not UTF-8")))?;
        let target = address(said, VARIABLE, env.directory())?;
        return Ok(target.map(|target| server(target, origin_of(env, VARIABLE))));
    }
    if let Some((config, url)) = config.and_then(|c| Some((c, c.settings.store.url.as_ref()?))) {
        let target = address(url, STORE_URL, env.directory())?;
        return Ok(target.map(|target| server(target, config.origin(STORE_URL).clone())));
    }
    if places.store_file().exists() {
        return Ok(None);
    }
    if let Some(url) = env.text(DATABASE_URL).filter(|url| is_ours(url)) {
        let target = Target::parse(url).map_err(|error| wrong(DATABASE_URL, &error))?;
        let origin = origin_of(env, DATABASE_URL);
        env.hide(&[DATABASE_URL]);
        return Ok(Some(server(target, origin)));
    }
    let parts = Parts {
        host: env.text("DB_HOST"),
        port: env.text("DB_PORT"),
        database: env.text("DB_NAME"),
        user: env.text("DB_USER"),
        password: env.text("DB_PASSWORD"),
    };
    if parts.host.is_none() || parts.database.is_none() || parts.user.is_none() {
        return Ok(None);
    }
    let target = Target::of_parts(&parts).map_err(|error| wrong("DB_HOST", &error))?;
    let origin = origin_of(env, "DB_HOST");
    env.hide(&PARTS);
    Ok(Some(server(target, origin)))
}

fn is_ours(url: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

fn origin_of(env: &Environment, name: &str) -> Origin {
    match env.file_of(name) {
        Some((path, line)) => Origin::File {
            path: path.clone(),
            line: *line,
        },
        None => Origin::Environment(name.to_owned()),
    }
}

/// What an address says; `None` where it says that the store is the file.
fn address(said: &str, what: &str, directory: &Path) -> Result<Option<Target>, Fail> {
    if said == "sqlite" {
        return Ok(None);
    }
    if let Some(path) = said.strip_prefix(FILE) {
        let path = directory.join(path);
        let text = small_file(&path).map_err(|error| {
            let message = format!("{what}: cannot read {}", path.display());
            Fail::io(message, &error)
        })?;
        let target = Target::parse(text.trim()).map_err(|error| wrong(what, &error))?;
        return Ok(Some(target));
    }
    if !is_ours(said) {
        return Err(Fail::usage(format!(
            "{what} names no store: it is `sqlite`, an address that begins with postgres://, or \
             file:PATH of a file that holds one"
        )));
    }
    Target::parse(said)
        .map(Some)
        .map_err(|error| wrong(what, &error))
}

fn wrong(what: &str, error: &Error) -> Fail {
    Fail::usage(format!("{what}: {error}"))
}

/// An address without its password; nothing of what cannot be read as one.
pub(crate) fn masked(url: &str) -> String {
    if url.is_empty() || url == "sqlite" || url.starts_with(FILE) {
        return url.to_owned();
    }
    match Target::parse(url) {
        Ok(target) => target.to_string(),
        Err(_) => domain::redact::MASK.to_owned(),
    }
}

fn small_file(path: &Path) -> io::Result<String> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > FILE_MAX {
        return Err(io::Error::other("it is no file of variables"));
    }
    fs::read_to_string(path)
}

/// The file by which runners are told where the store is: for this user's eyes alone.
pub(crate) fn credential_file(places: &Places, server: &Server) -> Result<PathBuf, Fail> {
    let folder = places.run_directory();
    let path = folder.join(format!("store-{}.address", server.name()));
    let text = server.target.secret_url();
    let cannot = |error: &io::Error| Fail::io(format!("cannot write {}", path.display()), error);
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(path);
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| cannot(&error))?;
    let part = folder.join(format!(
        "store-{}.{}.part",
        server.name(),
        std::process::id()
    ));
    drop(fs::remove_file(&part));
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&part, &path))
        .map_err(|error| cannot(&error))?;
    Ok(path)
}

/// The variable that names the store to a process of ours, without a secret in it.
pub(crate) fn variable_for_children(places: &Places) -> Result<Option<(String, String)>, Fail> {
    let Some(server) = &places.server else {
        return Ok(None);
    };
    let file = credential_file(places, server)?;
    Ok(Some((
        VARIABLE.to_owned(),
        format!("{FILE}{}", file.display()),
    )))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        text.extend(
            [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
        );
        text
    })
}

/// Opens the store on a server; `None` where there is none and none is to be made.
pub(crate) fn open_server(
    server: &Server,
    local: Arc<dyn Clock>,
    make: bool,
) -> Result<Option<Arc<PostgresStore>>, Fail> {
    let (target, time) = ((*server.target).clone(), Time::Server(local));
    let store = if make {
        Some(PostgresStore::open(target, time, server.upgrade)?)
    } else {
        PostgresStore::find(target, time, server.upgrade)?
    };
    Ok(store.map(Arc::new))
}

/// The store itself, with no daemon between.
#[derive(Debug, Clone)]
pub(crate) enum Direct {
    /// A file.
    Sqlite(Arc<SqliteStore>),
    /// A schema of a database.
    Postgres(Arc<PostgresStore>),
}

impl Direct {
    /// As the port.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Postgres(store) => Arc::clone(store) as Arc<dyn Store>,
        }
    }

    /// Shows one consistent state to `work`.
    pub(crate) fn look<T>(
        &self,
        work: impl FnOnce(&dyn Reader) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self {
            Self::Sqlite(store) => store.look(work),
            Self::Postgres(store) => store.look(work),
        }
    }

    /// Runs `work` in one transaction.
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self {
            Self::Sqlite(store) => store.transact(work),
            Self::Postgres(store) => store.transact(work),
        }
    }
}

/// Where a log is read from.
#[derive(Debug, Clone)]
pub(crate) enum LogPlace {
    /// A file.
    File(PathBuf),
    /// A schema of a database.
    Server(Arc<PostgresStore>),
}

impl LogPlace {
    /// Opens it.
    pub(crate) fn open(&self) -> Result<Log, Error> {
        Ok(match self {
            Self::File(file) => Log::Sqlite(SqliteLog::open(file)?),
            Self::Server(store) => Log::Postgres(PostgresLog::of(store)),
        })
    }
}

/// The log as it stands in the store.
#[derive(Debug)]
pub(crate) enum Log {
    /// Of a file.
    Sqlite(SqliteLog),
    /// Of a schema.
    Postgres(PostgresLog),
}

impl Log {
    /// The same from a position on.
    pub(crate) fn since(self, position: u64) -> Self {
        match self {
            Self::Sqlite(log) => Self::Sqlite(log.since(position)),
            Self::Postgres(log) => Self::Postgres(log.since(position)),
        }
    }

    /// What it has come to.
    pub(crate) fn end(&self) -> Result<Option<Head>, Error> {
        match self {
            Self::Sqlite(log) => log.end(),
            Self::Postgres(log) => log.end(),
        }
    }

    /// What it had come to at a position.
    pub(crate) fn at(&self, position: u64) -> Result<Option<Head>, Error> {
        match self {
            Self::Sqlite(log) => log.at(position),
            Self::Postgres(log) => log.at(position),
        }
    }
}

impl Source for Log {
    fn walk(&self, stream: Option<Stream>, visit: Visit<'_>) -> Result<(), Error> {
        match self {
            Self::Sqlite(log) => log.walk(stream, visit),
            Self::Postgres(log) => log.walk(stream, visit),
        }
    }

    fn before(&self, stream: Stream, position: i64) -> Result<Option<(u64, Hash)>, Error> {
        match self {
            Self::Sqlite(log) => log.before(stream, position),
            Self::Postgres(log) => log.before(stream, position),
        }
    }
}

/// What only a file of SQLite can do.
pub(crate) fn refuse_server(places: &Places, what: &str, instead: &str) -> Result<(), Fail> {
    match &places.server {
        None => Ok(()),
        Some(server) => Err(Fail::new(
            Exit::Usage,
            format!(
                "{what} is for a store in a file, and this one is {}",
                server.target
            ),
        )
        .hint(instead.to_owned())),
    }
}
