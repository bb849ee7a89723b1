//! Servers that cannot be used: each is said in time, and no secret with it.

#![expect(
    clippy::disallowed_methods,
    reason = "how long a refusal takes is measured"
)]

use std::{
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use app::{error::Error, ports::store::Store as _, query::Query};
use store_postgres::{PostgresStore, Target, Time, Upgrade};
use testkit::{
    contract::clock::ManualClock,
    postgres::{Durability, Server, in_schema},
};

const SECRET: &str = "hunter2";

fn open(url: &str) -> Result<PostgresStore, Error> {
    let clock = Arc::new(ManualClock::default());
    PostgresStore::open(Target::parse(url)?, Time::Given(clock), Upgrade::ByItself)
}

/// What is said of a store that cannot be opened, within its time.
fn refusal(url: &str) -> String {
    let began = Instant::now();
    let error = open(url).expect_err("it cannot be used");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}: {error}");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(!said.contains(SECRET), "{said}");
    error.to_string()
}

#[test]
fn nobody_there_and_nobody_answering_are_said_in_time() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let url = format!("postgres://ada:{SECRET}@127.0.0.1:{port}/work");
    // The system accepts for it, and nobody ever answers.
    assert!(refusal(&url).contains("no answer within 2 s"));
    drop(free);
    assert!(refusal(&url).contains("cannot be reached"));
    let url = format!("postgres://ada:{SECRET}@/work?host=/nowhere");
    assert!(refusal(&url).contains("cannot be reached"));
}

#[test]
fn what_the_server_refuses_is_said() {
    let Some(mut server) = Server::start(Durability::None) else {
        return;
    };
    server.psql(&format!("CREATE ROLE ada LOGIN PASSWORD '{SECRET}-right'"));
    server.psql("CREATE ROLE eve LOGIN");
    let socket = server.folder().display().to_string();
    let with =
        |user: &str, database: &str| format!("postgres://{user}@:5432/{database}?host={socket}");
    assert!(refusal(&with("eve", "nothing")).contains("CREATE DATABASE"));
    let said = refusal(&with("eve", "postgres"));
    assert!(said.contains("lacks a privilege"), "{said}");

    let file = server.folder().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("local all ada scram-sha-256\n{rules}")).unwrap();
    server.psql("SELECT pg_reload_conf()");
    let wrong = with(&format!("ada:{SECRET}"), "postgres");
    let said = testkit::poll::poll_until(Duration::from_secs(10), || {
        refusal(&wrong).contains("refused the user ada")
    });
    assert!(said);
    server.psql("GRANT CREATE ON DATABASE postgres TO ada");
    drop(open(&with(&format!("ada:{SECRET}-right"), "postgres")).expect("it is right"));

    server.psql("ALTER ROLE eve CONNECTION LIMIT 0");
    assert!(refusal(&with("eve", "postgres")).contains("has no connection left"));

    let newer = in_schema(&server.url(), "newer");
    drop(open(&newer).expect("a store"));
    server.psql("UPDATE newer.store SET form = 1000");
    let said = refusal(&newer);
    assert!(said.contains("use a newer crewboss"), "{said}");

    let old = in_schema(&server.url(), "old");
    let target = Target::parse(&old).unwrap();
    let clock = Arc::new(ManualClock::default());
    let never = PostgresStore::open(target.clone(), Time::Given(clock), Upgrade::Never);
    assert!(
        never
            .unwrap_err()
            .to_string()
            .contains("store schema upgrade")
    );
    let status = PostgresStore::schema_status(&target).unwrap();
    assert_eq!((status.found, status.pending.is_empty()), (0, false));
    PostgresStore::upgrade(&target).unwrap();
    let status = PostgresStore::schema_status(&target).unwrap();
    assert_eq!((status.found, status.pending.len()), (status.known, 0));

    server.stop_in_order();
    assert!(refusal(&server.url()).contains("cannot be reached"));
}

#[test]
fn more_readers_than_connections_wait_and_are_told() {
    let Some(url) = testkit::postgres::store() else {
        return;
    };
    let store = open(&format!("{url}&connections=2")).unwrap();
    let inner = store.look(|_| {
        store.look(|_| {
            let began = Instant::now();
            let third = store.read(&Query::Projects).unwrap_err();
            assert!(third.to_string().contains("all 2 connections"), "{third}");
            assert!(began.elapsed() < Duration::from_secs(6));
            Ok(())
        })
    });
    inner.unwrap();
    store.read(&Query::Projects).unwrap();
}

#[test]
fn a_protected_connection_is_made_where_it_is_asked_for() {
    let Some(mut server) = Server::start(Durability::None) else {
        return;
    };
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .unwrap()
        .port();
    let url = |rest: &str| format!("postgres://postgres@localhost:{port}/postgres?{rest}");
    server.stop_in_order();
    server.listen_on(port);
    let Some(root) = server.protect("localhost") else {
        return;
    };
    server.start_again();
    let root = format!("sslrootcert={}", root.display());
    for rest in [
        "sslmode=disable".to_owned(),
        "sslmode=prefer".to_owned(),
        "sslmode=require".to_owned(),
        format!("sslmode=verify-ca&{root}"),
        format!("sslmode=verify-full&{root}"),
    ] {
        let store = open(&url(&rest)).unwrap_or_else(|error| panic!("{rest}: {error}"));
        drop(store);
    }
    let other = format!("postgres://postgres@127.0.0.1:{port}/postgres?");
    drop(open(&format!("{other}sslmode=verify-ca&{root}")).expect("a name is not asked for"));
    refusal(&format!("{other}sslmode=verify-full&{root}"));
    refusal(&url("sslmode=verify-full"));
}
