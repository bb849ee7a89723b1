//! Ends every process of a session.

use std::{
    collections::{HashMap, HashSet},
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use app::ports::processes::Ended;
use domain::process::ProcessIdentity;
use rustix::process::Signal;

use super::{
    census::Census,
    cgroup::SessionCgroup,
    deadline::Deadline,
    handle::{Handle, is_running, wait_readable},
    host::Machine,
    table::{Process, own_line},
};

/// How long newcomers may stay unnoticed while the others take their time to obey.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The longest pause between two looks.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(200);

/// How long processes that were killed may take to go: one that waits for a disk can take longer,
/// and is then reported as left.
pub(crate) const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// So many looks in a row have to find nobody: one alone may miss a process that was changing its
/// image, or was being made by another which was gone when its own turn came. A control group that
/// is empty cannot hide one, and then a single look for those that left it is enough.
const EMPTY_LOOKS: usize = 3;

/// The same for looks during which processes came so fast that not all were seen: on a machine
/// that makes many at every moment there may be no others.
const HASTY_LOOKS: usize = 24;

/// Handles that are kept open at once; of more processes each look tells what became of them.
const HANDLES_MAX: usize = 256;

/// Ends the session: TERM, up to `grace`, then KILL until none is left. Its control group is
/// removed when it is empty.
pub(crate) fn end(census: Census<'_>, grace: Duration) -> Ended {
    let group = census
        .machine
        .cgroup_of(census.session)
        .filter(SessionCgroup::exists);
    let inside = group.as_ref().map(SessionCgroup::pids).unwrap_or_default();
    let is_inside = own_line().iter().any(|pid| inside.contains(pid));
    let mut ending = Ending {
        census,
        group,
        is_inside,
        roll: Roll::new(census.machine),
    };
    let all_obeyed = !grace.is_zero() && ending.ask(Deadline::after(grace));
    if !all_obeyed {
        ending.force(Deadline::after(KILL_PATIENCE));
    }
    census.machine.children.reap_orphans();
    if let Some(group) = &ending.group {
        group.remove();
    }
    ending.roll.sum()
}

struct Ending<'a> {
    census: Census<'a>,
    group: Option<SessionCgroup>,
    /// Whether we, or someone above us, are in that group ourselves.
    is_inside: bool,
    roll: Roll<'a>,
}

impl<'a> Ending<'a> {
    /// Asks everyone to end; `true` if all did.
    fn ask(&mut self, deadline: Deadline) -> bool {
        let mut pause = LOOK_AGAIN;
        let mut silence = Silence::default();
        loop {
            let sighting = self.look_and_ask();
            silence.hear(sighting);
            if sighting.count == 0 {
                if self.is_over(silence) {
                    return true;
                }
                if !deadline.has_passed() {
                    continue;
                }
            }
            if deadline.has_passed() {
                return false;
            }
            self.roll.wait_for_all(pause.min(deadline.remaining()));
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    /// Kills until nobody is left, first stopping everyone, so that nobody makes another or
    /// becomes an orphan meanwhile.
    fn force(&mut self, deadline: Deadline) {
        self.roll.condemn();
        loop {
            let before = self.roll.stopped;
            self.look(Roll::stop);
            if self.roll.stopped == before || deadline.has_passed() {
                break;
            }
        }
        let mut silence = Silence::default();
        while !self.is_over(silence) && !deadline.has_passed() {
            self.kill_group();
            let sighting = self.look(Roll::kill);
            silence.hear(sighting);
            if sighting.count > 0 {
                self.roll
                    .wait_for_all(LOOK_AGAIN_MAX.min(deadline.remaining()));
            }
        }
    }

    /// Looks for members and then asks those to end that were not asked yet, parents first: who
    /// goes during the look would take away by what its children are known. Says how many there
    /// are that can be signalled.
    fn look_and_ask(&mut self) -> Sighting {
        let mut found = Vec::new();
        let all_seen = self
            .census
            .take(&self.roll.pids(), |process| found.push(*process));
        found.sort_unstable_by_key(|process| (process.start_ticks, process.pid));
        for process in &found {
            self.roll.terminate(process);
        }
        let count = found
            .iter()
            .filter(|process| !self.roll.is_refused(process.pid))
            .count();
        Sighting { count, all_seen }
    }

    /// Looks for members and does something to each as it is found; says how many there are that
    /// can be signalled.
    fn look(&mut self, act: fn(&mut Roll<'a>, &Process)) -> Sighting {
        let known = self.roll.pids();
        let mut count = 0;
        let roll = &mut self.roll;
        let all_seen = self.census.take(&known, |process| {
            act(roll, process);
            count += usize::from(!roll.is_refused(process.pid));
        });
        Sighting { count, all_seen }
    }

    /// Whether the last looks, which found nobody, are enough: with a control group one, if the
    /// group is empty, since a look can miss who keeps moving to a new process.
    fn is_over(&self, silence: Silence) -> bool {
        match &self.group {
            Some(group) if !self.is_inside => silence.looks > 0 && !group.is_populated(),
            _ => silence.full_looks >= EMPTY_LOOKS || silence.looks >= HASTY_LOOKS,
        }
    }

    /// Kills the whole group at once, unless we are in it ourselves.
    fn kill_group(&self) {
        let Some(group) = &self.group else { return };
        if !self.is_inside {
            // Where this fails the members are killed one by one.
            drop(group.kill());
        }
    }
}

/// What one look came to.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    /// How many were found that can be signalled.
    count: usize,
    all_seen: bool,
}

/// How many looks in a row found nobody.
#[derive(Debug, Clone, Copy, Default)]
struct Silence {
    looks: usize,
    /// Those among them that saw everyone.
    full_looks: usize,
}

impl Silence {
    fn hear(&mut self, sighting: Sighting) {
        if sighting.count > 0 {
            *self = Self::default();
        } else {
            self.looks += 1;
            self.full_looks += usize::from(sighting.all_seen);
        }
    }
}

/// Everyone who was found so far.
struct Roll<'a> {
    machine: &'a Machine,
    members: HashMap<u32, Member>,
    /// Members that gave their number to a later one.
    former: Vec<Member>,
    handles: usize,
    /// More than there may be open handles of.
    crowded: bool,
    stopped: usize,
    condemned: bool,
}

struct Member {
    identity: ProcessIdentity,
    handle: Option<Handle>,
    asked: bool,
    stopped: bool,
    /// Was there when the killing began, or came later.
    killed: bool,
    /// The system does not let us signal it.
    refused: bool,
}

impl<'a> Roll<'a> {
    fn new(machine: &'a Machine) -> Self {
        Self {
            machine,
            members: HashMap::new(),
            former: Vec::new(),
            handles: 0,
            crowded: false,
            stopped: 0,
            condemned: false,
        }
    }

