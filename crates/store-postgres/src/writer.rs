//! Writing: one transaction at a time, each in its turn among all processes, and the thread that
//! commits together what has queued.
//!
//! A transaction that ended before its commit was sent is done again from its beginning. Where the
//! connection is lost after that, the store itself says whether it was committed: its row in
//! `commits` is there or not once the turn has come again, which the lost one holds until it has
//! ended.

#![expect(
    clippy::disallowed_methods,
    reason = "how long a lost server is waited for is this adapter's own time"
)]

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use app::{
    command::{Command, Reply, Request},
    error::Error,
    ports::{clock::Clock as _, store::Answer},
};
use domain::{id::ProjectId, project::Project, time::Now};
use tokio_postgres::{Row, types::Type};

use crate::{
    clock::{StoreClock, Time},
    failure::Trouble,
    flush,
    link::{Batch, Link, Step},
    quotas,
    row::{Columns as _, int, session_number, task_number},
    schema, sessions, singles,
    target::Target,
    tasks,
    unit::{Ends, Unit},
    writing::Writing,
};

/// Requests that share one commit, at most: more only makes the first ones wait.
const GROUP_MAX: usize = 512;

/// Requests that wait for the writer, at most; those beyond are refused at once.
const QUEUE_MAX: usize = 16_384;

/// For so long a server that went away in the middle is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause between two looks for it.
const PAUSE: Duration = Duration::from_millis(100);

/// What every writer sees of the store once it has its turn.
const STATE: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, s.form,
        c.generation, c.at, c.project, c.task, c.session, e.position, e.global_hash
    FROM @store s
    LEFT JOIN LATERAL (SELECT * FROM @commits ORDER BY generation DESC LIMIT 1) c ON true
    LEFT JOIN LATERAL (SELECT position, global_hash FROM @events
                       ORDER BY position DESC LIMIT 1) e ON true";

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    target: Arc<Target>,
    time: Time,
    clock: Arc<StoreClock>,
    link: Option<Link>,
    /// Tells this writer's transactions from those of others.
    id: i64,
    /// Projects never change.
    projects: HashMap<ProjectId, Project>,
    begin: String,
}

/// Why a transaction did not come to its end.
#[derive(Debug)]
enum Halt {
    /// It may be done again.
    Again(Error),
    /// One of its requests has spoilt it for the others.
    Spoilt(Error),
    /// It makes no sense to go on.
    Over(Error),
}

/// What came of a transaction's last step.
enum Ending<T> {
    Done(T),
    Not(Halt),
}

