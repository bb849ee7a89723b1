use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use app::ports::processes::{Processes, SESSION_MARKER, SpawnError};
use domain::process::ProcessIdentity;
use rustix::process::{Pid, Signal, getsid, kill_process};

use crate::setting::{LONG, grouped, launch, session, shim_program, until, with_each, with_shim};
use sandbox_host::CgroupRoot;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn pid(identity: &ProcessIdentity) -> Pid {
    Pid::from_raw(identity.pid.try_into().unwrap()).unwrap()
}

fn kill(identity: &ProcessIdentity) {
    kill_process(pid(identity), Signal::KILL).unwrap();
}

#[test]
fn output_goes_to_a_private_log_and_no_zombie_stays() {
    with_each(|host| {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, "before\n").unwrap();
        fs::remove_file(&log).unwrap();
        let env = [("A".to_owned(), "1".to_owned())];
        let args = words(&[
            "-c",
            "/usr/bin/env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=; echo err >&2; cat",
        ]);
        for _ in 0..2 {
            let started = host
                .spawn_detached(Path::new("/bin/sh"), &args, &env, &log)
                .unwrap();
            assert_eq!(host.wait_any(std::slice::from_ref(&started), LONG).len(), 1);
            let entry = format!("/proc/{}", started.pid);
            until("it is reaped", || !Path::new(&entry).exists());
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), "A=1\nerr\nA=1\nerr\n");
        assert_eq!(
            fs::metadata(&log).unwrap().permissions().mode() & 0o777,
            0o600
        );
    });
}

#[test]
fn the_shim_makes_it_leader_of_a_session() {
    let host = with_shim(CgroupRoot::Detect);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let sleep = host
        .spawn_detached(Path::new("/bin/sleep"), &words(&["600"]), &[], &log)
        .unwrap();
    assert_eq!(getsid(Some(pid(&sleep))).unwrap(), pid(&sleep));
    kill(&sleep);
    assert_eq!(host.wait_any(&[sleep], LONG).len(), 1);
}

#[test]
fn a_missing_program_and_a_missing_log_folder_are_told_apart() {
    with_each(|host| {
        let none = host.spawn_detached(Path::new("/no/such"), &[], &[], Path::new("/dev/null"));
        assert!(
            matches!(none, Err(SpawnError::NotExecutable { .. })),
            "{none:?}"
        );
    });
}

#[test]
fn it_outlives_who_started_it() {
    // The parent is a shim: a program that can be ended without ending this test.
    let host = with_shim(CgroupRoot::Off);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let shim = shim_program();
    let script = "\"$0\" --setsid -- /bin/sh -c 'echo $$; exec sleep 600' & wait $!";
    let args = words(&["-c", script, shim.to_str().unwrap()]);
    let parent = host
        .spawn_detached(Path::new("/bin/sh"), &args, &[], &log)
        .unwrap();
    let read = || fs::read_to_string(&log).ok()?.trim().parse::<u32>().ok();
    until("the child wrote its number", || read().is_some());
    kill(&parent);
    assert_eq!(host.wait_any(&[parent], LONG).len(), 1);
    let child = host.identify(read().unwrap()).unwrap();
    assert!(host.is_alive(&child));
    kill(&child);
}

const LOG: &str = "CREWBOSS_TEST_LOG";

#[test]
fn it_outlives_the_session_in_which_it_was_started() {
    if let Some(log) = std::env::var_os(LOG) {
        let inner = with_shim(CgroupRoot::Detect);
        let env = [(SESSION_MARKER.to_owned(), inner.mark(session()))];
        let args = words(&["-c", "echo $$; exec sleep 600"]);
        inner
            .spawn_detached(Path::new("/bin/sh"), &args, &env, Path::new(&log))
            .unwrap();
        return;
    }
    let Some(host) = grouped() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let program = std::env::current_exe().unwrap();
    let name = "detached::it_outlives_the_session_in_which_it_was_started";
    let mut launch = launch(program.to_str().unwrap(), &[name, "--exact"]);
    let shown = log.to_str().unwrap().to_owned();
    launch.env.push((LOG.to_owned(), shown));
    let session = launch.session;
    let mut tree = host.spawn(launch).unwrap();
    assert!(tree.wait(LONG).unwrap().unwrap().is_success());
    let read = || fs::read_to_string(&log).ok()?.trim().parse::<u32>().ok();
    until("it wrote its number", || read().is_some());
    let sleep = host.identify(read().unwrap()).unwrap();
    assert_eq!(host.members(session), []);
    tree.end(Duration::ZERO);
    assert!(host.is_alive(&sleep));
    kill(&sleep);
}
