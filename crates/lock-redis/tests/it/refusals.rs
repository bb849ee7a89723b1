//! Servers that are not there, or do not let everybody in.

#![expect(
    clippy::disallowed_methods,
    reason = "how long a refusal takes is real time"
)]

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use app::{error::Error, ports::locks::Locks as _};
use lock_redis::{Address, RedisLocks};
use testkit::{contract::locks::now, redis_server::RedisServer};

/// The patience with a connection, and with its first answer.
const WITHIN: Duration = Duration::from_secs(5);

#[track_caller]
fn refused(address: Address) -> String {
    let locks = RedisLocks::new(address, "tests");
    let begun = Instant::now();
    match locks.begin(&now("ada", "deploy")) {
        Err(Error::Unavailable { message }) => {
            assert!(begun.elapsed() < WITHIN, "{message}");
            assert!(!message.contains("s3cret"), "{message}");
            message
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_there() {
    let folder = tempfile_path();
    let message = refused(Address::of_parts(&folder, None, None, Some("s3cret"), None));
    assert!(message.contains("cannot be used"), "{message}");
}

fn tempfile_path() -> String {
    format!("/tmp/crewboss-no-redis-{}.sock", std::process::id())
}

#[test]
fn somebody_is_there_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let address = Address::of_parts("127.0.0.1", Some(port), None, Some("s3cret"), None);
    let message = refused(address);
    assert!(message.contains("does not answer in time"), "{message}");
}

#[test]
fn a_password_is_wanted() {
    let Some(server) = RedisServer::with_password("s3cret-of-the-server") else {
        return;
    };
    let socket = server.socket().display().to_string();
    let with = |password| Address::of_parts(&socket, None, None, password, None);
    let message = refused(with(None));
    assert!(message.contains("wants a password"), "{message}");
    let message = refused(with(Some("s3cret-but-wrong")));
    assert!(message.contains("refuses the password"), "{message}");
    let locks = RedisLocks::new(with(Some("s3cret-of-the-server")), "tests");
    assert!(locks.begin(&now("ada", "deploy")).is_ok());
}