impl Writer {
    pub(crate) fn new(target: Arc<Target>, time: Time, clock: Arc<StoreClock>) -> Self {
        let id = RandomState::new().build_hasher().finish() >> 1;
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL jit = off;
             SET LOCAL idle_in_transaction_session_timeout = '15s';
             SELECT set_config('synchronous_commit', 'on', true)
                 WHERE current_setting('synchronous_commit') = 'off';
             SELECT pg_advisory_xact_lock({})",
            schema::lock_key(&target)
        );
        Self {
            target,
            time,
            clock,
            link: None,
            id: int(id),
            projects: HashMap::new(),
            begin,
        }
    }

    /// Applies several requests in one transaction. One that fails is undone by itself; a
    /// transaction that fails for the sake of one is done again for each alone.
    pub(crate) fn group(&mut self, requests: &[Request]) -> Vec<Result<Reply, Error>> {
        let done = self.persist(|writer| writer.try_group(requests));
        match done {
            Ok(replies) => replies,
            Err(Halt::Spoilt(_)) if requests.len() > 1 => requests
                .iter()
                .flat_map(|request| self.group(std::slice::from_ref(request)))
                .collect(),
            Err(Halt::Again(error) | Halt::Spoilt(error) | Halt::Over(error)) => {
                vec![Err(error); requests.len()]
            }
        }
    }

    /// Runs `work` in a transaction of its own; what fails leaves nothing behind.
    pub(crate) fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut work = Some(work);
        let done = self.persist(|writer| {
            let link = writer.connected()?;
            let result = writer.begun(&link, &[]).and_then(|mut writing| {
                // What was begun is not begun again: `work` may have done something besides.
                let work = work.take().ok_or_else(|| {
                    Halt::Over(Error::unavailable(
                        "the connection to the store was lost in the middle: try again",
                    ))
                })?;
                let value = work(&mut writing).map_err(Halt::Over)?;
                let now = app::ports::store::Tx::now(&writing).clone();
                Ok((writing.into_unit(), value, now))
            });
            writer.finish(link, result)
        });
        done.map_err(|halt| match halt {
            Halt::Again(error) | Halt::Spoilt(error) | Halt::Over(error) => error,
        })
    }

    /// Tries again what may be, for a while.
    fn persist<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self) -> Result<T, Halt>,
    ) -> Result<T, Halt> {
        let was_connected = self.link.is_some();
        let began = Instant::now();
        loop {
            match attempt(self) {
                Err(Halt::Again(error)) => {
                    if began.elapsed() > PATIENCE || !was_connected && self.link.is_none() {
                        return Err(Halt::Over(error));
                    }
                    if self.link.is_none() {
                        thread::sleep(PAUSE);
                    }
                }
                other => return other,
            }
        }
    }

    /// The time by what is known here, before the server has said its own.
    fn now(&self) -> Now {
        match &self.time {
            Time::Server(_) => self.clock.now(),
            Time::Given(clock) => clock.now(),
        }
    }

    fn try_group(&mut self, requests: &[Request]) -> Result<Vec<Result<Reply, Error>>, Halt> {
        let link = self.connected()?;
        let result = self
            .begun(&link, requests)
            .and_then(|writing| self.apply_all(&link, writing, requests));
        self.finish(link, result)
    }

    fn apply_all(
        &self,
        link: &Link,
        mut writing: Writing<'_>,
        requests: &[Request],
    ) -> Result<(Unit, Vec<Result<Reply, Error>>, Now), Halt> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut now = self.now();
        for request in requests {
            if let Time::Given(clock) = &self.time {
                writing.set_now(clock.now());
            }
            let point = writing.point();
            let reply = writing.apply(request);
            if let Err(error) = &reply {
                if let Some(trouble) = link.trouble() {
                    return Err(halted(&trouble, error.clone()));
                }
                if !writing.back_to(&point) {
                    return Err(Halt::Spoilt(error.clone()));
                }
            }
            now = app::ports::store::Tx::now(&writing).clone();
            replies.push(reply);
        }
        Ok((writing.into_unit(), replies, now))
    }

    /// Ends a transaction: commits what was changed, or takes it back.
    fn finish<T>(&mut self, link: Link, result: Result<(Unit, T, Now), Halt>) -> Result<T, Halt> {
        let (mut unit, value, now) = match result {
            Ok((unit, value, now)) if unit.has_changes() => (unit, value, now),
            Ok((_, value, _)) => {
                self.roll_back(link);
                return Ok(value);
            }
            Err(halt) => {
                self.roll_back(link);
                return Err(halt);
            }
        };
        let kept_back = flush::take(&mut unit, now.wall);
        let mut batches = match kept_back {
            Ok(batches) => batches,
            Err(error) => {
                self.roll_back(link);
                return Err(Halt::Spoilt(error));
            }
        };
        batches.extend(flush::close(&mut unit, self.id, now.wall));
        match self.commit(link, &batches, unit.ends.generation, value) {
            Ending::Done(value) => {
                for (id, held) in unit.projects.iter() {
                    if let Some(project) = &held.value {
                        self.projects.insert(*id, project.clone());
                    }
                }
                Ok(value)
            }
            Ending::Not(halt) => Err(halt),
        }
    }

    fn commit<T>(&mut self, link: Link, batches: &[Batch], generation: u64, value: T) -> Ending<T> {
        let mut steps: Vec<Step<'_>> = batches.iter().map(Step::Do).collect();
        // Where a statement before it has failed, the server answers this by taking all of it back.
        steps.push(Step::Plain("COMMIT"));
        match link.attempt(&steps) {
            Ok(_) => {
                self.link = Some(link);
                Ending::Done(value)
            }
            Err(Trouble::Lost(why)) => {
                drop(link);
                self.settle(generation, &why, value)
            }
            Err(trouble) => {
                let error = trouble.told(&self.target);
                self.roll_back(link);
                Ending::Not(halted(&trouble, error))
            }
        }
    }

    /// The connection was lost while a transaction was being committed: asks the store what came of
    /// it.
    fn settle<T>(&mut self, generation: u64, why: &str, value: T) -> Ending<T> {
        let began = Instant::now();
        loop {
            match self.was_committed(generation) {
                Ok(true) => return Ending::Done(value),
                Ok(false) => {
                    return Ending::Not(Halt::Again(Error::unavailable(format!(
                        "the connection to {} was lost: {why}; nothing was changed, try again",
                        self.target.place_name()
                    ))));
                }
                Err(_) if began.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(error) => {
                    return Ending::Not(Halt::Over(Error::unavailable(format!(
                        "the connection to the store was lost while it committed, and whether it \
                         did is not known: asking again under the same key tells ({error})"
                    ))));
                }
            }
        }
    }

    fn was_committed(&mut self, generation: u64) -> Result<bool, Error> {
        let link = match self.link.take() {
            Some(link) => link,
            None => Link::open(&self.target)?,
        };
        let asked = [(&int(generation) as _, Type::INT8)];
        let steps = [
            Step::Plain(&self.begin),
            Step::Ask("SELECT writer FROM @commits WHERE generation = $1", &asked),
        ];
        let mut answers = link.together(&steps)?;
        let rows = answers.pop().unwrap_or_default();
        let writer: Option<i64> = crate::ask::first(&rows, |row| row.value(0))?;
        self.roll_back(link);
        Ok(writer == Some(self.id))
    }

    /// The connection, made where it is missing. It comes back in [`Self::finish`].
    fn connected(&mut self) -> Result<Link, Halt> {
        if let Some(link) = self.link.take().filter(Link::is_sound) {
            return Ok(link);
        }
        self.projects.clear();
        match Link::try_open(&self.target).map_err(Halt::Over)? {
            Ok(link) => Ok(link),
            Err(trouble) => {
                let error = trouble.told_connecting(&self.target);
                Err(match trouble {
                    Trouble::Lost(_) => Halt::Again(error),
                    refused if refused.passes() => Halt::Again(error),
                    Trouble::Refused { .. } | Trouble::Unreadable(_) => Halt::Over(error),
                })
            }
        }
    }

    /// Waits for this writer's turn, and looks at what the requests will ask for.
    fn begun<'l>(&self, link: &'l Link, requests: &[Request]) -> Result<Writing<'l>, Halt> {
        let foreseen = Foreseen::of(requests, singles::oldest_kept(self.now().wall));
        let keys: [_; 2] = [
            (&foreseen.keys as _, Type::TEXT_ARRAY),
            (&foreseen.oldest_answer as _, Type::INT8),
        ];
        let tasks: [_; 2] = [
            (&foreseen.tasks as _, Type::INT8_ARRAY),
            (&foreseen.sessions as _, Type::INT8_ARRAY),
        ];
        let sessions: [_; 1] = [(&foreseen.sessions as _, Type::INT8_ARRAY)];
        let mut steps = vec![
            Step::Plain(&self.begin),
            Step::Ask(STATE, &[]),
            Step::Ask(quotas::ALL, &[]),
        ];
        let mut also = vec![Also::Quotas];
        if !foreseen.keys.is_empty() {
            steps.push(Step::Ask(singles::ANSWERS, &keys));
            also.push(Also::Answers);
        }
        if !(foreseen.tasks.is_empty() && foreseen.sessions.is_empty()) {
            steps.push(Step::Ask(tasks::WITH_HEADS, &tasks));
            also.push(Also::Tasks);
        }
        if !foreseen.sessions.is_empty() {
            steps.push(Step::Ask(sessions::WITH_HEADS, &sessions));
            also.push(Also::Sessions);
        }
        let mut answers = link
            .attempt(&steps)
            .map_err(|trouble| halted(&trouble, trouble.told(&self.target)))?
            .split_off(1)
            .into_iter();
        let state = answers.next().unwrap_or_default();
        let read = |error| Halt::Over(error);
        let (ends, now) = self.state(&state).map_err(read)?;
        let writing = Writing::of(link, Unit::of(ends, &self.projects), now);
        for (kind, rows) in also.into_iter().zip(answers) {
            match kind {
                Also::Quotas => writing.learn_quotas(&rows),
                Also::Answers => foreseen.learn_answers(&writing, &rows),
                Also::Tasks => writing.learn_tasks(&rows),
                Also::Sessions => writing.learn_sessions(&rows),
            }
            .map_err(read)?;
        }
        Ok(writing)
    }

    fn state(&self, rows: &[Row]) -> Result<(Ends, Now), Error> {
        let Some(row) = rows.first() else {
            return Err(Error::corrupt("the store's own row is gone"));
        };
        let (server, form): (i64, i32) = (row.value(0)?, row.value(1)?);
        schema::require_not_newer(form)?;
        let mut ends = Ends::default();
        let mut latest = 0;
        if let Some(generation) = row.maybe_number(2)? {
            ends.generation = generation;
            latest = row.value(3)?;
            ends.numbers = [row.number(4)?, row.number(5)?, row.number(6)?];
        }
        if let Some(position) = row.maybe_number(7)? {
            ends.position = position;
            ends.global = row.hash(8)?;
        }
        self.clock.heard(server);
        let now = match &self.time {
            Time::Server(_) => self.clock.at(server.max(latest)),
            Time::Given(clock) => clock.now(),
        };
        Ok((ends, now))
    }

    /// Ends a transaction without a trace, and keeps the connection where it can be used again.
    fn roll_back(&mut self, link: Link) {
        let lost = link.trouble().is_some_and(|trouble| trouble.is_lost());
        if !lost && link.attempt(&[Step::Plain("ROLLBACK")]).is_ok() {
            link.forgive();
            self.link = Some(link);
        }
    }
}

