//! Real commands as checks.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "what helpers of tests cannot do fails the test"
)]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use app::ports::{
    clock::Clock,
    gates::{GateRun, Gates},
    processes::Processes,
};
use domain::{
    gate::{GateResult, GateSpec, GateStatus},
    id::SessionId,
    process::Exit,
    redact::Redactor,
};
use sandbox_host::{CgroupRoot, HostOptions, HostProcesses, SystemClock};
use tempfile::TempDir;
use verify::CommandGates;

struct Bench {
    host: Arc<HostProcesses>,
    gates: CommandGates,
    request: GateRun,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let options = HostOptions {
            shim: None,
            cgroup_root: CgroupRoot::Off,
            realm: String::new(),
        };
        let host = Arc::new(HostProcesses::new(options).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let processes: Arc<dyn Processes> = host.clone();
        let folder = tempfile::tempdir().unwrap();
        let number =
            (u64::from(std::process::id()) << 32 | 1 << 30) + NEXT.fetch_add(1, Ordering::Relaxed);
        let request = GateRun {
            session: SessionId::from_number(number).unwrap(),
            directory: folder.path().to_owned(),
            env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            session_dir: folder.path().join("session"),
            output: "gates/test.log".into(),
            redactor: Redactor::new(["very secret"]),
        };
        Self {
            gates: CommandGates::new(processes, clock),
            host,
            request,
            folder,
        }
    }

    fn run(&self, line: &str) -> GateResult {
        self.check(&GateSpec {
            run: Some(line.to_owned()),
            ..spec()
        })
    }

    /// Runs a check and makes sure that nothing of it is left.
    fn check(&self, spec: &GateSpec) -> GateResult {
        let result = self.gates.run(spec, &self.request);
        assert_eq!(self.host.members(self.request.session), []);
        assert_eq!(result.lets_pass(), result.status == GateStatus::Passed);
        result
    }

    fn kept(&self, result: &GateResult) -> String {
        let file = self
            .request
            .session_dir
            .join(result.output.as_ref().unwrap());
        fs::read_to_string(file).unwrap()
    }
}

fn spec() -> GateSpec {
    GateSpec {
        name: "test".to_owned(),
        command: None,
        run: None,
        timeout_seconds: 600,
        required: true,
    }
}

fn command(words: &[&str]) -> GateSpec {
    GateSpec {
        command: Some(words.iter().map(|&word| word.to_owned()).collect()),
        ..spec()
    }
}

#[test]
fn the_exit_code_decides() {
    let bench = Bench::new();
    let passed = bench.run("echo fine; echo oh >&2");
    assert_eq!(
        (passed.status, passed.exit),
        (GateStatus::Passed, Some(Exit::Code(0)))
    );
    let failed = bench.run("echo bad; exit 3");
    assert_eq!(
        (failed.status, failed.exit),
        (GateStatus::Failed, Some(Exit::Code(3)))
    );
    assert_eq!(failed.tail, "bad");
    assert_eq!(
        bench.kept(&failed),
        "bad\n",
        "the earlier output is replaced"
    );
    let killed = bench.run("kill -9 $$");
    assert_eq!(
        (killed.status, killed.exit),
        (GateStatus::Failed, Some(Exit::Signal(9)))
    );
}

#[test]
fn a_command_is_no_shell_line() {
    let bench = Bench::new();
    let result = bench.check(&command(&["echo", "$HOME; exit 1"]));
    assert_eq!(
        (result.status, result.tail.as_str()),
        (GateStatus::Passed, "$HOME; exit 1")
    );
}

#[test]
fn it_runs_in_the_folder_with_its_environment_and_without_input() {
    let mut bench = Bench::new();
    bench.request.env.push(("A".to_owned(), "1".to_owned()));
    fs::write(bench.folder.path().join("here"), "").unwrap();
    let result = bench.run("ls here; echo $A; cat; echo \"<$HOME>\"");
    assert_eq!(
        (result.status, result.tail.as_str()),
        (GateStatus::Passed, "here\n1\n<>")
    );
}

