//! What the tests start processes with.

use std::{
    io::Read,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use app::ports::processes::{Containment, Launch, ProcessTree, Processes};
use domain::{id::SessionId, process::Exit};
use sandbox_host::{CgroupRoot, HostOptions, HostProcesses};

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// Runs a test with each way in which trees can be held together here: control groups, where they
/// can be made, and marker with and without the shim.
pub(crate) fn with_each(test: impl Fn(&HostProcesses)) {
    let grouped = with_shim(CgroupRoot::Detect);
    if grouped.containment() == Containment::Cgroup {
        test(&grouped);
    }
    let marked = with_shim(CgroupRoot::Off);
    assert_eq!(marked.containment(), Containment::Marker);
    test(&marked);
    test(&bare());
}

/// Control groups, if they can be used here.
pub(crate) fn grouped() -> Option<HostProcesses> {
    Some(with_shim(CgroupRoot::Detect)).filter(|host| host.containment() == Containment::Cgroup)
}

pub(crate) fn with_shim(cgroup_root: CgroupRoot) -> HostProcesses {
    let shim = Some((shim_program(), Vec::new()));
    HostProcesses::new(HostOptions {
        shim,
        cgroup_root,
        realm: String::new(),
    })
    .unwrap()
}

/// Neither shim nor control groups.
pub(crate) fn bare() -> HostProcesses {
    HostProcesses::new(HostOptions {
        shim: None,
        cgroup_root: CgroupRoot::Off,
        realm: String::new(),
    })
    .unwrap()
}

/// `examples/exec_shim.rs`, which is built with the tests.
pub(crate) fn shim_program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/exec_shim");
    assert!(program.is_file(), "{} is missing", program.display());
    program
}

/// An id that no other test, of this run or of another at the same time, uses.
pub(crate) fn session() -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = u64::from(std::process::id()) << 32 | NEXT.fetch_add(1, Ordering::Relaxed);
    SessionId::from_number(number).unwrap()
}

pub(crate) fn launch(program: &str, args: &[&str]) -> Launch {
    Launch {
        session: session(),
        program: program.to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
        directory: std::env::temp_dir(),
        stdin: Vec::new(),
    }
}

/// A shell that runs `script`.
pub(crate) fn shell(script: &str) -> Launch {
    launch("sh", &["-c", script])
}

/// Reads a stream to its end while the program runs.
pub(crate) fn read_all(stream: Option<Box<dyn Read + Send>>) -> thread::JoinHandle<Vec<u8>> {
    let mut stream = stream.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Runs a program to its end and returns what it wrote and how it ended.
pub(crate) fn run(host: &HostProcesses, launch: Launch) -> (String, Option<Exit>) {
    let mut tree = host.spawn(launch).unwrap();
    let out = read_all(tree.take_stdout());
    let exit = tree.wait(LONG).unwrap();
    tree.end(LONG);
    (String::from_utf8(out.join().unwrap()).unwrap(), exit)
}

/// Reads lines of a tree's output until one is `line`.
pub(crate) fn read_until(tree: &mut dyn ProcessTree, line: &str) {
    let mut stream = tree.take_stdout().unwrap();
    let (mut seen, mut byte) = (String::new(), [0]);
    while !seen.lines().any(|known| known == line) || !seen.ends_with('\n') {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "ended after {seen:?}");
        seen.push(byte[0] as char);
    }
}

/// Waits for something that will be so soon.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "not within {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
