//! The store port over one schema of a database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use app::{
    command::Request,
    error::Error,
    ports::{
        clock::Clock,
        store::{Answer, Reader, Store, Tx},
    },
    query::{self, Query, View},
};

use crate::{
    ask::first,
    clock::{StoreClock, Time},
    link::Link,
    pool::Pool,
    reading::Reading,
    row::Columns as _,
    schema::{self, Look, SchemaStatus},
    target::Target,
    writer::{GroupWriter, Writer},
};

/// What to do with a store whose form is older than this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// Bring it up to date, in turn with everybody else.
    ByItself,
    /// Say so and leave it.
    Never,
}

/// A store in a schema of a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    target: Arc<Target>,
    time: Time,
    clock: Arc<StoreClock>,
    readers: Arc<Pool>,
    /// Started by the first request.
    writer: Mutex<Option<Arc<GroupWriter>>>,
    /// For what is not a request.
    beside: Mutex<Option<Writer>>,
}

impl PostgresStore {
    /// Opens the store; makes it where the schema is missing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the server cannot be reached within the target's time, refuses
    /// the user, is too old, or holds a store that is newer than this program.
    pub fn open(target: Target, time: Time, upgrade: Upgrade) -> Result<Self, Error> {
        let target = Arc::new(target);
        let link = Link::open(&target)?;
        let look = schema::look(&link, &target)?;
        Self::with(target, link, time, look, upgrade)
    }

    /// The same where there is one; makes none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn find(target: Target, time: Time, upgrade: Upgrade) -> Result<Option<Self>, Error> {
        let target = Arc::new(target);
        let link = Link::open(&target)?;
        let look = schema::look(&link, &target)?;
        if look.store.is_none() {
            return Ok(None);
        }
        Self::with(target, link, time, look, upgrade).map(Some)
    }

    fn with(
        target: Arc<Target>,
        link: Link,
        time: Time,
        look: Look,
        upgrade: Upgrade,
    ) -> Result<Self, Error> {
        let form = look.store.as_ref().map_or(0, |(form, _)| *form);
        schema::require_not_newer(form)?;
        let id = match look.store {
            Some((form, id)) if form == schema::known() => id,
            _ if upgrade == Upgrade::ByItself => schema::migrate(&link, &target)?.1,
            _ => {
                return Err(Error::unavailable(format!(
                    "the store in {} has form {form} and this program needs {}: bring it up to \
                     date with `crewboss store schema upgrade`",
                    target.place_name(),
                    schema::known()
                )));
            }
        };
        let local = match &time {
            Time::Server(local) | Time::Given(local) => Arc::clone(local),
        };
        let clock = Arc::new(StoreClock::new(local, &id, look.millis));
        let readers = Pool::new(Arc::clone(&target));
        readers.give(link);
        Ok(Self {
            target,
            time,
            clock,
            readers: Arc::new(readers),
            writer: Mutex::new(None),
            beside: Mutex::new(None),
        })
    }

    /// The form of the store beside this program's, and what is missing to it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the server cannot be reached or is too old.
    pub fn schema_status(target: &Target) -> Result<SchemaStatus, Error> {
        let target = Arc::new(target.clone());
        let link = Link::open(&target)?;
        let look = schema::look(&link, &target)?;
        let found = look.store.map_or(0, |(form, _)| form);
        Ok(SchemaStatus {
            schema: target.schema.clone(),
            found,
            known: schema::known(),
            server: format!("{}.{}", look.server / 10_000, look.server % 10_000),
            pending: schema::pending(found, &target),
        })
    }

    /// Brings the store up to this program's form, where it is older; answers the form that it had.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn upgrade(target: &Target) -> Result<SchemaStatus, Error> {
        let before = Self::schema_status(target)?;
        schema::require_not_newer(before.found)?;
        if before.found < before.known {
            let target = Arc::new(target.clone());
            let link = Link::open(&target)?;
            schema::migrate(&link, &target)?;
        }
        Ok(before)
    }

    /// The store's time: the same for every process that uses it.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        match &self.time {
            Time::Server(_) => Arc::clone(&self.clock) as Arc<dyn Clock>,
            Time::Given(clock) => Arc::clone(clock),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn readers(&self) -> &Arc<Pool> {
        &self.readers
    }

    /// Shows one consistent state to `work`.
    ///
    /// # Errors
    /// What `work` answers, and [`Error::Unavailable`] where the server cannot be asked.
    pub fn look<T>(&self, work: impl FnOnce(&dyn Reader) -> Result<T, Error>) -> Result<T, Error> {
        self.look_over(Kept::Asked, work)
    }

    fn look_over<T>(
        &self,
        kept: Kept,
        work: impl FnOnce(&dyn Reader) -> Result<T, Error>,
    ) -> Result<T, Error> {
        // A connection that was kept may be gone, which is to show before `work`.
        loop {
            let taken = self.readers.take()?;
            let reading = Reading::of(taken.link()?, self.clock().now().wall);
            let is_trusted = taken.is_new || taken.is_fresh && kept == Kept::TrustedForAWhile;
            if !is_trusted && reading.begin().is_err() {
                continue;
            }
            let result = work(&reading);
            reading.end();
            return result;
        }
    }

    /// Runs `work` in a transaction of its own, beside the queue; what fails leaves nothing
    /// behind.
    ///
    /// # Errors
    /// What `work` answers, and [`Error::Unavailable`] where the server cannot be asked.
    pub fn transact<T>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut beside = lock(&self.beside);
        let mut writer = beside.take().unwrap_or_else(|| self.new_writer());
        let result = writer.transact(|tx| work(tx));
        *beside = Some(writer);
        result
    }

    fn new_writer(&self) -> Writer {
        let (time, clock) = (self.time.clone(), Arc::clone(&self.clock));
        Writer::new(Arc::clone(&self.target), time, clock)
    }

    fn group_writer(&self) -> Result<Arc<GroupWriter>, Error> {
        let mut kept = lock(&self.writer);
        if let Some(writer) = &*kept {
            return Ok(Arc::clone(writer));
        }
        let writer = Arc::new(GroupWriter::start(self.new_writer())?);
        *kept = Some(Arc::clone(&writer));
        Ok(writer)
    }

    fn newest_generation(&self) -> Result<u64, Error> {
        let taken = self.readers.take()?;
        let rows = taken.link()?.ask(
            "SELECT generation FROM @commits ORDER BY generation DESC LIMIT 1",
            &[],
        )?;
        Ok(first(&rows, |row| row.number(0))?.unwrap_or(0))
    }
}

impl Store for PostgresStore {
    fn submit(&self, request: Request, answer: Answer) {
        match self.group_writer() {
            Ok(writer) => writer.submit(request, answer),
            Err(error) => answer(Err(error)),
        }
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        let answer = |reader: &dyn Reader| query::answer(reader, query);
        let read = || self.look_over(Kept::TrustedForAWhile, answer);
        // Nothing is lost by asking again over another connection.
        match read() {
            Err(Error::Unavailable { .. }) => read(),
            answer => answer,
        }
    }

    fn generation(&self) -> Result<u64, Error> {
        self.newest_generation()
            .or_else(|_| self.newest_generation())
    }
}

/// Whether a connection that was kept is asked first if it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Asked,
    /// Not where it was used a moment ago: it saves a turn for whoever may ask again.
    TrustedForAWhile,
}

/// Takes a lock. What it guards is whole after any panic: connections know their own state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
