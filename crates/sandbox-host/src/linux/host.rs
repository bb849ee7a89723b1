//! The process port on Linux.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use app::ports::processes::{Containment, Ended, Launch, ProcessTree, Processes, SpawnError};
use domain::{id::SessionId, process::ProcessIdentity, time::BootId};

use rustix::process::Signal;

use super::{
    census::Census,
    cgroup::{Cgroups, SessionCgroup},
    children::Children,
    deadline::Deadline,
    end::{KILL_PATIENCE, end},
    handle::{Handle, is_running, wait_readable},
    launch::{Plan, Shim, Started, Streams},
    stdin::feed,
    table::{self, Crowd, Process, read_boot_id},
    tree::HostTree,
};

/// The stack of a thread that only waits for a child.
const WAITER_STACK: usize = 64 * 1024;

/// Where the control groups of sessions are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CgroupRoot {
    /// In the topmost group of a mounted version 2 tree, on the way to our own, that we may use.
    #[default]
    Detect,
    /// In this one.
    At(PathBuf),
    /// Nowhere: trees are held together by marker, process group and subreaper.
    Off,
}

/// What the adapter is built with.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// A program, and its first arguments, that calls [`exec_shim`](crate::exec_shim) with the
    /// arguments that follow. Without it nothing joins a control group or becomes leader of a
    /// session of its own.
    pub shim: Option<(PathBuf, Vec<String>)>,
    /// Where control groups are made.
    pub cgroup_root: CgroupRoot,
    /// Tells the sessions of one store from those of others on this machine, which may have the
    /// same numbers: letters and digits.
    pub realm: String,
}

/// The process table cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the process table in /proc")]
pub struct Unsupported(#[source] io::Error);

/// Starts, recognises and ends processes of this machine.
///
/// Whoever is a subreaper must start other children, if any, in its own process group: a child in
/// another group that was not started here is taken for an orphan of the session.
#[derive(Debug)]
pub struct HostProcesses {
    machine: Arc<Machine>,
}

/// What all trees share.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) boot: BootId,
    pub(crate) shim: Option<Shim>,
    pub(crate) children: Children,
    own: ProcessIdentity,
    realm: String,
    cgroup_root: CgroupRoot,
    cgroups: OnceLock<Option<Cgroups>>,
    cgroups_unusable: AtomicBool,
    crowds: Mutex<HashMap<SessionId, Arc<Crowd>>>,
}

impl Machine {
    /// What processes of a session are marked with, and their group is called.
    pub(crate) fn mark(&self, session: SessionId) -> String {
        format!("{session}-{}", self.realm)
    }

    /// The control group of a session, which need not exist.
    pub(crate) fn cgroup_of(&self, session: SessionId) -> Option<SessionCgroup> {
        Some(self.cgroups()?.of(&self.mark(session)))
    }

    /// Where control groups are made, if they can be.
    pub(crate) fn cgroups(&self) -> Option<&Cgroups> {
        let found = self.cgroups.get_or_init(|| match &self.cgroup_root {
            CgroupRoot::Detect => Cgroups::detect(),
            CgroupRoot::At(root) => Cgroups::at(root),
            CgroupRoot::Off => None,
        });
        found.as_ref()
    }

    /// Whether trees that start now get a control group, if there can be any.
    pub(crate) fn uses_cgroups(&self) -> bool {
        !self.cgroups_unusable.load(Ordering::Acquire)
    }

    /// Trees that start from now on get no control group; those that have one keep it.
    pub(crate) fn give_up_cgroups(&self) {
        self.cgroups_unusable.store(true, Ordering::Release);
    }

    /// Who was there before the first tree of a session was started here.
    fn before(&self, session: SessionId) -> Option<Arc<Crowd>> {
        let mut crowds = self.crowds.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match crowds.entry(session) {
            Entry::Occupied(known) => Arc::clone(known.get()),
            Entry::Vacant(new) => Arc::clone(new.insert(Arc::new(Crowd::now()?))),
        })
    }
}

impl HostProcesses {
    /// The processes of this machine.
    ///
    /// # Errors
    /// Where `/proc` does not show this process or the boot.
    pub fn new(options: HostOptions) -> Result<Self, Unsupported> {
        let boot = read_boot_id().map_err(Unsupported)?;
        let own = Process::read(std::process::id())
            .ok_or_else(|| Unsupported(io::ErrorKind::NotFound.into()))?
            .identity(&boot);
        let shim = options.shim.map(|(program, args)| Shim { program, args });
        Ok(Self {
            machine: Arc::new(Machine {
                boot,
                shim,
                children: Children::default(),
                own,
                realm: options.realm,
                cgroup_root: options.cgroup_root,
                cgroups: OnceLock::new(),
                cgroups_unusable: AtomicBool::new(false),
                crowds: Mutex::default(),
            }),
        })
    }

    /// Makes this process the parent of every orphan below it, and reaps those from now on. Where
    /// it has started trees of one session only, an orphan that hides its origin is that
    /// session's.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn become_subreaper(&self) -> io::Result<()> {
        self.machine.children.become_subreaper()
    }

    fn census(&self, session: SessionId) -> Census<'_> {
        Census {
            machine: &self.machine,
            session,
            leader: None,
            before: None,
        }
    }
}

