//! The store as every process but the daemon sees it: through the daemon's socket while one lives,
//! else straight from the file.

use std::{
    io::{BufRead as _, BufReader, Write as _},
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
    daemon::wire::{Answered, Asked, PROTOCOL},
    places::Places,
};

/// How long the daemon may take for one answer: the busy limit of the store itself.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A store that changes its way when a daemon comes or goes.
#[derive(Debug)]
struct Connection(Arc<Ways>);

/// Both ways to the store.
#[derive(Debug)]
struct Ways {
    socket: PathBuf,
    file: PathBuf,
    clock: Arc<dyn Clock>,
    stream: Mutex<Option<BufReader<UnixStream>>>,
    direct: Mutex<Option<Arc<SqliteStore>>>,
    keys: AtomicU64,
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
pub(crate) fn connect(places: &Places, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
    Arc::new(Connection(Arc::new(Ways {
        socket: places.daemon_socket(),
        file: places.store_file(),
        clock,
        stream: Mutex::new(None),
        direct: Mutex::new(None),
        keys: AtomicU64::new(0),
    })))
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
        if repeats_twice(&request.command) && request.meta.idempotency_key.is_none() {
            request.meta.idempotency_key = Some(self.new_key());
        }
        // A daemon that went away in between may have committed: the key makes asking again safe.
        match self.ask(&Asked::Request {
            request: Box::new(request.clone()),
        }) {
            Asking::Answered(answered) => answered.into_reply(),
            Asking::Absent | Asking::Unknown => self.direct()?.execute(request),
        }
    }

    /// Unique among all processes: the boot clock never repeats within a boot, nor a process
    /// number at the same time.
    fn new_key(&self) -> String {
        let now = self.clock.now();
        let count = self.keys.fetch_add(1, Ordering::Relaxed);
        let (boot, millis) = (&now.moment.boot.0, now.moment.millis);
        format!("auto-{boot}-{millis}-{}-{count}", std::process::id())
    }

    fn direct(&self) -> Result<Arc<SqliteStore>, Error> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*direct {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(SqliteStore::open(&self.file, Arc::clone(&self.clock))?);
        *direct = Some(Arc::clone(&store));
        Ok(store)
    }

    fn ask(&self, asked: &Asked) -> Asking {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = stream.as_mut() {
            match exchange(open, asked) {
                Exchange::Answered(answered) => return Asking::Answered(Box::new(answered)),
                Exchange::NotSent => *stream = None,
                Exchange::NoAnswer => {
                    *stream = None;
                    return Asking::Unknown;
                }
            }
        }
        let Some(mut open) = dial(&self.socket) else {
            return Asking::Absent;
        };
        match exchange(&mut open, asked) {
            Exchange::Answered(answered) => {
                *stream = Some(open);
                Asking::Answered(Box::new(answered))
            }
            Exchange::NotSent => Asking::Absent,
            Exchange::NoAnswer => Asking::Unknown,
        }
    }
}

enum Exchange {
    Answered(Answered),
    NotSent,
    NoAnswer,
}

/// A connection to the daemon behind this socket, where one answers.
pub(crate) fn dial(socket: &Path) -> Option<BufReader<UnixStream>> {
    let stream = UnixStream::connect(socket).ok()?;
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
        Ok(_) | Err(_) => Exchange::NoAnswer,
    }
}

/// Whether doing it twice differs from doing it once.
fn repeats_twice(command: &Command) -> bool {
    match command {
        Command::CreateTask { .. }
        | Command::Claim { .. }
        | Command::RetryTask { .. }
        | Command::SetTimeout { .. } => true,
        Command::RegisterProject { .. }
        | Command::ImportTasks { .. }
        | Command::Session { .. }
        | Command::RenewLease { .. }
        | Command::StopTask { .. }
        | Command::DeleteTasks { .. }
        | Command::ArchiveTasks { .. }
        | Command::Attach { .. }
        | Command::Detach { .. }
        | Command::EndExternal { .. } => false,
    }
}
