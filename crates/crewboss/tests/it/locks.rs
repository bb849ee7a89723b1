//! Locks among processes: order, ends, and what a command under a lock sees.

use std::{
    fs,
    process::Child,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    contract::locks::history::{Hold, check, jain_index},
    poll::poll_until,
};

use crate::place::Place;

const SOON: Duration = Duration::from_secs(30);

fn token(place: &Place, args: &[&str]) -> String {
    let args: Vec<&str> = ["lock", "acquire", "-q"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    place.run(&args).ok().out.trim().to_owned()
}

fn list(place: &Place) -> Vec<Value> {
    let listed = place.run(&["lock", "list", "--json"]).ok().json();
    listed["locks"].as_array().unwrap().clone()
}

/// Starts a command beside this test.
fn beside(place: &Place, args: &[&str]) -> Child {
    place.command(args).spawn().unwrap()
}

#[track_caller]
fn until_waiting(place: &Place, count: usize) {
    let waits = || {
        list(place)
            .iter()
            .filter(|lock| lock["state"] == "waiting")
            .count()
            == count
    };
    assert!(poll_until(SOON, waits), "{:#?}", list(place));
}

/// What a process beside this one printed, and how it ended.
fn ended(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn many_processes_take_their_turns() {
    const CLIENTS: usize = 8;
    const ROUNDS: usize = 4;
    let place = Place::folder();
    place.run(&["lock", "list"]).ok();
    token(&place, &["warm", "--ttl", "1s"]);
    let clock = AtomicU64::new(0);
    let holds = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (place, clock, holds) = (&place, &clock, &holds);
            scope.spawn(move || {
                let name = format!("client{client}");
                for _ in 0..ROUNDS {
                    let args = [
                        "lock", "acquire", "x", "--wait", "2m", "--json", "--holder", &name,
                    ];
                    let got = place.run(&args).ok().json();
                    let from = clock.fetch_add(1, Ordering::SeqCst);
                    let to = clock.fetch_add(1, Ordering::SeqCst);
                    let text = |field: &str| got[field].as_str().unwrap().to_owned();
                    holds.lock().unwrap().push(Hold {
                        id: text("id").parse().unwrap(),
                        token: text("token").parse().unwrap(),
                        holder: name.clone(),
                        resources: vec!["x".parse().unwrap()],
                        mode: domain_mode(&got),
                        priority: domain::task::Priority::DEFAULT,
                        from,
                        to,
                    });
                    place
                        .run(&["lock", "release", "x", "--token", &text("token")])
                        .ok();
                }
            });
        }
    });
    let holds = holds.into_inner().unwrap();
    assert_eq!(holds.len(), CLIENTS * ROUNDS);
    check(&holds, true).unwrap();
    let shares = [f64::from(u32::try_from(ROUNDS).unwrap()); CLIENTS];
    assert!(jain_index(&shares) >= 0.99);
    assert!(
        list(&place).iter().all(|lock| lock["resources"][0] != "x"),
        "nothing is left"
    );
}

fn domain_mode(got: &Value) -> domain::lock::Mode {
    serde_json::from_value(got["mode"].clone()).unwrap()
}

/// What is read and written under the lock is lost by nobody.
#[test]
fn commands_under_a_lock_do_not_meet() {
    let place = Place::folder();
    fs::write(place.project().join("count"), "0").unwrap();
    let add = "n=$(cat count); sleep 0.01; echo $((n + 1)) >count";
    let runs: Vec<Child> = (0..12)
        .map(|_| beside(&place, &["lock", "run", "count", "--", "sh", "-c", add]))
        .collect();
    for run in runs {
        let (code, _, err) = ended(run);
        assert_eq!(code, 0, "{err}");
    }
    assert_eq!(
        fs::read_to_string(place.project().join("count"))
            .unwrap()
            .trim(),
        "12"
    );
    assert_eq!(list(&place), Vec::<Value>::new());
}

