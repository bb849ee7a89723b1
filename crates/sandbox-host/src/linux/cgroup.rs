//! Control groups, version 2: one per session, below `<root>/crewboss`.

use std::{
    collections::HashSet,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::PollFlags,
    fs::{Access, access},
};

use super::{deadline::Deadline, handle::wait_for};

/// The folder of all our groups within the root.
const FOLDER: &str = "crewboss";

/// How long a group of which every process is gone may take to say so.
const SETTLE: Duration = Duration::from_millis(500);

/// How deep groups made by an agent are followed.
const DEPTH_MAX: usize = 32;

/// Where groups of sessions may be made.
#[derive(Debug)]
pub(crate) struct Cgroups {
    base: PathBuf,
}

impl Cgroups {
    /// The topmost group on the way from the root of a mounted version 2 tree to our own in which
    /// we may make groups and move processes: the same for every process of one user, so that a
    /// later one finds what an earlier one made.
    pub(crate) fn detect() -> Option<Self> {
        let own = own_path(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        mounts
            .lines()
            .filter_map(mount_point)
            .find_map(|(root, point)| {
                candidates(&root, &point, &own)
                    .iter()
                    .find_map(|c| Self::at(c))
            })
    }

    /// Groups below this one, if that can be.
    pub(crate) fn at(root: &Path) -> Option<Self> {
        let base = root.join(FOLDER);
        access(root.join("cgroup.procs"), Access::WRITE_OK).ok()?;
        create(&base).ok()?;
        for file in ["cgroup.procs", "cgroup.kill"] {
            access(base.join(file), Access::WRITE_OK).ok()?;
        }
        access(&base, Access::WRITE_OK).ok()?;
        Some(Self { base })
    }

    /// The group that is nobody's session, where we are in one of ours ourselves: what is to
    /// outlive that goes there.
    pub(crate) fn way_out(&self) -> Option<&Path> {
        let own = own_path(&fs::read_to_string("/proc/self/cgroup").ok()?)?;
        let mut parts = own.components();
        let is_inside = parts.any(|part| part.as_os_str() == FOLDER) && parts.next().is_some();
        is_inside.then_some(&self.base)
    }

    /// The marks of the groups that there are.
    pub(crate) fn marks(&self) -> impl Iterator<Item = String> {
        below(&self.base).filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()))
    }

    /// The group of a session, by its mark, which need not exist.
    pub(crate) fn of(&self, mark: &str) -> SessionCgroup {
        SessionCgroup {
            dir: self.base.join(mark),
        }
    }
}

/// The group of one session.
#[derive(Debug, Clone)]
pub(crate) struct SessionCgroup {
    dir: PathBuf,
}

impl SessionCgroup {
    /// Makes it.
    pub(crate) fn create(&self) -> io::Result<&Path> {
        create(&self.dir)?;
        Ok(&self.dir)
    }

    /// Whether it is there.
    pub(crate) fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// The numbers of all processes in it and in groups below it.
    pub(crate) fn pids(&self) -> HashSet<u32> {
        let mut pids = HashSet::new();
        collect(&self.dir, DEPTH_MAX, &mut pids);
        pids.remove(&0);
        pids
    }

    /// Kills every process in it and below it, also those that are just being made.
    pub(crate) fn kill(&self) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.kill"), "1")
    }

    /// Whether any process is in it or below it.
    pub(crate) fn is_populated(&self) -> bool {
        fs::read_to_string(self.dir.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    /// Removes it and the groups below it, once it is empty. What still holds a process stays.
    pub(crate) fn remove(&self) {
        if self.exists() && self.settles() {
            remove(&self.dir, DEPTH_MAX);
        }
    }

    fn settles(&self) -> bool {
        let deadline = Deadline::after(SETTLE);
        let Ok(events) = fs::File::open(self.dir.join("cgroup.events")) else {
            return false;
        };
        // Reading through the polled descriptor is what arms the next notification.
        while io::read_to_string(&events).is_ok() && self.is_populated() {
            if deadline.has_passed()
                || wait_for(&[events.as_fd()], PollFlags::PRI, deadline).is_err()
                || io::Seek::rewind(&mut &events).is_err()
            {
                return false;
            }
        }
        true
    }
}

fn create(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn below(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn collect(dir: &Path, depth: usize, pids: &mut HashSet<u32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    if depth > 0 {
        below(dir).for_each(|child| collect(&child, depth - 1, pids));
    }
}

fn remove(dir: &Path, depth: usize) {
    if depth > 0 {
        below(dir).for_each(|child| remove(&child, depth - 1));
    }
    // A process that moved itself in meanwhile keeps the group; the next end of the session
    // removes it.
    drop(fs::remove_dir(dir));
}

/// Our own group from `/proc/self/cgroup`.
fn own_path(text: &str) -> Option<PathBuf> {
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(PathBuf::from)
}

/// Root and mount point of a line of `mountinfo` that mounts a version 2 tree.
fn mount_point(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (mount, kind) = line.split_once(" - ")?;
    kind.starts_with("cgroup2 ").then_some(())?;
    let mut fields = mount.split(' ').skip(3);
    Some((fields.next()?.into(), fields.next()?.into()))
}

/// The groups in which ours might be made, topmost first.
fn candidates(root: &Path, point: &Path, own: &Path) -> Vec<PathBuf> {
    let mut found = vec![point.to_path_buf()];
    let inner = own.strip_prefix(root).unwrap_or(Path::new(""));
    let mut at = point.to_path_buf();
    for part in inner.components() {
        if part == std::path::Component::ParentDir || part.as_os_str() == FOLDER {
            break;
        }
        at.push(part);
        found.push(at.clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_2_mounts_count() {
        let v2 = "36 32 0:31 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(
            mount_point(v2),
            Some(("/".into(), "/sys/fs/cgroup/unified".into()))
        );
        let v1 = "33 32 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(mount_point(v1), None);
    }

    #[test]
    fn candidates_run_from_the_mount_to_our_own_group_but_not_into_a_session() {
        let at = |own: &str| candidates(Path::new("/"), Path::new("/c"), Path::new(own));
        assert_eq!(at("/"), [PathBuf::from("/c")]);
        assert_eq!(at("/a/b").last(), Some(&PathBuf::from("/c/a/b")));
        assert_eq!(at("/a/crewboss/ses_1").last(), Some(&PathBuf::from("/c/a")));
        assert_eq!(at("/../x"), [PathBuf::from("/c")]);
    }

    #[test]
    fn the_line_of_version_2_is_found_among_the_others() {
        assert_eq!(own_path("9:name=systemd:/\n0::/a/b\n"), Some("/a/b".into()));
        assert_eq!(own_path("9:name=systemd:/\n"), None);
    }
}
