use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use app::ports::processes::{Containment, Ended, Processes};
use domain::process::Exit;

use crate::setting::{LONG, bare, grouped, read_until, run, shell, until, with_each};

const SHORT: Duration = Duration::from_millis(200);

/// A script that starts `inner` in a session of its own, with the starter gone.
fn double_forked(inner: &str) -> String {
    format!("(setsid sh -c '{inner}' >/dev/null 2>&1 &)")
}

#[test]
fn an_obedient_tree_is_gone_at_once() {
    with_each(|host| {
        let mut fastest = LONG;
        for _ in 0..5 {
            let mut tree = host
                .spawn(shell("sleep 600 & sleep 600 & echo up; wait"))
                .unwrap();
            read_until(tree.as_mut(), "up");
            let session = session_of(host, tree.leader().pid);
            let start = Instant::now();
            let ended = tree.end(LONG);
            fastest = fastest.min(start.elapsed());
            assert_eq!(
                ended,
                Ended {
                    obeyed: 3,
                    killed: 0,
                    left: Vec::new()
                }
            );
            assert_eq!(tree.wait(Duration::ZERO).unwrap(), Some(Exit::Signal(15)));
            assert!(
                !session.is_some_and(|group| group.exists()),
                "the group is removed"
            );
        }
        // On an idle machine it takes a few milliseconds; other tests and builds may run here.
        assert!(fastest < Duration::from_secs(2), "{fastest:?}");
    });
}

/// The folder of the control group that a process is in, if it is one of ours.
fn session_of(host: &dyn Processes, pid: u32) -> Option<PathBuf> {
    if host.containment() == Containment::Marker {
        return None;
    }
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap();
    assert!(path.contains("crewboss/ses_"), "{path}");
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    let found = roots
        .iter()
        .map(|root| Path::new(root).join(path))
        .find(|dir| dir.is_dir());
    Some(found.unwrap())
}

#[test]
fn who_ignores_term_and_double_forks_leaves_nobody() {
    let stubborn = double_forked("trap \"\" TERM; while :; do sleep 1; done");
    let script =
        format!("trap '' TERM; {stubborn}; {stubborn}; echo up; while :; do sleep 1; done");
    with_each(|host| {
        let launch = shell(&script);
        let session = launch.session;
        let mut tree = host.spawn(launch).unwrap();
        read_until(tree.as_mut(), "up");
        until("both are there", || host.members(session).len() >= 3);
        let ended = tree.end(SHORT);
        assert_eq!(ended.left, []);
        assert!(ended.killed >= 3, "{ended:?}");
        assert_eq!(host.members(session), []);
        assert_eq!(tree.wait(Duration::ZERO).unwrap(), Some(Exit::Signal(9)));
    });
}

#[test]
fn who_forks_on_being_asked_to_end_is_caught() {
    let successor = double_forked("trap \"\" TERM; while :; do sleep 1; done");
    let script = format!(
        "trap '{}; exit 0' TERM; echo up; while :; do sleep 0.01; done",
        successor.replace('\'', "'\\''")
    );
    with_each(|host| {
        let launch = shell(&script);
        let session = launch.session;
        let mut tree = host.spawn(launch).unwrap();
        read_until(tree.as_mut(), "up");
        let ended = tree.end(SHORT);
        assert_eq!(ended.left, []);
        assert_eq!(host.members(session), []);
        assert!(ended.obeyed + ended.killed >= 2, "{ended:?}");
    });
}

#[test]
fn without_grace_everyone_is_killed() {
    with_each(|host| {
        let mut tree = host.spawn(shell("sleep 600 & echo up; wait")).unwrap();
        read_until(tree.as_mut(), "up");
        let ended = tree.end(Duration::ZERO);
        assert_eq!(
            ended,
            Ended {
                obeyed: 0,
                killed: 2,
                left: Vec::new()
            }
        );
    });
}

#[test]
fn who_is_stopped_ends_as_well() {
    with_each(|host| {
        let script = "trap '' TERM; (kill -STOP $$; :) & echo up; while :; do sleep 1; done";
        let launch = shell(script);
        let session = launch.session;
        let mut tree = host.spawn(launch).unwrap();
        let pid = tree.leader().pid;
        let is_stopped = || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .unwrap()
                .contains(") T ")
        };
        until("it is stopped", is_stopped);
        assert_eq!(tree.end(SHORT).left, []);
        assert_eq!(host.members(session), []);

        let mut tree = host.spawn(shell("kill -STOP $$; sleep 600")).unwrap();
        let pid = tree.leader().pid;
        until("it is stopped", || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .unwrap()
                .contains(") T ")
        });
        let ended = tree.end(LONG);
        assert_eq!(
            (ended.obeyed, ended.killed),
            (1, 0),
            "a stopped one can still obey"
        );
    });
}

#[test]
fn who_cleared_the_environment_is_found_in_the_group() {
    let Some(host) = grouped() else { return };
    let launch = shell("(env -i setsid sleep 600 >/dev/null 2>&1 &); echo up");
    let session = launch.session;
    let mut tree = host.spawn(launch).unwrap();
    assert!(tree.wait(LONG).unwrap().unwrap().is_success());
    let members = host.members(session);
    assert_eq!(members.len(), 1, "{members:?}");
    let ended = tree.end(LONG);
    assert_eq!(
        ended,
        Ended {
            obeyed: 1,
            killed: 0,
            left: Vec::new()
        }
    );
    assert!(!host.is_alive(&members[0]));
}

