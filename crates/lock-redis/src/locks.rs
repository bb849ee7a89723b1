//! The port.

use std::{fs, sync::Arc, time::Duration};

use app::{
    error::Error,
    ports::locks::{
        Attempt, Grant, LOOK_EVERY, LockFilter, LockStatistics, LockView, Locks, Ticket,
    },
};
use domain::{
    id::LockId,
    lock::{
        Ask, Holder, Lock, LockRefused, Mode, Release, Resource, TTL_MAX_MILLIS, TTL_MIN_MILLIS,
        Table, Token,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    address::Address,
    connections::Connections,
    inbox::Inbox,
    row::{Row, moment},
    script::{Caller, Reply},
};

/// Locks of one namespace on a Redis server. Nothing is connected to before the first request.
#[derive(Debug)]
pub struct RedisLocks {
    connections: Arc<Connections>,
    caller: Caller,
    inbox: Inbox,
}

/// What the script is told of a request.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    r: &'a [Resource],
    m: Mode,
    h: String,
    #[serde(rename = "H")]
    holder: &'a Holder,
    p: u8,
    t: u64,
    wait: u64,
    /// What its priority sets it behind the most important of the same moment.
    steps: u64,
    wk: &'a str,
    #[serde(rename = "T", skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
}

impl RedisLocks {
    /// A client. Locks of different namespaces have nothing to do with each other.
    #[must_use]
    pub fn new(address: Address, namespace: &str) -> Self {
        let plain: String = namespace
            .chars()
            .map(|c| if matches!(c, '{' | '}') { '_' } else { c })
            .collect();
        // One slot of a cluster: a script reaches no further.
        let prefix = format!("{{crewboss:{plain}}}:");
        let inbox = Inbox::new(format!("{prefix}c:{}", own_name()));
        Self {
            connections: Arc::new(Connections::new(address)),
            caller: Caller::new(prefix),
            inbox,
        }
    }

    fn call(&self, operation: &str, arguments: &impl Serialize) -> Result<Reply, Error> {
        let mut reply = self.caller.call(&self.connections, operation, arguments)?;
        match reply.refused.take() {
            None => Ok(reply),
            Some(refused) => Err(refusal(refused)?.into()),
        }
    }

    fn attempt(&self, operation: &str, arguments: &impl Serialize) -> Result<Attempt, Error> {
        let reply = self.call(operation, arguments)?;
        let (now, by) = (reply.now, reply.by);
        let lock = lock_of(reply.lock)?;
        let (id, left) = (lock.id, lock.left_millis(&moment(now)));
        Ok(match Grant::of(lock, left) {
            Some(grant) => Attempt::Granted { grant },
            None => Attempt::Queued {
                ticket: Ticket { id, by },
            },
        })
    }

    fn grant(&self, operation: &str, token: Token, arguments: &Value) -> Result<Grant, Error> {
        let reply = self.call(operation, arguments)?;
        let now = moment(reply.now);
        let lock = lock_of(reply.lock)?;
        let left = lock.left_millis(&now);
        let grant = Grant::of(lock, left);
        grant.ok_or_else(|| LockRefused::NotHeld { token, why: None }.into())
    }

    fn taken(&self, operation: &str, arguments: &Value) -> Result<Vec<Lock>, Error> {
        let reply = self.call(operation, arguments)?;
        reply.locks.into_iter().map(Row::into_lock).collect()
    }

    fn all(&self) -> Result<(Reply, Vec<Lock>), Error> {
        let mut reply = self.call("all", &json!({}))?;
        let rows = std::mem::take(&mut reply.locks).into_iter();
        let locks = rows.map(Row::into_lock).collect::<Result<_, _>>()?;
        Ok((reply, locks))
    }
}

impl Drop for RedisLocks {
    fn drop(&mut self) {
        self.inbox.close(&self.connections);
    }
}

/// A name that no other client has.
fn own_name() -> String {
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    format!("{}-{}", std::process::id(), random.trim())
}

fn lock_of(row: Option<Row>) -> Result<Lock, Error> {
    let row = row.ok_or_else(|| Error::corrupt("Redis answers without a lock"))?;
    row.into_lock()
}

/// What the script refuses. It cannot write a list that is empty.
fn refusal(mut refused: Value) -> Result<LockRefused, Error> {
    if let Some(fields) = refused.as_object_mut() {
        fields.entry("by").or_insert_with(|| json!([]));
    }
    serde_json::from_value(refused)
        .map_err(|error| Error::corrupt(format!("what Redis refuses: {error}")))
}