#[test]
fn what_cannot_be_run_is_unavailable_and_says_why() {
    let mut bench = Bench::new();
    for spec in [
        command(&["no-such-tool"]),
        command(&[]),
        command(&["./session"]),
        spec(),
    ] {
        let result = bench.check(&spec);
        assert_eq!(
            (result.status, result.exit),
            (GateStatus::Unavailable, None),
            "{spec:?}"
        );
        assert!(!result.tail.is_empty());
    }
    let result = bench.check(&command(&["no-such-tool"]));
    assert!(
        result.tail.contains("`no-such-tool`: No such file"),
        "{}",
        result.tail
    );

    let result = bench.run("no-such-tool --all");
    assert_eq!(
        (result.status, result.exit),
        (GateStatus::Unavailable, Some(Exit::Code(127)))
    );
    assert!(result.tail.contains("not found"), "{}", result.tail);

    bench.request.directory = "/no/such/folder".into();
    assert_eq!(bench.run("true").status, GateStatus::Unavailable);
}

#[test]
fn output_that_cannot_be_kept_makes_it_unavailable() {
    let mut bench = Bench::new();
    bench.request.session_dir = "/proc/none".into();
    assert_eq!(bench.run("true").status, GateStatus::Unavailable);
    if Path::new("/dev/full").exists() {
        bench.request.session_dir = "/dev".into();
        bench.request.output = "full".into();
        assert_eq!(bench.run("echo x").status, GateStatus::Unavailable);
    }
}

#[test]
fn an_optional_check_never_stops_the_task() {
    let bench = Bench::new();
    let spec = GateSpec {
        required: false,
        ..command(&["false"])
    };
    let result = bench.gates.run(&spec, &bench.request);
    assert_eq!(result.status, GateStatus::Failed);
    assert!(result.lets_pass());
}

#[test]
fn who_takes_too_long_is_ended_with_all_its_processes() {
    let bench = Bench::new();
    let line = "(setsid sh -c 'trap \"\" TERM; echo deep; exec sleep 600' &); echo up; sleep 600";
    let spec = GateSpec {
        run: Some(line.to_owned()),
        timeout_seconds: 1,
        ..spec()
    };
    let result = bench.check(&spec);
    assert_eq!(
        (result.status, result.exit),
        (GateStatus::Timeout, Some(Exit::Signal(15)))
    );
    assert!(result.duration_ms >= 1_000, "{}", result.duration_ms);
    let mut lines: Vec<&str> = result.tail.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["deep", "up"]);
}

#[test]
fn a_check_that_ends_well_leaves_nobody_behind() {
    let bench = Bench::new();
    let result = bench.run("(setsid sleep 600 &); sleep 600 & echo done");
    assert_eq!(
        (result.status, result.tail.as_str()),
        (GateStatus::Passed, "done")
    );
}

#[test]
fn long_output_is_cut_in_the_file_and_its_end_is_known() {
    let bench = Bench::new();
    let result = bench.run("seq 1 3000000; echo the end");
    assert_eq!(result.status, GateStatus::Passed);
    assert!(result.tail.len() <= 4096 && result.tail.ends_with("3000000\nthe end"));
    let kept = bench.kept(&result);
    assert!(kept.len() < (10 << 20) + 100, "{}", kept.len());
    assert!(kept.starts_with("1\n2\n") && kept.ends_with("not kept: it is longer than 10 MiB]\n"));
}

#[test]
fn one_endless_line_is_kept_up_to_the_limit() {
    let bench = Bench::new();
    let result = bench.run("head -c 20000000 /dev/zero | tr '\\0' x");
    assert_eq!(result.status, GateStatus::Passed);
    assert_eq!(result.tail.len(), 4096);
    assert!(bench.kept(&result).len() < (10 << 20) + 100);
}

#[test]
fn secrets_are_masked_in_the_file_and_the_tail() {
    let bench = Bench::new();
    let result = bench.run("echo it is very secret");
    assert_eq!(result.tail, "it is ***");
    assert_eq!(bench.kept(&result), "it is ***\n");
}