    fn terminate(&mut self, process: &Process) {
        let is_stopped = process.is_stopped();
        let Some(member) = self.meet(process).filter(|member| !member.asked) else {
            return;
        };
        member.asked = true;
        member.send(Signal::TERM);
        if is_stopped {
            member.send(Signal::CONT);
        }
    }

    fn stop(&mut self, process: &Process) {
        let Some(member) = self.meet(process).filter(|member| !member.stopped) else {
            return;
        };
        member.stopped = true;
        member.send(Signal::STOP);
        self.stopped += 1;
    }

    fn kill(&mut self, process: &Process) {
        if let Some(member) = self.meet(process) {
            member.send(Signal::KILL);
        }
    }

    /// The member that this process is, new or known; `None` if it has gone already.
    fn meet(&mut self, process: &Process) -> Option<&mut Member> {
        let identity = process.identity(&self.machine.boot);
        let known = self
            .members
            .get(&process.pid)
            .is_some_and(|m| m.identity == identity);
        if !known {
            if let Some(former) = self.members.remove(&process.pid) {
                self.former.push(former);
            }
            let opened = Handle::open(&identity, &self.machine.boot);
            let refused = opened.is_err();
            let handle = opened.ok().flatten();
            self.handles += usize::from(handle.is_some());
            let killed = self.condemned && handle.is_some();
            let member = Member {
                identity,
                handle,
                asked: false,
                stopped: false,
                killed,
                refused,
            };
            self.members.insert(process.pid, member);
        }
        if self.handles > HANDLES_MAX {
            self.close_some(process.pid);
        }
        let member = self.members.get_mut(&process.pid)?;
        if member.handle.is_none() && !member.refused {
            member.handle = Handle::open(&member.identity, &self.machine.boot)
                .ok()
                .flatten();
            self.handles += usize::from(member.handle.is_some());
        }
        Some(member)
    }

    /// Closes the handles of all but one; they are opened again when they are needed.
    fn close_some(&mut self, keep: u32) {
        for (_, member) in self.members.iter_mut().filter(|(pid, _)| **pid != keep) {
            member.handle = None;
        }
        self.handles = 1;
        self.crowded = true;
    }

    /// From here on everyone who is left counts as killed.
    fn condemn(&mut self) {
        self.condemned = true;
        for member in self.members.values_mut() {
            member.killed = is_running(&member.identity, &self.machine.boot);
        }
    }

    fn pids(&self) -> HashSet<u32> {
        let alive = |m: &&Member| is_running(&m.identity, &self.machine.boot);
        self.members
            .values()
            .filter(alive)
            .map(|member| member.identity.pid)
            .collect()
    }

    fn is_refused(&self, pid: u32) -> bool {
        self.members.get(&pid).is_some_and(|member| member.refused)
    }

    /// Waits until everyone has gone of whom a handle is open, or the time is over.
    fn wait_for_all(&self, timeout: Duration) {
        let deadline = Deadline::after(timeout);
        let waited = self.members.values().filter(|member| !member.refused);
        let mut fds: Vec<BorrowedFd<'_>> = waited
            .filter_map(|member| member.handle.as_ref())
            .map(AsFd::as_fd)
            .collect();
        while !fds.is_empty() {
            let Ok(ended) = wait_readable(&fds, deadline) else {
                return;
            };
            let before = fds.len();
            let mut ended = ended.into_iter();
            fds.retain(|_| ended.next() != Some(true));
            if fds.len() == before {
                return;
            }
        }
        if self.crowded {
            // Some of them are only seen by looking, which must not fill the time.
            drop(wait_readable(&[], Deadline::after(timeout.min(LOOK_AGAIN))));
        }
    }

    fn sum(self) -> Ended {
        let mut sum = Ended::default();
        for member in self.members.into_values().chain(self.former) {
            if is_running(&member.identity, &self.machine.boot) {
                sum.left.push(member.identity);
            } else if member.killed {
                sum.killed += 1;
            } else {
                sum.obeyed += 1;
            }
        }
        sum
    }
}

impl Member {
    fn send(&mut self, signal: Signal) {
        self.refused |= self
            .handle
            .as_ref()
            .is_some_and(|handle| handle.signal(signal).is_err());
    }
}