fn number(id: LockId) -> String {
    id.number().to_string()
}

impl Locks for RedisLocks {
    fn begin(&self, ask: &Ask) -> Result<Attempt, Error> {
        let ask = ask.clone().checked()?;
        self.attempt(
            "acquire",
            &Asked {
                r: &ask.resources,
                m: ask.mode,
                h: ask.holder.to_string(),
                holder: &ask.holder,
                p: ask.priority.value(),
                t: ask.ttl_millis,
                wait: ask.wait_millis,
                steps: ask.rank(&moment(0)),
                wk: self.inbox.channel(),
                token: ask.token,
            },
        )
    }

    fn wait(&self, id: LockId, patience: Duration) -> Result<Attempt, Error> {
        if !patience.is_zero() {
            self.inbox.listen(&self.connections, LOOK_EVERY);
        }
        self.inbox.begin(id);
        let mut left = patience;
        let done = loop {
            let looked = json!({
                "i": number(id),
                "wk": self.inbox.channel(),
                "by": left.is_zero(),
            });
            match self.attempt("look", &looked) {
                Ok(Attempt::Queued { .. }) if !left.is_zero() => {}
                done => break done,
            }
            let rest = left.min(LOOK_EVERY);
            left -= rest;
            self.inbox.wait(id, rest);
        };
        self.inbox.end(id);
        done
    }

    fn leave(&self, id: LockId) -> Result<bool, Error> {
        let reply = self.call("leave", &json!({ "i": number(id) }))?;
        Ok(reply.done)
    }

    fn renew(&self, token: Token, ttl_millis: Option<u64>) -> Result<Grant, Error> {
        let mut arguments = json!({ "T": token });
        if let Some(ttl) = ttl_millis {
            if !(TTL_MIN_MILLIS..=TTL_MAX_MILLIS).contains(&ttl) {
                let bounds = "a lease lasts from 1 second to 24 hours; it is renewed while its \
                              holder lives";
                return Err(LockRefused::invalid("ttl", bounds).into());
            }
            arguments["t"] = json!(ttl);
        }
        self.grant("renew", token, &arguments)
    }

    fn release(&self, release: &Release) -> Result<u32, Error> {
        let mut arguments = json!({ "T": release.token });
        if let Some(resource) = &release.resource {
            arguments["r"] = json!(resource);
        }
        if let Some(holder) = &release.holder {
            arguments["h"] = json!(holder.to_string());
            if let Some((_, fence)) = holder.session() {
                arguments["f"] = json!(fence.to_string());
            }
        }
        Ok(self.call("release", &arguments)?.left)
    }

    fn check(&self, token: Token) -> Result<Grant, Error> {
        self.grant("check", token, &json!({ "T": token }))
    }

    fn status(&self, filter: &LockFilter) -> Result<Vec<LockView>, Error> {
        let (reply, locks) = self.all()?;
        let now = moment(reply.now);
        let table = Table::of(locks.iter().cloned());
        let is_meant = |lock: &Lock| {
            let holder = filter.holder.as_ref();
            let resource = filter.resource.as_ref();
            !lock.is_over(&now)
                && holder.is_none_or(|holder| lock.holder.to_string() == *holder)
                && resource.is_none_or(|other| lock.resources.iter().any(|own| own.overlaps(other)))
        };
        let meant = locks.into_iter().filter(is_meant);
        let mut views: Vec<LockView> = meant.map(|lock| LockView::of(lock, &table, &now)).collect();
        LockView::sort(&mut views);
        Ok(views)
    }

    fn statistics(&self) -> Result<LockStatistics, Error> {
        let (reply, locks) = self.all()?;
        let mut numbers = LockStatistics {
            totals: reply.totals,
            ..LockStatistics::default()
        };
        numbers.add(locks.iter(), &moment(reply.now));
        Ok(numbers)
    }

    fn force_release(&self, resource: &Resource, by: &str) -> Result<Vec<Lock>, Error> {
        self.taken("force", &json!({ "r": resource, "by": by }))
    }

    fn emergency_cleanup(&self, holder: &str, by: &str) -> Result<Vec<Lock>, Error> {
        self.taken("cleanup", &json!({ "h": holder, "by": by }))
    }
}
