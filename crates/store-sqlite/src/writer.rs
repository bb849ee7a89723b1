//! Writing: the connection with its turns, and the thread that commits together what has queued.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use app::{
    command::{Reply, Request},
    error::Error,
    faults::{self, Act, Deed, Thing},
    ports::{clock::Clock, store::Answer},
};
use rusqlite::Connection;

use crate::{
    connection::{self, Checkpoints},
    failure::{self, Explain as _},
    replace::Identity,
    schema,
    ticket::{PATIENCE, Tickets},
    transaction::Transaction,
};

/// Requests that share one commit, at most: more only makes the first ones wait.
const GROUP_MAX: usize = 512;

/// Requests that wait for the writer, at most; those beyond are refused at once.
const QUEUE_MAX: usize = 16_384;

/// The connection that writes, one transaction at a time, each in its turn.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    /// Of the file that the connection is to.
    identity: Option<Identity>,
    connection: Connection,
    tickets: Tickets,
    clock: Arc<dyn Clock>,
    checkpoints: Checkpoints,
    log: PathBuf,
}

impl Writer {
    /// Opens the file for writing, and makes or migrates it where that is due.
    pub(crate) fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        checkpoints: Checkpoints,
    ) -> Result<Self, Error> {
        connection::ensure_file(path)?;
        let mut writer = Self {
            path: path.to_owned(),
            identity: Identity::of(path),
            connection: connection::writer(path, checkpoints)?,
            tickets: Tickets::of(path),
            clock,
            checkpoints,
            log: connection::log_of(path),
        };
        if schema::form(&writer.connection)? == schema::Form::Older {
            writer.migrate()?;
        }
        Ok(writer)
    }

    fn migrate(&mut self) -> Result<(), Error> {
        let ticket = self.tickets.draw()?;
        let migrated = match schema::form(&self.connection) {
            Ok(schema::Form::Older) => schema::migrate(&mut self.connection),
            other => other.map(drop),
        };
        self.tickets.give_back(ticket);
        migrated
    }

    /// Another file may have come in place of the one that is open, while this process did not have
    /// the turn. The caller has it.
    fn follow(&mut self) -> Result<(), Error> {
        let there = Identity::of(&self.path);
        if there == self.identity {
            return Ok(());
        }
        if there.is_none() {
            return Err(Error::unavailable(format!(
                "the store {} is gone",
                self.path.display()
            )));
        }
        self.connection = connection::writer(&self.path, self.checkpoints)?;
        self.identity = there;
        if schema::form(&self.connection)? == schema::Form::Older {
            schema::migrate(&mut self.connection)?;
        }
        Ok(())
    }

    /// Runs `work` in a transaction of its own; what fails leaves nothing behind.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let ticket = self.tickets.draw()?;
        let result = self.follow().and_then(|()| self.begin()).and_then(|()| {
            let mut transaction = Transaction::writing(&self.connection, self.clock.now());
            work(&mut transaction)
        });
        let result = result.and_then(|value| self.commit().map(|()| value));
        if result.is_err() {
            self.roll_back();
        } else {
            self.keep_log_short();
        }
        self.tickets.give_back(ticket);
        result
    }

    fn keep_log_short(&self) {
        let is_long = || {
            let log = fs::metadata(&self.log);
            log.is_ok_and(|log| log.len() > connection::LOG_BYTES)
        };
        if self.checkpoints == Checkpoints::Often && is_long() {
            self.empty_log();
        }
    }

    /// Applies several requests in one transaction. A request that fails is undone by itself; a
    /// transaction that fails fails all of them.
    fn group(&mut self, requests: &[Job]) -> Vec<Result<Reply, Error>> {
        if let [only] = requests {
            return vec![self.transact(|tx| tx.apply(&only.request))];
        }
        let ticket = match self.tickets.draw() {
            Ok(ticket) => ticket,
            Err(error) => return vec![Err(error); requests.len()],
        };
        let begun = self.follow().and_then(|()| self.begin());
        let replies = begun.and_then(|()| self.apply_all(requests));
        let replies = replies.and_then(|replies| self.commit().map(|()| replies));
        if replies.is_err() {
            self.roll_back();
        }
        self.tickets.give_back(ticket);
        replies.unwrap_or_else(|error| vec![Err(error); requests.len()])
    }

    fn apply_all(&self, requests: &[Job]) -> Result<Vec<Result<Reply, Error>>, Error> {
        let mut replies = Vec::with_capacity(requests.len());
        for job in requests {
            self.run("SAVEPOINT request")?;
            let mut transaction = Transaction::writing(&self.connection, self.clock.now());
            let reply = transaction.apply(&job.request);
            if let (Err(error), true) = (&reply, self.connection.is_autocommit()) {
                return Err(error.clone());
            }
            if reply.is_err() {
                self.run("ROLLBACK TO request")?;
            }
            self.run("RELEASE request")?;
            replies.push(reply);
        }
        Ok(replies)
    }

    /// Copies the log into the file and empties it, where nobody else is in the way: the next
    /// process reads it whole.
    fn empty_log(&self) {
        if self.connection.busy_timeout(Duration::ZERO).is_ok() {
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            // What stays in the log is as durable there.
            let empty = || self.connection.query_row(checkpoint, [], |_| Ok(()));
            let act = Act::new(Thing::Store, Deed::Empty);
            drop(faults::around(act, || {
                drop(empty());
                Ok::<_, std::io::Error>(())
            }));
            drop(self.connection.busy_timeout(PATIENCE));
        }
    }

    /// Where this fails after it was done, the caller is told less than the truth, never more.
    fn commit(&self) -> Result<(), Error> {
        let act = Act::new(Thing::Store, Deed::Commit);
        let told = |error| failure::of_file(&self.log, &error);
        faults::around_with(act, told, || self.run("COMMIT"))
    }

    fn begin(&self) -> Result<(), Error> {
        self.run("BEGIN IMMEDIATE")
    }

    fn run(&self, sql: &str) -> Result<(), Error> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .explain()?;
        Ok(())
    }

    /// Ends a transaction that SQLite has not ended itself. If even that fails, the connection
    /// reports it at the next `BEGIN`.
    fn roll_back(&self) {
        if !self.connection.is_autocommit() {
            drop(self.run("ROLLBACK"));
        }
    }
}