#[test]
fn a_command_sees_its_token_and_its_end_is_passed_on() {
    let place = Place::folder();
    let script = "echo \"$CREWBOSS_LOCK_TOKEN $CREWBOSS_LOCK_HOLDER\"; exit 7";
    let ran = place.run(&[
        "lock", "run", "x", "--holder", "ada", "--", "sh", "-c", script,
    ]);
    assert_eq!(ran.code, 7, "{ran:#?}");
    let (token, holder) = ran.out.trim().split_once(' ').unwrap();
    assert!(token.parse::<u64>().is_ok() && holder == "ada", "{ran:#?}");
    let killed = place.run(&["lock", "run", "x", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.code, 128 + 9, "{killed:#?}");
    let missing = place.run(&["lock", "run", "x", "--", "no-such-program"]);
    assert_eq!(missing.code, 3, "{missing:#?}");
    assert_eq!(list(&place), Vec::<Value>::new(), "released each time");
    // Inside, the token lets a further command in.
    let inner = format!(
        "{} lock acquire x -q --token $CREWBOSS_LOCK_TOKEN",
        env!("CARGO_BIN_EXE_crewboss")
    );
    place
        .run(&["lock", "run", "x", "--", "sh", "-c", &inner])
        .ok();
}

#[test]
fn a_lock_that_is_taken_away_ends_its_command() {
    let place = Place::folder();
    let run = beside(&place, &["lock", "run", "x", "--", "sleep", "60"]);
    assert!(poll_until(SOON, || list(&place).len() == 1));
    let began = Instant::now();
    let taken = place.run(&["lock", "release", "x", "--force"]).ok();
    assert!(taken.out.contains("Released x of"), "{taken:#?}");
    let (code, _, err) = ended(run);
    assert_eq!(code, 4, "{err}");
    assert!(
        err.contains("the lock on x is lost") && err.contains("by force"),
        "{err}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let log = fs::read_to_string(place.project().join(".crewboss/project.jsonl")).unwrap();
    assert!(
        log.contains("lock.taken") && log.contains("\"by\":\"tester\""),
        "{log}"
    );
    let proof = place.run(&["audit", "verify"]).ok();
    assert!(!proof.out.contains("does not know"), "{proof:#?}");
    place.run(&["lock", "acquire", "x"]).ok();
}

#[test]
fn a_killed_holder_loses_its_lock_with_its_lease() {
    let place = Place::folder();
    let script = "echo $$ >pid; exec sleep 600";
    let args = ["lock", "run", "x", "--ttl", "2s", "--", "sh", "-c", script];
    let mut holder = beside(&place, &args);
    let pid = place.project().join("pid");
    let is_there = || fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'));
    assert!(poll_until(SOON, is_there));
    let waiter = beside(&place, &["lock", "acquire", "x", "--wait", "1m", "-q"]);
    until_waiting(&place, 1);
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(list(&place).len(), 2, "it was renewed");
    holder.kill().unwrap();
    holder.wait().unwrap();
    let began = Instant::now();
    let (code, _, err) = ended(waiter);
    assert_eq!(code, 0, "{err}");
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    let left = fs::read_to_string(&pid).unwrap();
    let left = rustix::process::Pid::from_raw(left.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_killed_waiter_is_in_nobodys_way() {
    let place = Place::folder();
    let held = token(&place, &["x", "--ttl", "5m"]);
    let mut first = beside(
        &place,
        &["lock", "acquire", "x", "--wait", "5m", "--ttl", "10m"],
    );
    until_waiting(&place, 1);
    let second = beside(&place, &["lock", "acquire", "x", "--wait", "5m", "-q"]);
    until_waiting(&place, 2);
    first.kill().unwrap();
    first.wait().unwrap();
    place.run(&["lock", "release", "--token", &held]).ok();
    let began = Instant::now();
    let (code, _, err) = ended(second);
    assert_eq!(code, 0, "{err}");
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_interrupted_waiter_leaves_the_queue_at_once() {
    let place = Place::folder();
    token(&place, &["x", "--ttl", "5m"]);
    let waiter = beside(&place, &["lock", "acquire", "x", "--wait", "5m"]);
    until_waiting(&place, 1);
    let pid = rustix::process::Pid::from_child(&waiter);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(ended(waiter).0, 130);
    until_waiting(&place, 0);
}

#[test]
fn three_processes_in_a_circle_are_told_within_a_second() {
    let place = Place::folder();
    for (name, what) in [("ada", "a"), ("bob", "b"), ("eve", "c")] {
        token(&place, &[what, "--holder", name, "--ttl", "5m"]);
    }
    let wait = |name: &str, what: &str| {
        beside(
            &place,
            &[
                "lock", "acquire", what, "--holder", name, "--wait", "1m", "-q",
            ],
        )
    };
    let ada = wait("ada", "b");
    until_waiting(&place, 1);
    let bob = wait("bob", "c");
    until_waiting(&place, 2);
    let began = Instant::now();
    let eve = place.run(&[
        "lock", "acquire", "a", "--holder", "eve", "--wait", "1m", "--json",
    ]);
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(eve.code, 4, "{eve:#?}");
    assert_eq!(eve.json()["code"], "deadlock");
    let circle = "eve waits for a of ada, ada waits for b of bob, bob waits for c of eve";
    assert!(eve.err.contains(circle), "{eve:#?}");
    // She steps back from what she holds, and the others go on.
    place.run(&["lock", "cleanup", "eve"]).ok();
    let (code, _, err) = ended(bob);
    assert_eq!(code, 0, "{err}");
    place.run(&["lock", "cleanup", "bob"]).ok();
    let (code, _, err) = ended(ada);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn what_a_session_holds_ends_with_it() {
    let place = Place::folder();
    let id = place.start(&["sleeper", "work"]);
    place.run(&["run"]).ok();
    place.until_at_work(&id);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    let session = shown["session"]["id"].as_str().unwrap().to_owned();
    let held = token(&place, &["src/", "--holder", &session, "--ttl", "10m"]);
    let busy = place.run(&["lock", "acquire", "src/main.rs"]);
    assert_eq!(busy.code, 4, "{busy:#?}");
    let waiter = beside(
        &place,
        &["lock", "acquire", "src/main.rs", "--wait", "1m", "-q"],
    );
    until_waiting(&place, 1);
    place.run(&["cancel", &id]).ok();
    let (code, _, err) = ended(waiter);
    assert_eq!(code, 0, "{err}");
    let late = place.run(&["lock", "renew", "--token", &held, "--json"]);
    assert_eq!(late.code, 4, "{late:#?}");
    assert_eq!(late.json()["code"], "lock_lost");
    assert!(late.err.contains("its session has ended"), "{late:#?}");
    let dead = place.run(&["lock", "acquire", "y", "--holder", &session, "--json"]);
    assert_eq!(
        (dead.code, dead.json()["code"].as_str()),
        (4, Some("fence_lost")),
        "{dead:#?}"
    );
    place.run(&["audit", "verify"]).ok();
}

#[test]
fn waiting_takes_nothing() {
    let place = Place::folder();
    place.run(&["lock", "wait", "x"]).ok();
    assert_eq!(list(&place), Vec::<Value>::new());
    let held = token(&place, &["x"]);
    let over = place.run(&["lock", "wait", "x", "--timeout", "1s", "--json"]);
    assert_eq!(
        (over.code, over.json()["code"].as_str()),
        (124, Some("timeout")),
        "{over:#?}"
    );
    let waiter = beside(&place, &["lock", "wait", "x", "--json"]);
    until_waiting(&place, 1);
    place.run(&["lock", "release", "--token", &held]).ok();
    let (code, out, err) = ended(waiter);
    assert_eq!(code, 0, "{err}");
    let document: Value = serde_json::from_str(&out).unwrap();
    assert!(document["waited_ms"].as_u64().is_some());
}

#[test]
fn bad_input_is_told_and_changes_nothing() {
    let place = Place::folder();
    let mine = token(&place, &["mine", "--holder", "ada"]);
    let yours = token(&place, &["yours", "--holder", "bob"]);
    let before = list(&place).len();
    for (args, code, said) in [
        (
            vec!["acquire", "x", "--ttl", "0"],
            2,
            "from 1 second to 24 hours",
        ),
        (
            vec!["acquire", "x", "--ttl", "7d"],
            2,
            "from 1 second to 24 hours",
        ),
        (vec!["acquire", "x", "--wait", "2d"], 2, "24 hours at most"),
        (
            vec!["acquire", "/etc"],
            2,
            "without a slash at the beginning",
        ),
        (vec!["acquire", "a/../b"], 2, "leads out"),
        (vec!["acquire", "x", "--holder", "a b"], 2, "without spaces"),
        (vec!["acquire", "x", "--priority", "11"], 2, "from 1 to 10"),
        (vec!["acquire", "x", "--holder", "ses_1"], 3, "not found"),
        (vec!["acquire", "x", "--token", "abc"], 2, "a token is"),
        (
            vec!["acquire", "mine"],
            4,
            "mine is locked by ada (exclusive)",
        ),
        (
            vec!["release", "mine", "--token", &yours],
            4,
            "is not yours: it is for yours of bob",
        ),
        (
            vec!["release", "--token", "77"],
            4,
            "no lock is held under token 77",
        ),
        (vec!["release", "nothing", "--force"], 3, "not found"),
        (
            vec!["renew", "--token", &mine, "--ttl", "0"],
            2,
            "from 1 second",
        ),
        (vec!["release"], 2, "required"),
        (vec!["run", "x"], 2, "required"),
    ] {
        let args: Vec<&str> = ["lock"].iter().copied().chain(args).collect();
        let ran = place.run(&args);
        assert_eq!(ran.code, code, "{args:?}: {ran:#?}");
        assert!(ran.err.contains(said), "{args:?}: {ran:#?}");
    }
    assert_eq!(list(&place).len(), before);
    place
        .run(&["lock", "release", "mine", "--token", &mine])
        .ok();
    let again = place.run(&["lock", "release", "mine", "--token", &mine]);
    assert_eq!(again.code, 4, "{again:#?}");
}

/// A daemon keeps the same locks; it may come and go in between.
#[test]
fn a_daemon_makes_no_difference() {
    let place = Place::folder();
    let held = token(&place, &["x", "--ttl", "5m"]);
    let mut daemon = beside(&place, &["daemon"]);
    let socket = place.home().join("crewboss/daemon.sock");
    assert!(poll_until(SOON, || socket.exists()));
    let waiter = beside(&place, &["lock", "acquire", "x", "--wait", "1m", "-q"]);
    until_waiting(&place, 1);
    let began = Instant::now();
    place.run(&["lock", "release", "--token", &held]).ok();
    let (code, out, err) = ended(waiter);
    assert_eq!(code, 0, "{err}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let pid = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    daemon.wait().unwrap();
    let next = out.trim();
    assert!(next.parse::<u64>().unwrap() > held.parse::<u64>().unwrap());
    place.run(&["lock", "release", "--token", next]).ok();
}
