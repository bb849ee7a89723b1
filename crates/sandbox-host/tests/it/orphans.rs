//! What depends on being the only subreaper of the process: run in a process of its own.

use std::{fs, process::Command, time::Duration};

use app::ports::processes::{Ended, Processes};
use domain::process::Exit;

use crate::setting::{LONG, bare, shell, until};

const INNER: &str = "CREWBOSS_TEST_INNER";

/// Runs one test of this file alone in a child, so that others of this process cannot disturb.
fn alone(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INNER).is_some() {
        return test();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("orphans::{name}"), "--exact", "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn zombies() -> usize {
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("stat")).ok())
        .filter(|stat| stat.contains(&format!(") Z {own} ")))
        .count()
}

#[test]
fn an_orphan_that_hides_everything_is_the_sessions() {
    alone("an_orphan_that_hides_everything_is_the_sessions", || {
        let host = bare();
        host.become_subreaper().unwrap();
        let launch = shell("(env -i setsid sleep 600 >/dev/null 2>&1 &); echo up");
        let session = launch.session;
        let mut tree = host.spawn(launch).unwrap();
        assert!(tree.wait(LONG).unwrap().unwrap().is_success());
        assert_eq!(host.members(session).len(), 1);
        assert_eq!(
            tree.end(LONG),
            Ended {
                obeyed: 1,
                killed: 0,
                left: Vec::new()
            }
        );
        assert_eq!(zombies(), 0);
    });
}

#[test]
fn orphans_are_reaped_and_no_exit_is_stolen() {
    alone("orphans_are_reaped_and_no_exit_is_stolen", || {
        let host = bare();
        host.become_subreaper().unwrap();
        let script = "(setsid true &); (setsid true &); sleep 0.2; (setsid true &); exit 9";
        let mut tree = host.spawn(shell(script)).unwrap();
        let mut plain = Command::new("sh").args(["-c", "exit 5"]).spawn().unwrap();
        assert_eq!(tree.wait(LONG).unwrap(), Some(Exit::Code(9)));
        until("only the two that we wait for are left", || {
            host.spawn(shell("true")).unwrap().wait(LONG).unwrap();
            zombies() <= 2
        });
        assert_eq!(plain.wait().unwrap().code(), Some(5));
        assert_eq!(tree.wait(Duration::ZERO).unwrap(), Some(Exit::Code(9)));
        tree.end(LONG);
        assert_eq!(zombies(), 0);
    });
}

#[test]
fn a_child_in_our_own_group_is_no_orphan() {
    alone("a_child_in_our_own_group_is_no_orphan", || {
        let host = bare();
        host.become_subreaper().unwrap();
        let mut plain = Command::new("sleep").arg("600").spawn().unwrap();
        let mut tree = host.spawn(shell("sleep 600")).unwrap();
        tree.end(LONG);
        assert!(plain.try_wait().unwrap().is_none());
        plain.kill().unwrap();
        plain.wait().unwrap();
    });
}