/// A request that waits for the writer.
struct Job {
    request: Request,
    answer: Answer,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

/// The thread that owns the writer.
#[derive(Debug)]
pub(crate) struct GroupWriter {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl GroupWriter {
    /// Starts the thread. It ends when the last request before [`Drop`] is answered.
    pub(crate) fn start(path: &Path, writer: Writer) -> Result<Self, Error> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work(writer, &jobs))
            .map_err(|error| failure::of_file(path, &error))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues a request.
    pub(crate) fn submit(&self, request: Request, answer: Answer) {
        let job = Job { request, answer };
        let Some(queue) = &self.queue else { return };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => (job.answer)(Err(Error::unavailable(format!(
                "{QUEUE_MAX} requests wait for the store already: try again later"
            )))),
            Err(TrySendError::Disconnected(job)) => {
                (job.answer)(Err(Error::unavailable("the store's writer has stopped")));
            }
        }
    }
}

impl Drop for GroupWriter {
    fn drop(&mut self) {
        drop(self.queue.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        if thread.thread().id() != thread::current().id() {
            drop(thread.join());
        }
    }
}

/// Takes what has queued while the last commit was on its way to the disk; never waits for more.
fn work(mut writer: Writer, jobs: &Receiver<Job>) {
    let mut group = Vec::new();
    while let Ok(first) = jobs.recv() {
        group.push(first);
        group.extend(jobs.try_iter().take(GROUP_MAX - 1));
        let replies = writer.group(&group);
        for (job, reply) in group.drain(..).zip(replies) {
            (job.answer)(reply);
        }
    }
    writer.empty_log();
}
