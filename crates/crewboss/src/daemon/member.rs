//! A node among others: it says that it lives, hears what is wanted of it, and does what one alone is
//! to do while it leads.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use app::{
    command::{Command, Meta, Output, RecoveryPolicy, Request},
    error::Error,
    ports::{clock::Clock, store::Store},
    query::{Query, View},
};
use domain::{
    id::NodeId,
    node::{Introduction, Leader, Node, NodeCommand, has_ended},
    session::{Session, SessionKind},
    time::Due,
};

use super::{Bell, Hands};

/// How often it is looked for what others have done.
const LOOK: Duration = Duration::from_millis(500);

/// After a heartbeat that did not get through.
const RETRY_MILLIS: u64 = 1_000;

/// How long a node that is heard of has to see to a session whose lease has ended.
const PATIENCE_MILLIS: u64 = 5_000;

/// How often a node is registered that was on another boot a moment ago, and after which pause.
const JOIN_PAUSE: Duration = Duration::from_secs(1);

/// What a member is made of.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) node: NodeId,
    pub(crate) introduction: Introduction,
    /// How long its sessions have to end when it is told to go.
    pub(crate) drain: Duration,
    /// What follows for tasks that others have lost.
    pub(crate) recovery: RecoveryPolicy,
    pub(crate) meta: Meta,
}

/// See the module.
pub(crate) struct Member {
    of: Membership,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    bell: Arc<Bell>,
    state: Mutex<State>,
    wake: Condvar,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("of", &self.of)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// Its right to lead, where it does.
    leader: Option<Leader>,
    /// When it has to be heard of again, on the clock of the store.
    next: u64,
    /// What the store said when it was last asked.
    generation: u64,
    /// Somebody wants it to end, at the latest then.
    drain: Option<Due>,
    /// The store knows that.
    is_drain_said: bool,
    /// The process was told so, and not the node.
    is_signalled: bool,
    is_trouble_told: bool,
    is_over: bool,
}

