//! Processes that are numbers.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use app::ports::{
    clock::Clock as _,
    processes::{Containment, Ended, Launch, ProcessTree, Processes, SpawnError},
    runners::Runners,
};
use domain::{id::SessionId, process::ProcessIdentity, time::BootId};

use crate::contract::clock::ManualClock;

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Command,
    Runner,
    Agent,
}

#[derive(Debug, Clone)]
struct Process {
    identity: ProcessIdentity,
    role: Role,
    session: Option<SessionId>,
}

/// The processes of a machine that is not there.
#[derive(Debug)]
pub(super) struct Machine {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u32,
    alive: BTreeMap<u32, Process>,
    /// Whoever acts now.
    own: Option<ProcessIdentity>,
    /// Runners that hear nobody.
    deaf: Vec<SessionId>,
}

impl Machine {
    pub(super) fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn boot(&self) -> BootId {
        self.clock.now().moment.boot
    }

    pub(super) fn start(&self, role: Role, session: Option<SessionId>) -> ProcessIdentity {
        let boot = self.boot();
        let mut state = self.state();
        state.last += 1;
        let pid = state.last;
        let identity = ProcessIdentity {
            pid,
            start_ticks: u64::from(pid),
            boot,
            namespace: None,
        };
        let process = Process {
            identity: identity.clone(),
            role,
            session,
        };
        state.alive.insert(pid, process);
        identity
    }

    pub(super) fn end(&self, process: &ProcessIdentity) {
        self.state().alive.remove(&process.pid);
    }

    /// Speaks as this process from now on.
    pub(super) fn speak_as(&self, process: &ProcessIdentity) {
        self.state().own = Some(process.clone());
    }

    /// Nothing is left of what ran.
    pub(super) fn power_off(&self) {
        let mut state = self.state();
        state.alive.clear();
        state.deaf.clear();
    }

    pub(super) fn deafen(&self, session: SessionId) {
        self.state().deaf.push(session);
    }

    pub(super) fn heal(&self) {
        self.state().deaf.clear();
    }

    pub(super) fn hears(&self, session: SessionId) -> bool {
        !self.state().deaf.contains(&session)
    }

    /// Living agents, by session.
    pub(super) fn agents(&self) -> Vec<SessionId> {
        let state = self.state();
        let agents = state.alive.values().filter(|one| one.role == Role::Agent);
        agents.filter_map(|one| one.session).collect()
    }
}

fn not_simulated() -> SpawnError {
    SpawnError::Failed {
        program: String::new(),
        source: io::ErrorKind::Unsupported.into(),
    }
}

impl Processes for Machine {
    fn mark(&self, session: SessionId) -> String {
        session.to_string()
    }

    fn containment(&self) -> Containment {
        Containment::Marker
    }

    fn own_identity(&self) -> ProcessIdentity {
        self.state().own.clone().expect("somebody acts")
    }

    fn identify(&self, pid: u32) -> Option<ProcessIdentity> {
        let state = self.state();
        state
            .alive
            .get(&pid)
            .map(|process| process.identity.clone())
    }

    fn spawn(&self, _launch: Launch) -> Result<Box<dyn ProcessTree>, SpawnError> {
        Err(not_simulated())
    }

    fn spawn_detached(
        &self,
        _program: &Path,
        _args: &[String],
        _env: &[(String, String)],
        _log: &Path,
    ) -> Result<ProcessIdentity, SpawnError> {
        Err(not_simulated())
    }

    fn members(&self, session: SessionId) -> Vec<ProcessIdentity> {
        let state = self.state();
        let own = state.own.as_ref().map(|own| own.pid);
        let of_session = state
            .alive
            .values()
            .filter(|one| one.session == Some(session) && Some(one.identity.pid) != own);
        of_session.map(|one| one.identity.clone()).collect()
    }

    fn sessions(&self) -> Vec<SessionId> {
        let state = self.state();
        state.alive.values().filter_map(|one| one.session).collect()
    }

    fn end_session(&self, session: SessionId, _grace: Duration) -> Ended {
        let members = self.members(session);
        let mut state = self.state();
        for member in &members {
            state.alive.remove(&member.pid);
        }
        Ended {
            obeyed: 0,
            killed: members.len(),
            left: vec![],
        }
    }

    fn kill(&self, process: &ProcessIdentity) {
        if self.is_alive(process) {
            self.end(process);
        }
    }

    fn wait_any(&self, processes: &[ProcessIdentity], _timeout: Duration) -> Vec<ProcessIdentity> {
        let gone = processes.iter().filter(|one| !self.is_alive(one));
        gone.cloned().collect()
    }
}

impl Runners for Machine {
    /// A runner that hears us would renew its lease at its next step.
    fn poke(&self, session: SessionId) -> io::Result<()> {
        let has_runner = self
            .state()
            .alive
            .values()
            .any(|one| one.role == Role::Runner && one.session == Some(session));
        if has_runner && self.hears(session) {
            return Ok(());
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn sockets(&self) -> Vec<(SessionId, PathBuf)> {
        vec![]
    }

    fn remove_socket(&self, _session: SessionId) -> io::Result<()> {
        Ok(())
    }
}
