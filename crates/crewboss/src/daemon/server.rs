//! The daemon's socket: a thread for each connection, at most [`CONNECTIONS_MAX`].

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use app::{command::Command, error::Error, ports::store::Store, query::Query};
use domain::session::SessionCommand;

use super::{
    bell::{Bell, Heard},
    memory::Memory,
    socket,
    wire::{Answered, Asked, LINE_MAX, PROTOCOL},
};

/// Every runner and every command at work needs one; beyond it new ones are refused, and fall back
/// to the store's file.
const CONNECTIONS_MAX: usize = 512;

/// How often a watcher's connection is tried while nothing happens, so that dead ones go.
const WATCH_PROBE: Duration = Duration::from_secs(30);

/// The listening socket. Its file goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
}

#[derive(Debug, Clone)]
struct Desk {
    store: Arc<dyn Store>,
    bell: Arc<Bell>,
    open: Arc<AtomicUsize>,
    memory: Arc<Memory>,
}

impl Server {
    /// Listens. The caller holds the daemon's lock, so a socket file that is there is a dead one's.
    pub(crate) fn start(path: &Path, store: Arc<dyn Store>, bell: Arc<Bell>) -> io::Result<Self> {
        let listener = socket::listen(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let desk = Desk {
            store,
            bell,
            open: Arc::new(AtomicUsize::new(0)),
            memory: Arc::default(),
        };
        thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || accept(&listener, &desk))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

fn accept(listener: &UnixListener, desk: &Desk) {
    for stream in listener.incoming() {
        if desk.bell.is_closed() {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors: those at work will free some.
            thread::park_timeout(Duration::from_millis(100));
            continue;
        };
        if desk.open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            desk.open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (own, open) = (desk.clone(), Arc::clone(&desk.open));
        let serve = move || {
            drop(own.serve(stream));
            own.open.fetch_sub(1, Ordering::AcqRel);
        };
        if thread::Builder::new()
            .name("connection".to_owned())
            .spawn(serve)
            .is_err()
        {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Desk {
    fn serve(&self, stream: UnixStream) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                let message = format!("the request is longer than {LINE_MAX} bytes, or was cut");
                return send(&mut writer, &refusal(message));
            }
            match serde_json::from_slice::<(u32, Asked)>(&line) {
                Ok((PROTOCOL, Asked::Watch)) => return self.watch(&mut writer),
                Ok((
                    PROTOCOL,
                    Asked::Query {
                        query: query @ Query::Overview { .. },
                    },
                )) => match self.overview(&query) {
                    Ok(line) => writer.write_all(&line)?,
                    Err(error) => send(&mut writer, &Answered::Error { error })?,
                },
                Ok((PROTOCOL, asked)) => send(&mut writer, &self.answer(asked))?,
                Ok((other, _)) => {
                    let message = format!(
                        "this daemon speaks protocol {PROTOCOL}, not {other}: restart it with \
                         `crewboss daemon`"
                    );
                    send(&mut writer, &refusal(message))?;
                }
                Err(error) => send(&mut writer, &refusal(format!("not understood: {error}")))?,
            }
        }
    }

    fn overview(&self, query: &Query) -> Result<Arc<[u8]>, Error> {
        self.memory.answer(&*self.store, query, || {
            let view = Box::new(self.store.read(query)?);
            let line = line_of(&Answered::View { view });
            line.map_err(|error| Error::corrupt(format!("an answer that is no JSON: {error}")))
        })
    }

    fn answer(&self, asked: Asked) -> Answered {
        let answered = match asked {
            Asked::Request { request } => {
                let rings = gives_work(&request.command);
                let reply = self.store.execute(*request);
                match &reply {
                    Ok(_) if rings => self.bell.ring(),
                    Ok(_) => self.bell.tell(),
                    Err(_) => {}
                }
                reply.map(|reply| Answered::Reply {
                    reply: Box::new(reply),
                })
            }
            Asked::Query { query } => self.store.read(&query).map(|view| Answered::View {
                view: Box::new(view),
            }),
            Asked::Generation | Asked::Watch => self
                .store
                .generation()
                .map(|generation| Answered::Generation { generation }),
            Asked::About => Ok(Answered::About {
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }),
        };
        answered.unwrap_or_else(|error| Answered::Error { error })
    }

    fn watch(&self, writer: &mut UnixStream) -> io::Result<()> {
        let mut heard = 0;
        loop {
            send(writer, &self.answer(Asked::Generation))?;
            match self.bell.wait_for_change(heard, WATCH_PROBE) {
                Heard::Ring(rings) => heard = rings,
                Heard::Silence => {}
                Heard::Closed => return Ok(()),
            }
        }
    }
}

/// Whether there may be something to start, to recover or to show after it: not while a session
/// goes its way.
fn gives_work(command: &Command) -> bool {
    let is_quiet = match command {
        Command::RenewLease { .. } => true,
        Command::Session { command, .. } => matches!(
            command,
            SessionCommand::Begin { .. }
                | SessionCommand::Prepared { .. }
                | SessionCommand::Launched { .. }
                | SessionCommand::Verify { .. }
                | SessionCommand::MoveDeadline { .. }
        ),
        _ => false,
    };
    !is_quiet
}

fn refusal(message: String) -> Answered {
    Answered::Error {
        error: Error::unavailable(message),
    }
}

fn send(writer: &mut UnixStream, answered: &Answered) -> io::Result<()> {
    writer.write_all(&line_of(answered)?)
}

fn line_of(answered: &Answered) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answered).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}
