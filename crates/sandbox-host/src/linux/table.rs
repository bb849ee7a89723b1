//! The process table: what `/proc` says of one process or of all.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    sync::OnceLock,
};

use app::ports::processes::SESSION_MARKER;
use domain::{process::ProcessIdentity, time::BootId};

/// The kernel's flag of a thread of its own (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One line of `/proc/PID/stat`, as far as it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    pub(crate) threads: u32,
    pub(crate) start_ticks: u64,
    kernel: bool,
}

/// Whose session marker a process carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// That of the session which is asked about.
    Own,
    /// That of another session.
    Other,
    /// None, or the environment cannot be read.
    None,
    /// Its environment is empty or has gone: it has none, or is changing its image, or ends.
    Blank,
}

impl Process {
    /// What the table says of this number now, zombies included.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        // The kernel writes the line at once; all its numbers at their longest fill half of this.
        let mut line = [0; 2048];
        let count = File::open(format!("/proc/{pid}/stat"))
            .ok()?
            .read(&mut line)
            .ok()?;
        Self::parse(pid, line.get(..count)?)
    }

    /// Parses a line whose second field, the name, may hold spaces, parentheses and newlines: the
    /// fields that count follow the last closing parenthesis.
    fn parse(pid: u32, line: &[u8]) -> Option<Self> {
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
        let mut fields = [""; 20];
        for (field, text) in fields.iter_mut().zip(rest.split_ascii_whitespace()) {
            *field = text;
        }
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let small = |index: usize| number(index).and_then(|value| u32::try_from(value).ok());
        Some(Self {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: small(1)?,
            group: small(2).unwrap_or(0),
            session: small(3).unwrap_or(0),
            threads: small(17)?,
            start_ticks: number(19)?,
            kernel: number(6)? & KERNEL_THREAD != 0,
        })
    }

    /// Whether it still runs. A process whose first thread has ended while others go on is shown
    /// as a zombie, but runs.
    pub(crate) fn is_alive(&self) -> bool {
        !self.has_dead_leader() || self.threads > 1
    }

    /// Whether it is stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    fn has_dead_leader(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    /// How it can be recognised later.
    pub(crate) fn identity(&self, boot: &BootId) -> ProcessIdentity {
        ProcessIdentity {
            pid: self.pid,
            start_ticks: self.start_ticks,
            boot: boot.clone(),
            namespace: own_namespace(),
        }
    }

    /// Whose marker it carries. `wanted` is [`marker_entry`] of the session asked about.
    pub(crate) fn mark(&self, wanted: &[u8], scratch: &mut Vec<u8>) -> Mark {
        let pid = self.pid;
        if !self.has_dead_leader() {
            return mark_in(&format!("/proc/{pid}/environ"), wanted, scratch);
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return Mark::None;
        };
        tasks
            .flatten()
            .map(|task| task.path().join("environ"))
            .map(|path| mark_in(&path.to_string_lossy(), wanted, scratch))
            .find(|mark| matches!(mark, Mark::Own | Mark::Other))
            .unwrap_or(Mark::None)
    }
}

/// The environment entry that every process of a session carries.
pub(crate) fn marker_entry(mark: &str) -> Vec<u8> {
    format!("{SESSION_MARKER}={mark}").into_bytes()
}

fn mark_in(path: &str, wanted: &[u8], scratch: &mut Vec<u8>) -> Mark {
    let Ok(mut file) = File::open(path) else {
        return Mark::None;
    };
    read_whole(&mut file, scratch);
    if scratch.is_empty() {
        return Mark::Blank;
    }
    let mut mark = Mark::None;
    for entry in scratch.split(|&byte| byte == 0) {
        if entry == wanted {
            return Mark::Own;
        }
        let value = entry.strip_prefix(SESSION_MARKER.as_bytes());
        if value.is_some_and(|value| value.starts_with(b"=")) {
            mark = Mark::Other;
        }
    }
    mark
}

/// The marks that processes of this machine carry.
pub(crate) fn marks() -> impl Iterator<Item = String> {
    let mut scratch = Vec::with_capacity(16 * 1024);
    numbers().into_iter().filter_map(move |pid| {
        let mut file = File::open(format!("/proc/{pid}/environ")).ok()?;
        read_whole(&mut file, &mut scratch);
        scratch.split(|&byte| byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(SESSION_MARKER.as_bytes())?;
            let mark = value.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(mark).into_owned())
        })
    })
}

/// Reads a file of `/proc` that fills the buffer up to its end: less than that is all there is.
/// What was read before an error counts: a process may go, or change its image, meanwhile.
fn read_whole(file: &mut File, bytes: &mut Vec<u8>) {
    bytes.resize(bytes.capacity().max(16 * 1024), 0);
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..) {
        let Ok(count) = file.read(room) else { break };
        filled += count;
        if filled < bytes.len() {
            break;
        }
        bytes.resize(filled * 2, 0);
    }
    bytes.truncate(filled);
}

