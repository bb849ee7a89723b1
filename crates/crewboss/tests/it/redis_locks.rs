//! Locks that a Redis keeps, named by the environment.

use std::{fs, process::Child, time::Duration};

use testkit::{poll::poll_until, redis_server::RedisServer};

use crate::place::Place;

const SOON: Duration = Duration::from_secs(30);

fn place(server: &RedisServer) -> Place {
    let mut place = Place::folder();
    place.set("REDIS_URL", &server.url());
    place
}

fn held(place: &Place) -> usize {
    let listed = place.run(&["lock", "list", "--json"]).ok().json();
    listed["locks"].as_array().unwrap().len()
}

fn beside(place: &Place, args: &[&str]) -> Child {
    place.command(args).spawn().unwrap()
}

fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[test]
fn a_lock_is_taken_refused_shown_and_released() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let place = place(&server);
    let taken = place
        .run(&["lock", "acquire", "src/", "--holder", "ada", "--json"])
        .ok()
        .json();
    assert!(server.ask("DBSIZE").unwrap().trim() != ":0", "Redis has it");
    let refused = place.run(&["lock", "acquire", "src/x", "--holder", "bob", "--json"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.err.contains("locked by ada"), "{refused:#?}");
    assert_eq!(held(&place), 1);
    let stats = place.run(&["lock", "stats", "--json"]).ok().json();
    assert_eq!(
        (&stats["held"], &stats["waiting"]),
        (&1.into(), &0.into()),
        "{stats:#}"
    );
    let token = taken["token"].as_str().unwrap();
    place
        .run(&["lock", "release", "src/", "--token", token])
        .ok();
    let late = place.run(&["lock", "release", "src/", "--token", token]);
    assert_eq!(late.code, 4, "{late:#?}");
    assert_eq!(held(&place), 0);
    // Without the variable the store has locks of its own.
    let mut alone = Place::folder();
    alone.set("REDIS_URL", "");
    alone
        .run(&["lock", "acquire", "src/", "--holder", "bob"])
        .ok();
    assert_eq!(held(&place), 0);
}

#[test]
fn commands_under_a_lock_do_not_meet() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let place = place(&server);
    fs::write(place.project().join("count"), "0").unwrap();
    place.run(&["lock", "list"]).ok();
    let add = "n=$(cat count); sleep 0.01; echo $((n + 1)) >count";
    let runs: Vec<Child> = (0..12)
        .map(|_| beside(&place, &["lock", "run", "count", "--", "sh", "-c", add]))
        .collect();
    for run in runs {
        let (code, err) = ended(run);
        assert_eq!(code, Some(0), "{err}");
    }
    let count = fs::read_to_string(place.project().join("count")).unwrap();
    assert_eq!(count.trim(), "12");
    assert_eq!(held(&place), 0);
}

/// The next one gets it as soon as the lease of the one that died has ended.
#[test]
fn a_holder_that_is_killed_leaves_its_lock_to_its_lease() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let place = place(&server);
    let mut run = beside(
        &place,
        &["lock", "run", "x", "--ttl", "2s", "--", "sleep", "60"],
    );
    assert!(poll_until(SOON, || held(&place) == 1));
    run.kill().unwrap();
    drop(run.wait());
    place
        .run(&["lock", "acquire", "x", "--holder", "bob", "--wait", "20s"])
        .ok();
}

#[test]
fn a_server_that_dies_ends_the_command_under_the_lock() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let place = place(&server);
    let run = beside(
        &place,
        &["lock", "run", "x", "--ttl", "3s", "--", "sleep", "60"],
    );
    assert!(poll_until(SOON, || held(&place) == 1));
    server.kill();
    let (code, err) = ended(run);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("the lock on x is lost"), "{err}");
    let away = place.run(&["lock", "acquire", "x", "--json"]);
    assert_eq!(
        (away.code, &away.json()["code"]),
        (5, &"unavailable".into())
    );
    server.run();
    place.run(&["lock", "acquire", "x"]).ok();
}

#[test]
fn nothing_that_is_said_holds_a_credential() {
    let Some(server) = RedisServer::with_password("s3cret-of-the-server") else {
        return;
    };
    let socket = server.socket().display().to_string();
    let acquire = |variables: &[(&str, &str)]| {
        let mut place = Place::folder();
        for (name, value) in variables {
            place.set(name, value);
        }
        let ran = place.run(&["lock", "acquire", "x", "--debug"]);
        assert!(
            !ran.err.contains("s3cret") && !ran.out.contains("s3cret"),
            "{ran:#?}"
        );
        ran
    };
    let by_parts = |password| acquire(&[("REDIS_HOST", &socket), ("REDIS_PASSWORD", password)]);
    by_parts("s3cret-of-the-server").ok();
    let wrong = by_parts("s3cret-but-wrong");
    assert_eq!(wrong.code, 5, "{wrong:#?}");
    assert!(wrong.err.contains("refuses the password"), "{wrong:#?}");
    let bad = acquire(&[("REDIS_URL", "http://ada:s3cret@example.org")]);
    assert_eq!(bad.code, 2, "{bad:#?}");
    let encrypted = acquire(&[("REDIS_URL", "rediss://ada:s3cret@example.org")]);
    assert_eq!(encrypted.code, 2, "{encrypted:#?}");
    let port = acquire(&[("REDIS_HOST", "example.org"), ("REDIS_PORT", "s3cret")]);
    assert_eq!(port.code, 2, "{port:#?}");
    let nobody = acquire(&[("REDIS_URL", "redis://ada:s3cret@127.0.0.1:1/0")]);
    assert_eq!(nobody.code, 5, "{nobody:#?}");
}
