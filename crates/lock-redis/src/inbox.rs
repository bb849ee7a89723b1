//! Where the server tells a client that it is the turn of one of its requests. What is lost on the
//! way costs a second: whoever waits looks by itself that often.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use domain::id::LockId;
use redis::Connection;

use crate::connections::Connections;

/// The pause after a connection that broke.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// What ends the thread.
const BYE: &str = "bye";

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    channel: String,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    inside: Mutex<Inside>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    listens: Listens,
    /// Requests that wait, and whether they were told since they last looked.
    waiting: BTreeMap<LockId, bool>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Listens {
    #[default]
    NotYet,
    Connecting,
    Yes,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, listens: Listens) {
        self.lock().listens = listens;
        self.bell.notify_all();
    }
}

impl Inbox {
    pub(crate) fn new(channel: String) -> Self {
        Self {
            channel,
            state: Arc::default(),
        }
    }

    /// The channel that the script publishes to.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Listens from now on; waits a moment for the connection, so that what happens after the next
    /// look is heard.
    pub(crate) fn listen(&self, connections: &Arc<Connections>, patience: Duration) {
        let mut inside = self.state.lock();
        if inside.listens == Listens::NotYet {
            inside.listens = Listens::Connecting;
            let state = Arc::downgrade(&self.state);
            let (connections, channel) = (Arc::clone(connections), self.channel.clone());
            let spawned = thread::Builder::new()
                .name("lock-inbox".to_owned())
                .spawn(move || hear(&state, &connections, &channel));
            if spawned.is_err() {
                inside.listens = Listens::NotYet;
                return;
            }
        }
        let ready = self
            .state
            .bell
            .wait_timeout_while(inside, patience, |inside| inside.listens != Listens::Yes);
        drop(ready);
    }

    /// A request waits from now on.
    pub(crate) fn begin(&self, id: LockId) {
        self.state.lock().waiting.insert(id, false);
    }

    /// Waits until somebody told of a request since it last came here, or for so long.
    pub(crate) fn wait(&self, id: LockId, patience: Duration) {
        let inside = self.state.lock();
        let is_silent = |inside: &mut Inside| inside.waiting.get(&id) == Some(&false);
        let told = self
            .state
            .bell
            .wait_timeout_while(inside, patience, is_silent);
        let (mut inside, _) = told.unwrap_or_else(PoisonError::into_inner);
        inside.waiting.insert(id, false);
    }

    /// A request waits no longer.
    pub(crate) fn end(&self, id: LockId) {
        self.state.lock().waiting.remove(&id);
    }

    /// Ends the thread that listens, as far as the server can be reached.
    pub(crate) fn close(&self, connections: &Connections) {
        if self.state.lock().listens == Listens::NotYet {
            return;
        }
        if let Ok(mut connection) = connections.take() {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&self.channel).arg(BYE);
            drop(publish.exec(&mut connection));
        }
    }
}

/// Listens for as long as somebody is there to be told.
fn hear(state: &Weak<State>, connections: &Connections, channel: &str) {
    while state.strong_count() > 0 {
        if let Ok(connection) = connections.open() {
            hear_once(state, connection, channel);
        }
        let Some(known) = state.upgrade() else { return };
        known.set(Listens::Connecting);
        drop(known);
        thread::sleep(RECONNECT_AFTER);
    }
}

fn hear_once(state: &Weak<State>, mut connection: Connection, channel: &str) {
    let mut subscription = connection.as_pubsub();
    if subscription.subscribe(channel).is_err() || subscription.set_read_timeout(None).is_err() {
        return;
    }
    match state.upgrade() {
        Some(known) => known.set(Listens::Yes),
        None => return,
    }
    while let Ok(message) = subscription.get_message() {
        let Some(known) = state.upgrade() else { return };
        let Ok(text) = message.get_payload::<String>() else {
            continue;
        };
        if text == BYE {
            return;
        }
        let id = text.parse().ok().and_then(LockId::from_number);
        if let Some(told) =
            id.and_then(|id| known.lock().waiting.get_mut(&id).map(|told| *told = true))
        {
            let () = told;
            known.bell.notify_all();
        }
    }
}
