//! The store as every process but the daemon sees it: through the daemon's socket while one lives,
//! else straight from the file.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use app::{
    command::{Command, Reply, Request},
    error::Error,
    ports::{
        clock::Clock,
        store::{Answer, Store},
    },
    query::{Query, View},
};
use store_sqlite::SqliteStore;

use crate::{
    daemon::{
        socket,
        wire::{Answered, Asked, PROTOCOL},
    },
    places::Places,
    stores::Direct,
};

/// How long the daemon may take for one answer. One that is stopped or hung must not keep a
/// runner from renewing its lease at the file in time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// For so long a daemon that did not answer is not asked again.
const HUNG_MILLIS: u64 = 15_000;

/// A store that changes its way when a daemon comes or goes.
#[derive(Debug)]
pub(crate) struct Connection(Arc<Ways>);

/// Both ways to the store.
#[derive(Debug)]
struct Ways {
    socket: PathBuf,
    file: PathBuf,
    clock: Arc<dyn Clock>,
    stream: Mutex<Option<BufReader<UnixStream>>>,
    direct: Mutex<Option<Arc<dyn Store>>>,
    /// When, on the boot clock, a daemon that did not answer may be asked again.
    hung_until: AtomicU64,
}

/// How asking the daemon went.
enum Asking {
    /// It answered.
    Answered(Box<Answered>),
    /// There is none, or it went before it was asked.
    Absent,
    /// It went after it was asked: it may have done it.
    Unknown,
}

/// A store for this machine's places.
pub(crate) fn connect(places: &Places, clock: Arc<dyn Clock>) -> Connection {
    Connection(Arc::new(Ways {
        socket: places.daemon_socket(),
        file: places.store_file(),
        clock,
        stream: Mutex::new(None),
        direct: Mutex::new(None),
        hung_until: AtomicU64::new(0),
    }))
}

/// The same where the store is open already.
pub(crate) fn connect_to(places: &Places, clock: Arc<dyn Clock>, direct: &Direct) -> Connection {
    let connection = connect(places, clock);
    let mut known = connection.0.direct.lock();
    *known.as_deref_mut().unwrap_or(&mut None) = Some(direct.store());
    drop(known);
    connection
}

impl Connection {
    /// Whether the daemon answered last: what a commit owes is its business then.
    pub(crate) fn is_served(&self) -> bool {
        let stream = self.0.stream.lock();
        stream.unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

impl Store for Connection {
    /// Does not wait for the store: the caller may have a lease to watch meanwhile.
    fn submit(&self, request: Request, answer: Answer) {
        let ways = Arc::clone(&self.0);
        // Where no thread is to be had the answer is dropped unsaid, which says that it failed.
        drop(
            thread::Builder::new()
                .name("store".to_owned())
                .spawn(move || answer(ways.change(request))),
        );
    }

    fn execute(&self, request: Request) -> Result<Reply, Error> {
        self.0.change(request)
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        match self.0.ask(&Asked::Query {
            query: query.clone(),
        }) {
            Asking::Answered(answered) => answered.into_view(),
            Asking::Absent | Asking::Unknown => self.0.direct()?.read(query),
        }
    }

    fn generation(&self) -> Result<u64, Error> {
        match self.0.ask(&Asked::Generation) {
            Asking::Answered(answered) => answered.into_generation(),
            Asking::Absent | Asking::Unknown => self.0.direct()?.generation(),
        }
    }
}

impl Ways {
    fn change(&self, mut request: Request) -> Result<Reply, Error> {
        if needs_key(&request.command) && request.meta.idempotency_key.is_none() {
            request.meta.idempotency_key = Some(new_key()?);
        }
        // A daemon that went away in between may have committed: the key makes asking again safe.
        match self.ask(&Asked::Request {
            request: Box::new(request.clone()),
        }) {
            Asking::Answered(answered) => answered.into_reply(),
            Asking::Absent | Asking::Unknown => self.direct()?.execute(request),
        }
    }

    fn direct(&self) -> Result<Arc<dyn Store>, Error> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*direct {
            return Ok(Arc::clone(store));
        }
        let opened = SqliteStore::open(&self.file, Arc::clone(&self.clock))?;
        let store: Arc<dyn Store> = Arc::new(opened);
        *direct = Some(Arc::clone(&store));
        Ok(store)
    }

    fn ask(&self, asked: &Asked) -> Asking {
        let now = self.clock.now().moment.millis;
        if now < self.hung_until.load(Ordering::Relaxed) {
            return Asking::Absent;
        }
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        // A connection that was open may be to a daemon that has gone since: then once more.
        if let Some(asking) = stream
            .take()
            .and_then(|open| self.ask_over(open, &mut stream, asked, now))
        {
            return asking;
        }
        dial(&self.socket)
            .and_then(|open| self.ask_over(open, &mut stream, asked, now))
            .unwrap_or(Asking::Absent)
    }

    /// Keeps the connection where it answered; `None` where the question did not get through.
    fn ask_over(
        &self,
        mut open: BufReader<UnixStream>,
        kept: &mut Option<BufReader<UnixStream>>,
        asked: &Asked,
        now: u64,
    ) -> Option<Asking> {
        match exchange(&mut open, asked) {
            Exchange::Answered(answered) => {
                *kept = Some(open);
                Some(Asking::Answered(Box::new(answered)))
            }
            Exchange::NotSent => None,
            Exchange::NoAnswer => Some(Asking::Unknown),
            Exchange::Late => {
                self.hung_until.store(now + HUNG_MILLIS, Ordering::Relaxed);
                Some(Asking::Unknown)
            }
        }
    }
}

enum Exchange {
    Answered(Answered),
    NotSent,
    NoAnswer,
    /// It is there and does not answer.
    Late,
}

/// A connection to the daemon behind this socket, where one answers.
pub(crate) fn dial(path: &Path) -> Option<BufReader<UnixStream>> {
    let stream = socket::dial(path).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    Some(BufReader::new(stream))
}

fn exchange(stream: &mut BufReader<UnixStream>, asked: &Asked) -> Exchange {
    let Ok(mut line) = serde_json::to_vec(&(PROTOCOL, asked)) else {
        return Exchange::NotSent;
    };
    line.push(b'\n');
    if stream.get_mut().write_all(&line).is_err() {
        return Exchange::NotSent;
    }
    let mut answer = String::new();
    match stream.read_line(&mut answer) {
        Ok(read) if read > 0 => match serde_json::from_str(&answer) {
            Ok(answered) => Exchange::Answered(answered),
            Err(_) => Exchange::NoAnswer,
        },
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Exchange::Late,
        Ok(_) | Err(_) => Exchange::NoAnswer,
    }
}

/// Unique among all processes, also those that do not see each other's numbers.
fn new_key() -> Result<String, Error> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .map_err(|error| Error::unavailable(format!("/dev/urandom cannot be read: {error}")))?;
    Ok(format!("auto-{:032x}", u128::from_be_bytes(random)))
}

/// Whether doing it twice, or once more but later, may differ from doing it once. A session's words
/// carry a fence, and a renewed lease only grows longer.
fn needs_key(command: &Command) -> bool {
    match command {
        Command::Session { .. } | Command::RenewLease { .. } => false,
        Command::Lock { command, .. } => command.differs_when_repeated(),
        _ => true,
    }
}
