//! Many at once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use app::ports::locks::Locks;
use domain::lock::Ask;

use super::{
    LockSubject, MakeLocks, Shortly as _, batch,
    history::{Hold, check, jain_index},
    holder, important, now, patiently, shared,
};

const CLIENTS: usize = 12;
const ROUNDS: usize = 6;

/// Lets clients take and release what `asks` says, and holds the history against the rules.
fn run(subject: &dyn LockSubject, asks: &(dyn Fn(usize, usize) -> Ask + Sync)) -> Vec<Hold> {
    let clock = AtomicU64::new(0);
    let holds = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let locks: Arc<dyn Locks> = if client % 2 == 0 {
                subject.locks()
            } else {
                subject.another()
            };
            let (clock, holds) = (&clock, &holds);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let ask = asks(client, round);
                    let grant = locks.acquire(&ask, &|| false).expect("its turn comes");
                    let from = clock.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    let to = clock.fetch_add(1, Ordering::SeqCst);
                    holds.lock().expect("a list").push(Hold {
                        id: grant.id,
                        token: grant.token,
                        holder: grant.holder.to_string(),
                        resources: grant.resources.clone(),
                        mode: grant.mode,
                        priority: ask.priority,
                        from,
                        to,
                    });
                    locks.give_back(&grant);
                }
            });
        }
    });
    let holds = holds.into_inner().expect("a list");
    assert_eq!(holds.len(), CLIENTS * ROUNDS);
    if let Err(wrong) = check(&holds, true) {
        panic!("{wrong}");
    }
    let numbers = subject.locks().statistics().expect("numbers");
    assert_eq!((numbers.held, numbers.waiting), (0, 0), "nothing is left");
    assert_eq!(numbers.totals.granted, (CLIENTS * ROUNDS) as u64);
    holds
}

fn client(number: usize) -> String {
    format!("client{number}")
}

/// One at a time, each in its turn.
pub fn many_clients_one_lock(make: MakeLocks) {
    let subject = make();
    let holds = run(&*subject, &|number, _| patiently(&client(number), "x"));
    let share = |number| {
        let name = client(number);
        let own = holds.iter().filter(|hold| hold.holder == name).count();
        f64::from(u32::try_from(own).expect("few"))
    };
    let shares: Vec<f64> = (0..CLIENTS).map(share).collect();
    assert!(jain_index(&shares) >= 0.99);
}

/// Sharers beside each other, with priorities.
pub fn many_clients_some_share(make: MakeLocks) {
    let subject = make();
    run(&*subject, &|number, round| {
        let ask = patiently(&client(number), "x");
        let ask = important(ask, if number % 4 == 0 { 8 } else { 5 });
        if (number + round) % 3 == 0 {
            ask
        } else {
            shared(ask)
        }
    });
}

/// Over one another's things, without ever a deadlock.
pub fn many_clients_with_batches_and_paths(make: MakeLocks) {
    let subject = make();
    run(&*subject, &|number, round| {
        let (a, b) = (
            format!("src/{}", number % 3),
            format!("src/{}", (round + 1) % 3),
        );
        match (number + round) % 3 {
            0 => batch(&client(number), &[&a, &b, "docs"]),
            1 => patiently(&client(number), "src/"),
            _ => shared(batch(&client(number), &[&b, &a])),
        }
    });
}

/// A waiter hears of its turn without waiting for its next look, within one client.
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
pub fn nobody_is_told_late(make: MakeLocks) {
    let subject = make();
    let (one, other) = (subject.locks(), subject.another());
    let held = one.take(&now("ada", "x"));
    let ticket = other.queue(&Ask {
        holder: holder("bob"),
        ..patiently("bob", "x")
    });
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let attempt = other.wait(ticket.id, Duration::from_secs(4));
            (attempt, Instant::now())
        });
        thread::sleep(Duration::from_millis(300));
        let released = Instant::now();
        one.give_back(&held);
        let (attempt, told) = waiter.join().expect("it ends");
        assert!(
            matches!(attempt, Ok(app::ports::locks::Attempt::Granted { .. })),
            "{attempt:?}"
        );
        let late = told.saturating_duration_since(released);
        assert!(late < Duration::from_millis(500), "told after {late:?}");
    });
}
