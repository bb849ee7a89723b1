//! A server that forgets, pauses, restarts or dies. Exclusion may be lost with it; tokens rise all
//! the same, and every holder learns of its loss with its next renewal.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use app::{
    error::Error,
    locks::{Keeper, Lost},
    ports::locks::{Attempt, Grant, LockFilter, Locks},
};
use domain::lock::{Ask, LockRefused};
use testkit::{
    contract::locks::{Shortly as _, now, patiently, why},
    poll::poll_until,
    redis_server::RedisServer,
};

use crate::{RealClock, client};

/// The lease of who is kept here: renewed within a second.
const TTL: u64 = 3_000;

/// A little more than that, and than the patience with a server.
const SOON: Duration = Duration::from_secs(5);

fn short(ask: Ask) -> Ask {
    Ask {
        ttl_millis: TTL,
        ..ask
    }
}

/// Keeps a lock; what is lost is told.
fn kept(locks: &Arc<dyn Locks>, grant: &Grant) -> (Keeper, mpsc::Receiver<Lost>) {
    let (told, hears) = mpsc::channel();
    let on_lost = Box::new(move |lost| drop(told.send(lost)));
    let keeper = Keeper::start(Arc::clone(locks), RealClock::new(), grant, on_lost);
    (keeper.expect("a thread"), hears)
}

#[track_caller]
fn not_held(lost: &Lost) {
    match lost {
        Lost::Ended(Error::Lock {
            refused: LockRefused::NotHeld { .. },
        })
        | Lost::Unreachable(Error::Unavailable { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Whatever happened to the server: the holder is told, and who comes next has a higher token.
fn holders_learn_of(happens: impl FnOnce(&mut RedisServer)) {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let (one, other) = (client(&server), client(&server));
    let grant = one.take(&short(now("ada", "deploy")));
    let (_keeper, hears) = kept(&one, &grant);
    happens(&mut server);
    let lost = hears.recv_timeout(SOON).expect("the holder is told");
    not_held(&lost);
    let mut next = None;
    assert!(poll_until(SOON, || {
        next = match other.begin(&now("bob", "deploy")) {
            Ok(Attempt::Granted { grant }) => Some(grant),
            _ => None,
        };
        next.is_some()
    }));
    let next = next.expect("a grant");
    assert!(next.token > grant.token, "{next:?} after {grant:?}");
    let refused = why(one.renew(grant.token, None));
    assert!(
        matches!(refused, LockRefused::NotHeld { .. }),
        "{refused:?}"
    );
    let refused = why(one.release(&domain::lock::Release::of(grant.token)));
    assert!(
        matches!(refused, LockRefused::NotHeld { .. }),
        "{refused:?}"
    );
    assert_eq!(other.check(next.token).expect("its own").token, next.token);
}

#[test]
fn a_flush() {
    holders_learn_of(|server| assert_eq!(server.ask("FLUSHALL").unwrap(), "+OK\r\n"));
}

#[test]
fn a_restart() {
    holders_learn_of(|server| {
        drop(server.ask("SHUTDOWN NOSAVE"));
        server.kill();
        server.run();
    });
}

#[test]
fn a_crash() {
    holders_learn_of(|server| {
        server.kill();
        server.run();
    });
}

#[test]
fn a_server_that_is_away_for_longer_than_a_lease() {
    holders_learn_of(|server| {
        server.kill();
        thread::sleep(Duration::from_millis(TTL + 500));
        server.run();
    });
}

#[test]
fn a_server_that_stands_still_for_longer_than_a_lease() {
    holders_learn_of(|server| {
        server.freeze(true);
        thread::sleep(Duration::from_millis(TTL + 500));
        server.freeze(false);
    });
}

/// What the server carries out too late is carried out not at all: nobody would know of the lock.
#[test]
fn a_request_that_was_given_up_grants_nothing_later() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let (one, other) = (client(&server), client(&server));
    let first = one.take(&now("ada", "deploy"));
    one.give_back(&first);
    server.ask("CLIENT PAUSE 3500 ALL").unwrap();
    let refused = one.begin(&now("ada", "deploy"));
    match &refused {
        Err(Error::Unavailable { message }) => {
            assert!(message.contains("does not answer in time"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(poll_until(SOON, || server.ask("PING").is_ok()));
    let mut held = None;
    assert!(poll_until(SOON, || {
        held = other.status(&LockFilter::default()).ok();
        held.is_some()
    }));
    assert_eq!(held.expect("a look"), []);
    let next = other.take(&now("bob", "deploy"));
    assert!(next.token > first.token);
}

/// A pause that is shorter than the lease costs nobody his lock.
#[test]
fn a_short_pause_is_outlived() {
    let Some(server) = RedisServer::start() else {
        return;
    };
    let one = client(&server);
    let grant = one.take(&now("ada", "deploy"));
    let (_keeper, hears) = kept(&one, &grant);
    server.ask("CLIENT PAUSE 1000 ALL").unwrap();
    thread::sleep(Duration::from_millis(1_500));
    assert!(hears.try_recv().is_err());
    assert_eq!(
        one.renew(grant.token, None).expect("it is held").token,
        grant.token
    );
}

/// A waiter whose server has forgotten it is told so, and may ask again.
#[test]
fn a_waiter_outlives_a_restart() {
    let Some(mut server) = RedisServer::start() else {
        return;
    };
    let (one, other) = (client(&server), client(&server));
    let grant = one.take(&now("ada", "deploy"));
    let waits = thread::spawn(move || {
        let first = other.acquire(&patiently("bob", "deploy"), &|| false);
        (first, other)
    });
    assert!(poll_until(SOON, || one
        .statistics()
        .is_ok_and(|numbers| numbers.waiting == 1)));
    server.kill();
    server.run();
    let (answer, other) = waits.join().expect("no panic");
    assert!(answer.is_err(), "{answer:?}");
    assert!(poll_until(SOON, || {
        match other.begin(&now("bob", "deploy")) {
            Ok(Attempt::Granted { grant: next }) => next.token > grant.token,
            _ => false,
        }
    }));
}