impl Processes for HostProcesses {
    fn mark(&self, session: SessionId) -> String {
        self.machine.mark(session)
    }

    fn containment(&self) -> Containment {
        let usable = self.machine.shim.is_some()
            && self.machine.uses_cgroups()
            && SessionId::from_number(1)
                .and_then(|any| self.machine.cgroup_of(any))
                .is_some();
        if usable {
            Containment::Cgroup
        } else {
            Containment::Marker
        }
    }

    fn own_identity(&self) -> ProcessIdentity {
        self.machine.own.clone()
    }

    fn identify(&self, pid: u32) -> Option<ProcessIdentity> {
        let process = Process::read(pid).filter(Process::is_alive)?;
        Some(process.identity(&self.machine.boot))
    }

    fn spawn(&self, launch: Launch) -> Result<Box<dyn ProcessTree>, SpawnError> {
        let plan = Plan {
            name: &launch.program,
            args: &launch.args,
            env: &launch.env,
            directory: Some(&launch.directory),
            session: Some(launch.session),
            detached: false,
        };
        let before = self.machine.before(launch.session);
        let reads = !launch.stdin.is_empty();
        let mut started = plan.start(&self.machine, || {
            let stdin = if reads { Stdio::piped() } else { Stdio::null() };
            Ok(Streams {
                stdin,
                stdout: Stdio::piped(),
                stderr: Stdio::piped(),
            })
        })?;
        let stdin = started.child.stdin.take();
        let feeding = stdin.map(|stdin| feed(stdin, launch.stdin)).transpose();
        let (feeding, fault) = match feeding {
            Ok(feeding) => (feeding, None),
            Err(fault) => (None, Some(fault)),
        };
        let machine = Arc::clone(&self.machine);
        let mut tree = HostTree::new(machine, launch.session, started, feeding, before);
        match fault {
            None => Ok(Box::new(tree)),
            Some(source) => {
                tree.end(Duration::ZERO);
                Err(SpawnError::Failed {
                    program: launch.program,
                    source,
                })
            }
        }
    }

    fn spawn_detached(
        &self,
        program: &Path,
        args: &[String],
        env: &[(String, String)],
        log: &Path,
    ) -> Result<ProcessIdentity, SpawnError> {
        let name = program.to_string_lossy();
        let plan = Plan {
            name: &name,
            args,
            env,
            directory: None,
            session: None,
            detached: true,
        };
        let started = plan.start(&self.machine, || {
            let log = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(log)?;
            Ok(Streams {
                stdin: Stdio::null(),
                stdout: log.try_clone()?.into(),
                stderr: log.into(),
            })
        })?;
        let Started {
            child, identity, ..
        } = started;
        wait_in_background(Arc::clone(&self.machine), child);
        Ok(identity)
    }

    fn members(&self, session: SessionId) -> Vec<ProcessIdentity> {
        let mut members = Vec::new();
        self.census(session)
            .take(&std::collections::HashSet::new(), |process| {
                members.push(process.identity(&self.machine.boot));
            });
        members
    }

    fn sessions(&self) -> Vec<SessionId> {
        let groups = self.machine.cgroups().map(Cgroups::marks);
        let marks = groups.into_iter().flatten().chain(table::marks());
        let session = |mark: String| {
            let (session, realm) = mark.rsplit_once('-')?;
            (realm == self.machine.realm).then(|| session.parse().ok())?
        };
        let found: BTreeSet<SessionId> = marks.filter_map(session).collect();
        found.into_iter().collect()
    }

    fn end_session(&self, session: SessionId, grace: Duration) -> Ended {
        end(self.census(session), grace)
    }

    fn kill(&self, process: &ProcessIdentity) {
        let Ok(Some(handle)) = Handle::open(process, &self.machine.boot) else {
            return;
        };
        if handle.signal(Signal::KILL).is_ok() {
            drop(wait_readable(
                &[handle.as_fd()],
                Deadline::after(KILL_PATIENCE),
            ));
        }
    }

    fn wait_any(&self, processes: &[ProcessIdentity], timeout: Duration) -> Vec<ProcessIdentity> {
        let boot = &self.machine.boot;
        let ended = || {
            processes
                .iter()
                .filter(|one| !is_running(one, boot))
                .cloned()
                .collect()
        };
        let handles: Vec<Handle> = processes
            .iter()
            .filter_map(|one| Handle::open(one, boot).ok().flatten())
            .collect();
        let gone: Vec<ProcessIdentity> = ended();
        if !gone.is_empty() || processes.is_empty() {
            return gone;
        }
        let fds: Vec<BorrowedFd<'_>> = handles.iter().map(AsFd::as_fd).collect();
        // Where the system cannot wait, what has ended by now is still the truth.
        drop(wait_readable(&fds, Deadline::after(timeout)));
        ended()
    }
}

/// Reaps a child when it ends. Where no thread can be had it stays a zombie until we end.
fn wait_in_background(machine: Arc<Machine>, mut child: Child) {
    let waiting = thread::Builder::new()
        .name("reaper".to_owned())
        .stack_size(WAITER_STACK);
    drop(waiting.spawn(move || {
        drop(child.wait());
        machine.children.forget(child.id());
    }));
}
