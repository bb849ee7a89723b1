//! The control socket of a runner: `<run directory>/<session>.sock`, for its owner alone.
//!
//! One request per connection, one JSON object per line:
//!
//! - `{"v":1,"do":"poke"}` makes the runner renew its lease and hear what is wanted of its
//!   session; answered once that was done.
//! - `{"v":1,"do":"status"}` answers what the runner is doing.
//!
//! Answers are `{"v":1,"ok":true,…}` or `{"v":1,"ok":false,"error":"…"}`. Both sides reach the
//! socket through the open folder, so that the length of the folder's path does not matter.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use app::ports::runners::Runners;
use domain::{
    id::{SessionId, TaskId},
    process::ProcessIdentity,
};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::{
    keeper::KeeperHandle,
    stop_pipe::{Stopper, Waiting, stop_pipe},
};

/// The version of the protocol.
const VERSION: u32 = 1;

/// The longest line that is read.
const LINE_MAX: u64 = 4096;

/// How long one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    v: u32,
    #[serde(rename = "do")]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verb {
    Poke,
    Status,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answer {
    v: u32,
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<RunnerStatus>,
}

/// What a runner is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerStatus {
    /// Its session.
    pub session: SessionId,
    /// The task of that.
    pub task: TaskId,
    /// What it is doing.
    pub phase: Phase,
    /// Its own process number.
    pub pid: u32,
    /// The agent's process, once started.
    pub agent: Option<ProcessIdentity>,
}

/// What a runner is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It makes the workspace.
    Preparing,
    /// The agent is at work.
    Running,
    /// The work is committed and checked.
    Verifying,
    /// The end is written down.
    Settling,
}

/// The status that the socket answers.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<Mutex<RunnerStatus>>);

impl Board {
    pub(crate) fn new(status: RunnerStatus) -> Self {
        Self(Arc::new(Mutex::new(status)))
    }

    pub(crate) fn show(&self, phase: Phase) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).phase = phase;
    }

    pub(crate) fn show_agent(&self, agent: &ProcessIdentity) {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        status.phase = Phase::Running;
        status.agent = Some(agent.clone());
    }

    fn read(&self) -> RunnerStatus {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The listening socket; closed and removed when dropped.
#[derive(Debug)]
pub(crate) struct Control {
    folder: RunFolder,
    name: String,
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    pub(crate) fn start(
        directory: &Path,
        session: SessionId,
        board: Board,
        keeper: KeeperHandle,
    ) -> io::Result<Self> {
        let folder = RunFolder::make(directory)?;
        let name = socket_name(session);
        let path = folder.reach(&name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let (stopper, waiting) = stop_pipe()?;
        let server = Server {
            listener,
            waiting,
            board,
            keeper,
        };
        let thread = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || server.run())?;
        Ok(Self {
            folder,
            name,
            stopper: Some(stopper),
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // A socket that cannot be removed is in nobody's way: nobody answers.
        drop(fs::remove_file(self.folder.reach(&self.name)));
        drop(self.stopper.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Server {
    listener: UnixListener,
    waiting: Waiting,
    board: Board,
    keeper: KeeperHandle,
}

impl Server {
    fn run(self) {
        while self.waiting.readable(&self.listener) {
            if let Ok((stream, _)) = self.listener.accept() {
                // One that goes away or says nothing is its own problem.
                drop(self.serve(&stream));
            }
        }
    }

    fn serve(&self, mut stream: &UnixStream) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE / 2))?;
        stream.set_write_timeout(Some(PATIENCE / 2))?;
        let answer = match read_line::<Ask>(stream) {
            Ok(ask) if ask.v == VERSION => self.answer(ask.verb),
            Ok(ask) => refusal(format!("version {} is not spoken here", ask.v)),
            Err(error) => refusal(error.to_string()),
        };
        stream.write_all(&line(&answer)?)
    }

    fn answer(&self, verb: Verb) -> Answer {
        match verb {
            Verb::Status => Answer {
                v: VERSION,
                ok: true,
                status: Some(self.board.read()),
                error: None,
            },
            Verb::Poke if self.keeper.poke() => Answer {
                v: VERSION,
                ok: true,
                ..Answer::default()
            },
            Verb::Poke => refusal("the lease could not be renewed".to_owned()),
        }
    }
}

fn refusal(error: String) -> Answer {
    Answer {
        v: VERSION,
        ok: false,
        error: Some(error),
        status: None,
    }
}

fn line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn read_line<T: for<'de> Deserialize<'de>>(stream: &UnixStream) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn socket_name(session: SessionId) -> String {
    format!("{session}.sock")
}

/// The longest path that fits into a socket's address, which ends with a zero byte.
const PATH_MAX: usize = 107;

/// The length of `/ses_`, the longest number, and `.sock`.
const NAME_MAX: usize = 5 + 20 + 5;

/// A way to the folder of control sockets that leaves room for the name of one.
#[derive(Debug)]
struct RunFolder {
    path: PathBuf,
    /// What the way leads through, where the folder's own path is too long.
    _open: Option<File>,
}

impl RunFolder {
    fn make(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::open(path)
    }

    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() + NAME_MAX <= PATH_MAX {
            return Ok(Self {
                path: path.to_owned(),
                _open: None,
            });
        }
        let flags = (OFlags::DIRECTORY | OFlags::PATH).bits();
        let flags = i32::try_from(flags).map_err(io::Error::other)?;
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        Ok(Self {
            path: PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())),
            _open: Some(open),
        })
    }

    /// A short path to a file in it.
    fn reach(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Reaches the runners of this machine by their control sockets.
#[derive(Debug, Clone)]
pub struct RunnerSockets {
    directory: PathBuf,
}

impl RunnerSockets {
    /// The runners whose sockets are in this folder.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What the runner of a session is doing.
    ///
    /// # Errors
    /// Where no runner answers within a second.
    pub fn status(&self, session: SessionId) -> io::Result<RunnerStatus> {
        let answer = self.ask(session, Verb::Status)?;
        answer
            .status
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn ask(&self, session: SessionId, verb: Verb) -> io::Result<Answer> {
        let folder = RunFolder::open(&self.directory)?;
        let mut stream = UnixStream::connect(folder.reach(&socket_name(session)))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&line(&Ask { v: VERSION, verb })?)?;
        let answer: Answer = read_line(&stream)?;
        match answer.error {
            None if answer.ok => Ok(answer),
            error => Err(io::Error::other(error.unwrap_or_default())),
        }
    }
}

impl Runners for RunnerSockets {
    fn poke(&self, session: SessionId) -> io::Result<()> {
        self.ask(session, Verb::Poke).map(drop)
    }

    fn sockets(&self) -> Vec<(SessionId, PathBuf)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        let socket = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let session = name.to_str()?.strip_suffix(".sock")?.parse().ok()?;
            Some((session, entry.path()))
        };
        entries.flatten().filter_map(socket).collect()
    }

    fn remove_socket(&self, session: SessionId) -> io::Result<()> {
        match fs::remove_file(self.directory.join(socket_name(session))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