#[test]
fn who_cleared_the_environment_is_found_by_its_parent() {
    let host = bare();
    let launch = shell("env -i setsid sleep 600 & echo up; wait");
    let session = launch.session;
    let mut tree = host.spawn(launch).unwrap();
    read_until(tree.as_mut(), "up");
    until("the sleeper is there", || host.members(session).len() == 2);
    assert_eq!(tree.end(LONG).obeyed, 2);
}

#[test]
fn who_left_the_group_is_found_by_its_marker() {
    let Some(host) = grouped() else { return };
    let root = "/sys/fs/cgroup/unified";
    let root = if Path::new(root).is_dir() {
        root
    } else {
        "/sys/fs/cgroup"
    };
    let launch = shell(&format!(
        "(echo 0 > {root}/cgroup.procs; exec setsid sleep 600 >/dev/null 2>&1) & sleep 0.1; echo up"
    ));
    let session = launch.session;
    let mut tree = host.spawn(launch).unwrap();
    assert!(tree.wait(LONG).unwrap().unwrap().is_success());
    assert_eq!(host.members(session).len(), 1);
    assert_eq!(tree.end(LONG).left, []);
    assert_eq!(host.members(session), []);
}

#[test]
fn groups_that_an_agent_made_are_removed() {
    let Some(host) = grouped() else { return };
    let launch = shell("echo up; while :; do sleep 1; done");
    let mut tree = host.spawn(launch).unwrap();
    let group = session_of(&host, tree.leader().pid).unwrap();
    let inner = group.join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("cgroup.procs"), tree.leader().pid.to_string()).unwrap();
    assert_eq!(tree.end(LONG).left, []);
    assert!(!group.exists());
}

/// A script that moves on to a new process in a session of its own every `pause` seconds, and notes
/// each move in `moves`. It stops by itself after ten thousand moves, or when the folder is gone.
fn hopper(folder: &Path, pause: &str) -> String {
    format!(
        "trap '' TERM; cd {}; \
         export F='{pause} test -e \"$PWD/moves\" && test $1 -lt 10000 || exit; \
         echo $1 >>moves; setsid sh -c \"$F\" sh $(($1+1)) & exit'; \
         : >moves; setsid sh -c \"$F\" sh 1 >/dev/null 2>&1 & echo up",
        folder.display()
    )
}

fn moves(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("moves")).unwrap_or_default();
    text.lines().count()
}

#[test]
fn who_keeps_moving_to_a_new_process_is_caught() {
    for pause in ["", "sleep 0.003;", "sleep 0.05;"] {
        with_each(|host| {
            let folder = tempfile::tempdir().unwrap();
            let launch = shell(&hopper(folder.path(), pause));
            let session = launch.session;
            let mut tree = host.spawn(launch).unwrap();
            assert!(tree.wait(LONG).unwrap().unwrap().is_success());
            until("it moves", || moves(folder.path()) > 3);
            let ended = tree.end(SHORT);
            assert_eq!(ended.left, []);
            assert_eq!(host.members(session), []);
            let before = moves(folder.path());
            std::thread::sleep(SHORT);
            assert_eq!(
                moves(folder.path()),
                before,
                "{pause:?} on {host:?} goes on"
            );
        });
    }
}

#[test]
fn hundreds_end_together() {
    with_each(|host| {
        let script = "i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i+1)); done; echo up; wait";
        let mut tree = host.spawn(shell(script)).unwrap();
        read_until(tree.as_mut(), "up");
        let ended = tree.end(LONG);
        assert_eq!(
            ended,
            Ended {
                obeyed: 301,
                killed: 0,
                left: Vec::new()
            }
        );
    });
}

#[test]
fn a_later_process_finds_and_ends_what_was_left() {
    with_each(|host| {
        let launch = shell(&format!("{}; echo up", double_forked("exec sleep 600")));
        let session = launch.session;
        let mut tree = host.spawn(launch).unwrap();
        assert!(tree.wait(LONG).unwrap().unwrap().is_success());
        drop(tree);
        let later = grouped().unwrap_or_else(bare);
        until("the sleeper is alone", || {
            later.members(session).iter().all(|member| {
                std::fs::read(format!("/proc/{}/cmdline", member.pid))
                    .is_ok_and(|line| line.starts_with(b"sleep"))
            })
        });
        assert!(!later.members(session).is_empty());
        assert_eq!(later.end_session(session, LONG).left, []);
        assert_eq!(host.members(session), []);
        assert_eq!(later.end_session(session, LONG), Ended::default());
    });
}

#[test]
fn another_session_is_left_alone() {
    with_each(|host| {
        let mut other = host.spawn(shell("sleep 600")).unwrap();
        let launch = shell("env CREWBOSS_MARK=ses_1x sleep 600 & echo up; wait");
        let mut tree = host.spawn(launch).unwrap();
        read_until(tree.as_mut(), "up");
        tree.end(LONG);
        assert!(host.is_alive(other.leader()));
        other.end(LONG);
        assert_eq!(run(host, shell("echo fine")).0, "fine\n");
    });
}
