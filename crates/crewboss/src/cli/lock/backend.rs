//! Who keeps the locks: the store, or a Redis that the environment names.

use std::{sync::Arc, time::Duration};

use app::{
    error::Error,
    locks::StoreLocks,
    ports::{
        locks::{Attempt, Grant, LockFilter, LockStatistics, LockView, Locks},
        store::Store,
    },
    query::{Query, View},
};
use domain::{
    id::{LockId, ProjectId},
    lock::{Ask, Gone, Holder, Lock, LockRefused, Release, Resource, Token},
};
use lock_redis::{Address, RedisLocks};

use crate::{context::Context, environment::Environment, fail::Fail};

/// The server, whole.
const URL: &str = "REDIS_URL";
/// The server, by its parts.
const HOST: &str = "REDIS_HOST";
/// Under which name the locks of a project are kept there: those who use the same name share them.
const NAMESPACE: &str = "REDIS_LOCK_NAMESPACE";

/// The locks of a project.
pub(super) fn locks_of(context: &Context, project: ProjectId) -> Result<Arc<dyn Locks>, Fail> {
    let Some(address) = redis(&context.env)? else {
        return Ok(Arc::new(StoreLocks::new(
            context.store()?,
            project,
            context.clock()?,
            Arc::new(sandbox_host::HostBells),
            context.meta(),
        )));
    };
    let own = project.to_string();
    let namespace = context.env.text(NAMESPACE).unwrap_or(&own);
    context.out.debug(format_args!(
        "locks are kept by Redis at {address}, as {namespace}"
    ));
    Ok(Arc::new(OfSessions {
        locks: RedisLocks::new(address, namespace),
        store: context.store()?,
    }))
}

/// The server that the environment names, if any.
fn redis(env: &Environment) -> Result<Option<Address>, Fail> {
    if let Some(url) = env.text(URL).filter(|url| !url.is_empty()) {
        let address = Address::of_url(url);
        return Ok(Some(
            address.map_err(|error| Fail::usage(format!("{URL}: {error}")))?,
        ));
    }
    let Some(host) = env.text(HOST).filter(|host| !host.is_empty()) else {
        return Ok(None);
    };
    let number = |name: &str| {
        let text = env.text(name).filter(|text| !text.is_empty());
        let number = text.map(str::parse::<u16>).transpose();
        number.map_err(|_| Fail::usage(format!("{name} is a number from 0 to 65535")))
    };
    let word = |name: &str| env.text(name).filter(|text| !text.is_empty());
    Ok(Some(Address::of_parts(
        host,
        number("REDIS_PORT")?,
        word("REDIS_USERNAME"),
        word("REDIS_PASSWORD"),
        number("REDIS_DB")?,
    )))
}

/// Locks on a server that knows nothing of sessions: what a session asks for and keeps is held
/// against the store.
#[derive(Debug)]
struct OfSessions {
    locks: RedisLocks,
    store: Arc<dyn Store>,
}

impl OfSessions {
    /// Whether a session still speaks for its task under its fence; anybody else always does.
    fn may_speak(&self, holder: &Holder) -> Result<bool, Error> {
        let Some((id, fence)) = holder.session() else {
            return Ok(true);
        };
        let session = match self.store.read(&Query::Session { id }) {
            Ok(View::Session { session }) => session,
            Ok(other) => return Err(Error::corrupt(format!("unexpected answer {other:?}"))),
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if session.status.is_terminal() || session.fence != fence {
            return Ok(false);
        }
        match self.store.read(&Query::Task { id: session.task })? {
            View::Task { details } => {
                let task = &details.view.task;
                Ok(task.fence == fence && task.sessions().contains(&id))
            }
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    fn checked(&self, grant: Grant) -> Result<Grant, Error> {
        if self.may_speak(&grant.holder)? {
            return Ok(grant);
        }
        let token = grant.token;
        self.locks.release(&Release::of(token))?;
        let why = Some(Gone::SessionEnded);
        Err(LockRefused::NotHeld { token, why }.into())
    }
}

impl Locks for OfSessions {
    fn begin(&self, ask: &Ask) -> Result<Attempt, Error> {
        if self.may_speak(&ask.holder)? {
            return self.locks.begin(ask);
        }
        let holder = ask.holder.clone();
        Err(LockRefused::FenceLost { holder }.into())
    }

    fn wait(&self, id: LockId, patience: Duration) -> Result<Attempt, Error> {
        match self.locks.wait(id, patience)? {
            Attempt::Granted { grant } => Ok(Attempt::Granted {
                grant: self.checked(grant)?,
            }),
            queued @ Attempt::Queued { .. } => Ok(queued),
        }
    }

    fn leave(&self, id: LockId) -> Result<bool, Error> {
        self.locks.leave(id)
    }

    fn renew(&self, token: Token, ttl_millis: Option<u64>) -> Result<Grant, Error> {
        self.checked(self.locks.renew(token, ttl_millis)?)
    }

    fn release(&self, release: &Release) -> Result<u32, Error> {
        self.locks.release(release)
    }

    fn check(&self, token: Token) -> Result<Grant, Error> {
        self.locks.check(token)
    }

    fn status(&self, filter: &LockFilter) -> Result<Vec<LockView>, Error> {
        self.locks.status(filter)
    }

    fn statistics(&self) -> Result<LockStatistics, Error> {
        self.locks.statistics()
    }

    fn force_release(&self, resource: &Resource, by: &str) -> Result<Vec<Lock>, Error> {
        self.locks.force_release(resource, by)
    }

    fn emergency_cleanup(&self, holder: &str, by: &str) -> Result<Vec<Lock>, Error> {
        self.locks.emergency_cleanup(holder, by)
    }
}
