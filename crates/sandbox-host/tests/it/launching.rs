use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use app::ports::processes::{Processes, SpawnError};
use domain::process::Exit;

use crate::setting::{LONG, launch, read_all, run, shell, with_each};

#[test]
fn exit_code_and_signal_are_told_apart() {
    with_each(|host| {
        assert_eq!(run(host, shell("exit 7")).1, Some(Exit::Code(7)));
        assert_eq!(run(host, shell("exit 127")).1, Some(Exit::Code(127)));
        assert_eq!(run(host, shell("kill -9 $$")).1, Some(Exit::Signal(9)));
        assert!(run(host, shell("exit 0")).1.unwrap().is_success());
    });
}

#[test]
fn the_exit_stays_known_after_the_end() {
    with_each(|host| {
        let mut tree = host.spawn(shell("exit 3")).unwrap();
        assert_eq!(tree.wait(LONG).unwrap(), Some(Exit::Code(3)));
        tree.end(LONG);
        tree.end(LONG);
        assert_eq!(tree.wait(Duration::ZERO).unwrap(), Some(Exit::Code(3)));
    });
}

#[test]
fn waiting_gives_up_at_its_time() {
    with_each(|host| {
        let mut tree = host.spawn(shell("sleep 600")).unwrap();
        assert_eq!(tree.wait(Duration::from_millis(20)).unwrap(), None);
        tree.end(LONG);
        assert_eq!(tree.wait(Duration::ZERO).unwrap(), Some(Exit::Signal(15)));
    });
}

#[test]
fn the_environment_is_what_was_given_and_the_marker() {
    with_each(|host| {
        let mut launch = launch("/usr/bin/env", &[]);
        launch.env = vec![
            ("A".to_owned(), "1 = 2".to_owned()),
            ("CREWBOSS_SESSION".to_owned(), "ses_1".to_owned()),
        ];
        let id = format!("CREWBOSS_SESSION={}", launch.session);
        let marker = format!("CREWBOSS_MARK={}", host.mark(launch.session));
        let (out, _) = run(host, launch);
        let mut lines: Vec<&str> = out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["A=1 = 2", &marker, &id]);
    });
}

#[test]
fn the_program_sees_its_arguments_its_name_and_its_directory() {
    with_each(|host| {
        let mut launch = launch(
            "sh",
            &[
                "-c",
                "pwd; cat /proc/$$/cmdline | tr '\\0' '\\n'",
                "",
                "a b",
            ],
        );
        launch.directory = "/usr".into();
        let (out, _) = run(host, launch);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.first(), Some(&"/usr"));
        assert_eq!(lines.get(1..3), Some(&["sh", "-c"][..]));
        assert_eq!(lines.last(), Some(&"a b"));
    });
}

#[test]
fn the_leader_is_the_program_and_leads_its_group() {
    with_each(|host| {
        let mut tree = host
            .spawn(shell("cut -d' ' -f5 /proc/$$/stat; exec sleep 600"))
            .unwrap();
        let pid = tree.leader().pid;
        assert_eq!(host.identify(pid).as_ref(), Some(tree.leader()));
        let mut out = tree.take_stdout().unwrap();
        let mut group = [0; 32];
        let count = out.read(&mut group).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&group[..count]).trim(),
            pid.to_string()
        );
        tree.end(LONG);
    });
}

#[test]
fn no_descriptor_of_ours_reaches_the_program() {
    let list = ["-c", "exec ls /proc/self/fd"];
    // What was left open by whoever started the tests, and what `ls` itself opens.
    let inherited = Command::new("sh")
        .args(list)
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .stdout;
    with_each(|host| {
        let _open = fs::File::open("/etc/hostname").unwrap();
        let (out, _) = run(host, launch("sh", &list));
        assert_eq!(out, String::from_utf8_lossy(&inherited));
    });
}

#[test]
fn empty_stdin_is_its_end() {
    with_each(|host| assert_eq!(run(host, shell("cat; echo done")).0, "done\n"));
}

#[test]
fn stdin_of_any_size_arrives_and_ends() {
    with_each(|host| {
        for size in [1, 65_536, 65_537, 10 << 20] {
            let mut launch = shell("wc -c");
            launch.stdin = vec![b'x'; size];
            assert_eq!(run(host, launch).0.trim(), size.to_string());
        }
    });
}

#[test]
fn a_program_that_never_reads_blocks_nobody() {
    with_each(|host| {
        let mut launch = shell("exec sleep 600");
        launch.stdin = vec![b'x'; 10 << 20];
        let start = Instant::now();
        let mut tree = host.spawn(launch).unwrap();
        tree.end(LONG);
        assert!(start.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn much_output_on_both_streams_arrives_whole() {
    with_each(|host| {
        let script = "head -c 20000000 /dev/zero & head -c 20000000 /dev/zero >&2; wait";
        let mut tree = host.spawn(shell(script)).unwrap();
        let (out, err) = (read_all(tree.take_stdout()), read_all(tree.take_stderr()));
        assert!(tree.take_stdout().is_none());
        assert_eq!(tree.wait(LONG).unwrap(), Some(Exit::Code(0)));
        assert_eq!(
            (out.join().unwrap().len(), err.join().unwrap().len()),
            (20_000_000, 20_000_000)
        );
        tree.end(LONG);
    });
}

#[test]
fn what_cannot_be_executed_is_said_before_anything_ran() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("plain", "#!/bin/sh\n", 0o644);
    write("lost", "#!/no/such/interpreter\n", 0o755);
    fs::create_dir(folder.path().join("folder")).unwrap();
    with_each(|host| {
        for program in [
            "no-such-program",
            "",
            "./none",
            "./plain",
            "./lost",
            "./folder",
        ] {
            let mut launch = launch(program, &[]);
            launch.directory = folder.path().to_owned();
            let session = launch.session;
            let error = host.spawn(launch).unwrap_err();
            let SpawnError::NotExecutable { program: named, .. } = &error else {
                panic!("{program:?}: {error:?}");
            };
            assert_eq!(named, program);
            assert_eq!(host.members(session), []);
            host.end_session(session, Duration::ZERO);
        }
    });
}

#[test]
fn a_missing_directory_is_not_a_missing_program() {
    with_each(|host| {
        for directory in ["/no/such/folder", "/etc/hostname"] {
            let mut launch = shell("true");
            launch.directory = directory.into();
            let error = host.spawn(launch).unwrap_err();
            assert!(matches!(error, SpawnError::Failed { .. }), "{error:?}");
        }
    });
}

#[test]
fn arguments_beyond_the_limit_of_the_system_are_no_missing_program() {
    with_each(|host| {
        let long = "x".repeat(200_000);
        let error = host.spawn(launch("true", &[&long])).unwrap_err();
        assert!(matches!(error, SpawnError::Failed { .. }), "{error:?}");
    });
}

#[test]
fn the_path_of_the_given_environment_decides() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cat");
    fs::write(&file, "#!/bin/sh\necho ours\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    with_each(|host| {
        let mut launch = launch("cat", &[]);
        let path = format!("{}:/bin", folder.path().display());
        launch.env = vec![("PATH".to_owned(), path)];
        assert_eq!(run(host, launch).0, "ours\n");
    });
}

#[test]
fn many_trees_start_at_once() {
    with_each(|host| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        assert_eq!(run(host, shell("echo here")).0, "here\n");
                    }
                });
            }
        });
    });
    assert!(Path::new("/proc/self").exists());
}
