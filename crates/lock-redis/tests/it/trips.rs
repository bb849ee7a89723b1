//! How much is said to the server.

use domain::lock::Release;
use testkit::{
    contract::locks::{Shortly as _, now},
    redis_server::RedisServer,
};

use crate::client;

/// How often a command was run since the numbers began anew.
fn calls(stats: &str, command: &str) -> u64 {
    let line = stats
        .lines()
        .find(|line| line.starts_with(&format!("cmdstat_{command}:")));
    let number = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn one_round_trip_for_each_operation() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let locks = client(&server);
    // The first call finds no script, and brings it along.
    let first = locks.take(&now("ada", "src/api/x"));
    locks.give_back(&first);
    server.ask("CONFIG RESETSTAT").unwrap();
    let grant = locks.take(&now("ada", "src/api/x"));
    locks.renew(grant.token, None).expect("it is held");
    locks.check(grant.token).expect("it is held");
    locks
        .release(&Release::of(grant.token))
        .expect("it is held");
    let stats = server.ask("INFO commandstats").unwrap();
    assert_eq!(calls(&stats, "evalsha"), 4, "{stats}");
    for other in ["eval", "ping", "script|load", "auth", "select"] {
        assert_eq!(calls(&stats, other), 0, "{other}: {stats}");
    }
}

#[test]
fn a_server_that_has_forgotten_the_script_gets_it_again() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let locks = client(&server);
    let grant = locks.take(&now("ada", "deploy"));
    server.ask("SCRIPT FLUSH").unwrap();
    assert!(locks.renew(grant.token, None).is_ok());
    locks.give_back(&grant);
}

/// Nothing is left of locks that were given back.
#[test]
fn what_is_over_leaves_no_keys_but_numbers() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let locks = client(&server);
    for n in 0..20 {
        let grant = locks.take(&now("ada", &format!("src/{n}/")));
        locks.give_back(&grant);
    }
    let size = server.ask("DBSIZE").unwrap();
    assert_eq!(size, ":2\r\n", "the last number, and the totals");
}