impl Member {
    /// Registers.
    ///
    /// # Errors
    /// Where the store refuses it: another node has its name, or another machine its home.
    pub(crate) fn join(
        of: Membership,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        bell: Arc<Bell>,
    ) -> Result<Self, Error> {
        let member = Self {
            of,
            store,
            clock,
            bell,
            state: Mutex::default(),
            wake: Condvar::new(),
        };
        let lease = Duration::from_millis(member.of.introduction.lease_millis);
        let mut left = lease.as_secs() + 1;
        loop {
            match member.register() {
                Ok(_) => return Ok(member),
                // Its own row is still warm: it rebooted, or somebody has copied its home.
                Err(Error::Rejected(_)) if left > 0 => {
                    left -= 1;
                    thread::sleep(JOIN_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether this node does what one alone is to do.
    pub(crate) fn leads(&self) -> bool {
        let state = self.state();
        let now = self.clock.now();
        let leader = state.leader.as_ref();
        leader.is_some_and(|leader| leader.is_held_by(self.of.node, leader.fence, &now))
    }

    /// Takes no more work, and closes the bell once what there is has ended.
    pub(crate) fn drain(&self) {
        let due = self.drain_due();
        let mut state = self.state();
        state.drain.get_or_insert(due);
        state.is_signalled = true;
        drop(state);
        self.wake.notify_all();
    }

    /// Speaks for the node until the bell is closed.
    pub(crate) fn run(&self, hands: &dyn Hands) {
        while !self.bell.is_closed() {
            if let Err(error) = self.tick(hands) {
                let is_new = !std::mem::replace(&mut self.state().is_trouble_told, true);
                if is_new {
                    hands.warn(&format!("this node is not heard of: {error}"));
                }
            } else if std::mem::take(&mut self.state().is_trouble_told) {
                hands.say("This node is heard of again");
            }
            let state = self.state();
            if !state.is_over {
                drop(self.wake.wait_timeout(state, LOOK));
            }
        }
    }

    /// Leaves in order.
    pub(crate) fn leave(&self) -> Result<(), Error> {
        self.state().is_over = true;
        let process = self.of.introduction.process.clone();
        self.tell(NodeCommand::Leave { process }).map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain_due(&self) -> Due {
        let millis = u64::try_from(self.of.drain.as_millis()).unwrap_or(u64::MAX);
        self.clock.now().after_millis(millis)
    }

    fn execute(&self, command: Command) -> Result<Output, Error> {
        let reply = self.store.execute(Request {
            meta: self.of.meta.clone(),
            done: vec![],
            command,
        })?;
        Ok(reply.output)
    }

    fn tell(&self, command: NodeCommand) -> Result<Node, Error> {
        let node = self.of.node;
        match self.execute(Command::Node { node, command })? {
            Output::Node { node } => Ok(*node),
            other => Err(unexpected(&other)),
        }
    }

    fn register(&self) -> Result<Node, Error> {
        self.tell(NodeCommand::Register(self.of.introduction.clone()))
    }

    fn tick(&self, hands: &dyn Hands) -> Result<(), Error> {
        let is_due = self.clock.now().moment.millis >= self.state().next;
        if is_due {
            self.state().next = self.clock.now().moment.millis + RETRY_MILLIS;
            self.speak()?;
            self.lead(hands)?;
            let lease = self.of.introduction.lease_millis;
            self.state().next = self.clock.now().moment.millis + lease / 3;
        }
        self.hear()?;
        let live = self.live()?;
        let now = self.clock.now();
        let is_let_go = |session: &Session| {
            session.is_elsewhere(Some(self.of.node)) && has_ended(&session.lease_until, &now)
        };
        if self.leads() && (is_due || live.iter().any(is_let_go)) {
            self.recover_lost(hands)?;
        }
        self.drain_on(&live, hands)
    }

    /// Says that it lives; where the store does not know it any more, who it is.
    fn speak(&self) -> Result<(), Error> {
        let heartbeat = NodeCommand::Heartbeat {
            process: self.of.introduction.process.clone(),
            lease_millis: self.of.introduction.lease_millis,
        };
        let node = match self.tell(heartbeat) {
            Err(Error::NotFound { .. } | Error::Rejected(_)) => self.register()?,
            said => said?,
        };
        let due = self.drain_due();
        let mut state = self.state();
        if node.draining {
            state.drain.get_or_insert(due);
            state.is_drain_said = true;
        } else {
            state.is_drain_said = false;
            // Somebody has changed their mind.
            state.drain = state.drain.take().filter(|_| state.is_signalled);
        }
        Ok(())
    }

    fn lead(&self, hands: &dyn Hands) -> Result<(), Error> {
        let (node, lease_millis) = (self.of.node, self.of.introduction.lease_millis);
        let Output::Leader { leader } = self.execute(Command::Lead { node, lease_millis })? else {
            return Ok(());
        };
        let ours = (leader.node == node).then_some(leader);
        let mut state = self.state();
        let is_new = ours.is_some() && state.leader.is_none();
        state.leader = ours;
        drop(state);
        if is_new {
            hands.say("This node leads: it recovers what others lose");
        }
        Ok(())
    }

    /// Rings where anybody has changed anything.
    fn hear(&self) -> Result<(), Error> {
        let generation = self.store.generation()?;
        let before = std::mem::replace(&mut self.state().generation, generation);
        if before != generation {
            self.bell.ring();
        }
        Ok(())
    }

    fn live(&self) -> Result<Vec<Session>, Error> {
        match self.store.read(&Query::LiveSessions { project: None })? {
            View::Sessions { sessions } => Ok(sessions),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    fn recover_lost(&self, hands: &dyn Hands) -> Result<(), Error> {
        let Some(leader) = self.state().leader.clone() else {
            return Ok(());
        };
        let recover = Command::RecoverLost {
            node: self.of.node,
            fence: leader.fence,
            patience_millis: PATIENCE_MILLIS,
            recovery: self.of.recovery,
        };
        let (nodes, sessions) = match self.execute(recover) {
            Ok(Output::Lost { nodes, sessions }) => (nodes, sessions),
            // Another leads by now.
            Err(Error::Rejected(_)) => {
                self.state().leader = None;
                return Ok(());
            }
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => return Err(error),
        };
        for node in nodes {
            hands.say(&format!("Lost {} ({}): it is silent", node.name, node.id));
        }
        for session in &sessions {
            hands.say(&format!(
                "Recovered {}: its node gave no sign of it in time; {} requeued",
                session.id, session.task
            ));
        }
        if !sessions.is_empty() {
            self.bell.ring();
        }
        Ok(())
    }

    /// Ends the daemon once nothing of this node is at work, or its time is up.
    fn drain_on(&self, live: &[Session], hands: &dyn Hands) -> Result<(), Error> {
        let (drain, is_said) = {
            let state = self.state();
            (state.drain.clone(), state.is_drain_said)
        };
        let Some(due) = drain else {
            return Ok(());
        };
        if !is_said {
            self.tell(NodeCommand::Drain)?;
            self.state().is_drain_said = true;
        }
        let ours = live.iter().filter(|session| {
            session.node == Some(self.of.node) && session.kind == SessionKind::Managed
        });
        match ours.count() {
            0 => self.bell.close(),
            left if due.has_come(&self.clock.now()) => {
                hands.warn(&format!(
                    "{left} sessions are still at work: they go on without this process"
                ));
                self.bell.close();
            }
            _ => {}
        }
        Ok(())
    }
}

fn unexpected(output: &Output) -> Error {
    Error::corrupt(format!("unexpected answer {output:?}"))
}
