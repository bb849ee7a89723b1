//! Which processes belong to a session.

use std::collections::{HashMap, HashSet};

use domain::id::SessionId;

use super::{
    host::Machine,
    table::{Crowd, Mark, Process, Sight, for_each_living, marker_entry, own_line},
};

/// How the processes of a session are recognised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Census<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) session: SessionId,
    /// The leader of a tree that was started here, as long as it is not reaped: its number is
    /// taken until then, so its process group cannot be another one's.
    pub(crate) leader: Option<u32>,
    /// Where all of its processes were started by this one: who was there before. None of those
    /// belongs to it, unless it was put into its control group.
    pub(crate) before: Option<&'a Crowd>,
}

impl Census<'_> {
    /// Calls `found` once for every living process of the session; for what carries a direct sign
    /// at the moment of finding it, for what is only descended from such a process afterwards.
    /// `known` are processes found before, whose children count as well.
    ///
    /// A sign is the session's control group, its marker in the environment, the process group or
    /// session of the leader, or having been re-parented to this process as subreaper. A process
    /// that carries another session's marker is nobody's descendant.
    ///
    /// `false` if processes came so fast that one may have been missed.
    pub(crate) fn take(&self, known: &HashSet<u32>, mut found: impl FnMut(&Process)) -> bool {
        let wanted = marker_entry(&self.machine.mark(self.session));
        let inside = self
            .machine
            .cgroup_of(self.session)
            .map(|group| group.pids());
        let is_orphan = self.machine.children.orphan_test(self.session);
        let excluded: HashSet<u32> = own_line().into_iter().collect();
        let mut members = HashSet::new();
        let mut others: HashMap<u32, Process> = HashMap::new();
        let mut scratch = Vec::with_capacity(16 * 1024);

        let is_inside = |pid: u32| inside.as_ref().is_some_and(|pids| pids.contains(&pid));
        let before = self.before.filter(|before| before.is_valid());
        let was_there =
            |pid: u32| before.is_some_and(|before| before.contains(pid) && !is_inside(pid));

        let all_seen = for_each_living(was_there, |process| {
            if excluded.contains(&process.pid) || members.contains(&process.pid) {
                return Sight::Clear;
            }
            let mark = process.mark(&wanted, &mut scratch);
            let of_leader = self.leader.is_some_and(|leader| {
                [process.pid, process.group, process.session].contains(&leader)
            });
            let orphan = mark != Mark::Other && is_orphan(&process);
            if mark == Mark::Own
                || is_inside(process.pid)
                || of_leader
                || orphan
                || known.contains(&process.pid)
            {
                members.insert(process.pid);
                others.remove(&process.pid);
                found(&process);
                return Sight::Clear;
            }
            match mark {
                Mark::Own | Mark::Other => {
                    others.remove(&process.pid);
                    Sight::Clear
                }
                Mark::None => {
                    others.insert(process.pid, process);
                    Sight::Clear
                }
                Mark::Blank => {
                    others.insert(process.pid, process);
                    Sight::Blurred
                }
            }
        });

        let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
        for process in others.into_values() {
            children.entry(process.parent).or_default().push(process);
        }
        let mut parents: Vec<u32> = members.iter().chain(known).copied().collect();
        while let Some(parent) = parents.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                parents.push(child.pid);
                found(&child);
            }
        }
        all_seen
    }
}