fn halted(trouble: &Trouble, error: Error) -> Halt {
    if trouble.is_transient() {
        Halt::Again(error)
    } else {
        Halt::Spoilt(error)
    }
}

/// What is asked for beside the store's state.
enum Also {
    Quotas,
    Answers,
    Tasks,
    Sessions,
}

/// What requests will ask for, as far as they show it.
#[derive(Debug, Default)]
struct Foreseen<'r> {
    keys: Vec<&'r str>,
    oldest_answer: i64,
    tasks: Vec<i64>,
    sessions: Vec<i64>,
}

impl<'r> Foreseen<'r> {
    fn of(requests: &'r [Request], oldest_answer: i64) -> Self {
        let (mut tasks, mut sessions) = (BTreeSet::new(), BTreeSet::new());
        let mut keys = Vec::new();
        for request in requests {
            keys.extend(request.meta.idempotency_key.as_deref());
            match &request.command {
                Command::Session { session, .. } | Command::RenewLease { session, .. } => {
                    sessions.insert(session_number(*session));
                }
                Command::StopTask { task, .. }
                | Command::RetryTask { task, .. }
                | Command::SetTimeout { task, .. }
                | Command::DeleteTask { task }
                | Command::KeepPaper { task, .. }
                | Command::Claim {
                    task: Some(task), ..
                } => {
                    tasks.insert(task_number(*task));
                }
                Command::DeleteTasks { tasks: several }
                | Command::PurgeTasks { tasks: several }
                | Command::ArchiveTasks { tasks: several, .. } => {
                    tasks.extend(several.iter().map(|task| task_number(*task)));
                }
                _ => {}
            }
        }
        Self {
            keys,
            oldest_answer,
            tasks: tasks.into_iter().collect(),
            sessions: sessions.into_iter().collect(),
        }
    }

    /// Those that no answer was found for have none.
    fn learn_answers(&self, writing: &Writing<'_>, rows: &[Row]) -> Result<(), Error> {
        for key in &self.keys {
            writing.learn_answer((*key).to_owned(), None);
        }
        for row in rows {
            let key: &str = row.value(0)?;
            writing.learn_answer(key.to_owned(), Some(row.json(1)?));
        }
        Ok(())
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
    pub(crate) fn start(writer: Writer) -> Result<Self, Error> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work(writer, &jobs))
            .map_err(|error| Error::unavailable(format!("no thread for the store: {error}")))?;
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

/// Takes what has queued while the last commit was on its way; never waits for more.
fn work(mut writer: Writer, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let (mut requests, mut answers) = (vec![first.request], vec![first.answer]);
        for job in jobs.try_iter().take(GROUP_MAX - 1) {
            requests.push(job.request);
            answers.push(job.answer);
        }
        let replies = writer.group(&requests);
        for (answer, reply) in answers.into_iter().zip(replies) {
            answer(reply);
        }
    }
}