/// How sure a look at a process was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// It will not be another one's when it is looked at again.
    Clear,
    /// It was just changing its image, or going.
    Blurred,
}

/// So often the numbers are read again in one look, for those that came meanwhile.
const ROUNDS_MAX: usize = 8;

/// So often one process is looked at whose sight stays blurred.
const BLURRED_MAX: usize = 3;

/// Calls `visit` for every living process that is not the kernel's own, while it is being read:
/// newest first, then those that were made meanwhile. One that makes another and goes cannot hide
/// so, as the other has a new number. A process may be visited again after a blurred sight.
///
/// `true` if in the end nobody had come; otherwise somebody may have been missed.
///
/// Numbers for which `is_known` are left out.
pub(crate) fn for_each_living(
    is_known: impl Fn(u32) -> bool,
    mut visit: impl FnMut(Process) -> Sight,
) -> bool {
    let mut looks: HashMap<u32, usize> = HashMap::new();
    for _ in 0..ROUNDS_MAX {
        let mut fresh = numbers();
        fresh.retain(|pid| {
            let is_done = looks.get(pid).is_some_and(|&count| count >= BLURRED_MAX);
            !is_done && !is_known(*pid)
        });
        if fresh.is_empty() {
            return true;
        }
        fresh.sort_unstable_by(|one, other| other.cmp(one));
        for pid in fresh {
            let read = Process::read(pid).filter(|process| process.is_alive() && !process.kernel);
            let sight = read.map_or(Sight::Clear, &mut visit);
            let count = looks.entry(pid).or_default();
            *count += match sight {
                Sight::Clear => BLURRED_MAX,
                Sight::Blurred => 1,
            };
        }
    }
    false
}

/// The processes of one moment, by their numbers alone.
///
/// The system gives numbers out in a circle: as long as fewer processes and threads were made
/// since than there are numbers, none of these is another process than it was.
#[derive(Debug)]
pub(crate) struct Crowd {
    pids: HashSet<u32>,
    made: u64,
    numbers_max: u64,
}

impl Crowd {
    /// The processes that there are now; `None` where the system does not count them.
    pub(crate) fn now() -> Option<Self> {
        let numbers_max = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?;
        let numbers_max = numbers_max.trim().parse().ok()?;
        let made = made_since_boot()?;
        let pids = numbers().into_iter().collect();
        Some(Self {
            pids,
            made,
            numbers_max,
        })
    }

    /// Whether its numbers still mean what they did. Half of the circle is left for what is in use.
    pub(crate) fn is_valid(&self) -> bool {
        made_since_boot().is_some_and(|made| made.saturating_sub(self.made) < self.numbers_max / 2)
    }

    pub(crate) fn contains(&self, pid: u32) -> bool {
        self.pids.contains(&pid)
    }
}

/// How many processes and threads were made since the system began.
fn made_since_boot() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("processes "))?
        .trim()
        .parse()
        .ok()
}

/// The numbers of all processes.
fn numbers() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// This process and everything above it, up to the first that cannot be seen.
pub(crate) fn own_line() -> Vec<u32> {
    let mut line = vec![std::process::id()];
    while let Some(process) = line.last().and_then(|&pid| Process::read(pid)) {
        if process.parent == 0 || line.contains(&process.parent) {
            break;
        }
        line.push(process.parent);
    }
    line
}

/// The pid namespace in which the numbers that we see hold.
pub(crate) fn own_namespace() -> Option<u64> {
    static OWN: OnceLock<Option<u64>> = OnceLock::new();
    let look = || fs::metadata("/proc/self/ns/pid").map(|found| found.ino());
    *OWN.get_or_init(|| look().ok())
}

/// Which run of the kernel this is.
pub(crate) fn read_boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BootId(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "4194560 10 0 0 0 1 2 0 0 20 0 3 0 4242 100 200 18446744073709551615";

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = format!("77 (a) S 1 (b\n) R 5 6 7 0 -1 {TAIL}");
        let process = Process::parse(77, line.as_bytes()).unwrap();
        assert_eq!((process.state, process.parent, process.group), (b'R', 5, 6));
        assert_eq!(
            (process.session, process.threads, process.start_ticks),
            (7, 3, 4242)
        );
        assert!(!process.kernel);
    }

    #[test]
    fn a_zombie_is_dead_unless_threads_of_it_go_on() {
        let line =
            |threads: u32| format!("9 (x) Z 1 9 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 5");
        assert!(!Process::parse(9, line(1).as_bytes()).unwrap().is_alive());
        assert!(Process::parse(9, line(2).as_bytes()).unwrap().is_alive());
    }

    #[test]
    fn half_a_line_is_no_process() {
        for line in ["", "9", "9 (x", "9 (x)", "9 (x) S 1 2"] {
            assert_eq!(Process::parse(9, line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn this_process_is_first_in_its_own_line() {
        let line = own_line();
        assert_eq!(line[0], std::process::id());
        assert!(line.len() > 1, "{line:?}");
    }
}
