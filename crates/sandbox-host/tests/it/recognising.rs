use std::{process::Command, time::Duration};

use app::ports::processes::Processes;
use domain::{
    process::{Exit, ProcessIdentity},
    time::BootId,
};

use crate::setting::{LONG, bare, session, shell, until, with_each};

#[test]
fn another_start_or_another_boot_is_another_process() {
    with_each(|host| {
        let mut tree = host.spawn(shell("sleep 600")).unwrap();
        let leader = tree.leader().clone();
        assert!(host.is_alive(&leader));
        let later = ProcessIdentity {
            start_ticks: leader.start_ticks + 1,
            ..leader.clone()
        };
        let elsewhere = ProcessIdentity {
            boot: BootId("other".to_owned()),
            ..leader.clone()
        };
        assert!(!host.is_alive(&later));
        assert!(!host.is_alive(&elsewhere));
        assert_eq!(
            host.wait_any(&[later.clone(), leader.clone()], LONG),
            [later]
        );
        host.kill(&ProcessIdentity {
            start_ticks: leader.start_ticks + 1,
            ..leader.clone()
        });
        assert!(host.is_alive(&leader));
        host.kill(&leader);
        assert!(!host.is_alive(&leader));
        assert_eq!(tree.wait(Duration::ZERO).unwrap(), Some(Exit::Signal(9)));
        tree.end(LONG);
    });
}

#[test]
fn a_zombie_is_not_alive() {
    let host = bare();
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let identity = host.identify(child.id()).unwrap();
    child.kill().unwrap();
    assert_eq!(
        host.wait_any(std::slice::from_ref(&identity), LONG).len(),
        1
    );
    assert!(!host.is_alive(&identity));
    assert_eq!(host.identify(identity.pid), None);
    child.wait().unwrap();
}

#[test]
fn we_know_ourselves_and_are_never_a_member() {
    let host = bare();
    assert_eq!(host.identify(std::process::id()), Some(host.own_identity()));
    assert_eq!(host.identify(0), None);
    assert_eq!(host.identify(u32::MAX), None);
}

#[test]
fn waiting_for_any_returns_the_first_to_end() {
    with_each(|host| {
        let mut long = host.spawn(shell("sleep 600")).unwrap();
        let mut short = host.spawn(shell("sleep 0.05")).unwrap();
        let both = [long.leader().clone(), short.leader().clone()];
        assert_eq!(host.wait_any(&both, LONG), [short.leader().clone()]);
        assert_eq!(host.wait_any(&both[..1], Duration::from_millis(10)), []);
        assert_eq!(host.wait_any(&[], LONG), []);
        long.end(LONG);
        short.end(LONG);
    });
}

#[test]
fn one_whose_first_thread_has_ended_is_still_a_member() {
    // Needs a language whose main thread can end alone.
    if !Command::new("python3")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success())
    {
        return;
    }
    let program = "import ctypes, threading, time\n\
                   threading.Thread(target=time.sleep, args=(600,)).start()\n\
                   ctypes.CDLL(None).pthread_exit(None)\n";
    with_each(|host| {
        let mut launch = shell("(setsid python3 -c \"$1\" >/dev/null 2>&1 &)");
        launch.args.extend(["sh".to_owned(), program.to_owned()]);
        let session = launch.session;
        let mut tree = host.spawn(launch).unwrap();
        assert!(tree.wait(LONG).unwrap().unwrap().is_success());
        until("its first thread has ended", || {
            host.members(session).iter().any(|member| {
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", member.pid));
                stat.is_ok_and(|stat| stat.contains(") Z "))
            })
        });
        let ended = tree.end(LONG);
        assert_eq!(ended.left, []);
        assert_eq!(host.members(session), []);
    });
}

/// Tells a test that it runs in a pid namespace, and number, start and namespace of who runs it.
const TOLD: &str = "CREWBOSS_TEST_TOLD";

#[test]
fn a_process_of_another_pid_namespace_is_neither_dead_nor_ours() {
    let host = bare();
    if let Ok(told) = std::env::var(TOLD) {
        let [pid, start_ticks, namespace] = [0, 1, 2].map(|at| {
            let number = told.split(' ').nth(at).unwrap();
            number.parse::<u64>().unwrap()
        });
        let outside = ProcessIdentity {
            pid: pid.try_into().unwrap(),
            start_ticks,
            namespace: Some(namespace),
            ..host.own_identity()
        };
        assert!(host.is_out_of_sight(&outside));
        assert!(!host.is_alive(&outside));
        let namesake = ProcessIdentity {
            namespace: Some(namespace),
            ..host.own_identity()
        };
        assert!(host.is_alive(&host.own_identity()) && !host.is_alive(&namesake));
        return;
    }
    let own = host.own_identity();
    assert!(!host.is_out_of_sight(&own));
    let name = "recognising::a_process_of_another_pid_namespace_is_neither_dead_nor_ours";
    let namespace = own.namespace.unwrap();
    run_in_a_pid_namespace(
        name,
        &format!("{} {} {namespace}", own.pid, own.start_ticks),
    );
}

/// Runs one test of this program in a pid namespace of its own, if such a one can be had.
fn run_in_a_pid_namespace(name: &str, told: &str) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let output = Command::new("unshare")
        .args(["-pfm", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(TOLD, told)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_group_that_was_made_outside_our_pid_namespace_is_no_trouble() {
    let name = "recognising::a_group_that_was_made_outside_our_pid_namespace_is_no_trouble";
    if std::env::var_os(TOLD).is_some() {
        let host = bare();
        host.become_subreaper().unwrap();
        let mut tree = host.spawn(shell("sleep 600")).unwrap();
        assert_eq!(host.members(session()), []);
        tree.end(LONG);
        return;
    }
    run_in_a_pid_namespace(name, "");
}
