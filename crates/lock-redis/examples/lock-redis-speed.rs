//! How fast locks on Redis are, beside the server's own answer time and beside polling.
//!
//! `lock-redis-speed [SECONDS]` starts a server of its own and prints one line of JSON for each
//! measure; rounds interleave, and medians are printed.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "measures real time and prints what it measured"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use app::ports::locks::{Attempt, Locks};
use domain::lock::{Ask, Release};
use lock_redis::{Address, RedisLocks};
use testkit::{
    contract::locks::{history::jain_index, now, patiently},
    redis_server::RedisServer,
};

const ROUNDS: usize = 5;
const PAIRS: u32 = 2_000;
const CLIENTS: usize = 50;
const CROWD: usize = 200;

type Locking = Arc<dyn Locks>;

fn client(server: &RedisServer, namespace: &str) -> Locking {
    let address = Address::of_url(&server.url()).expect("an address");
    Arc::new(RedisLocks::new(address, namespace))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Microseconds for one.
fn each(count: u32, mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..count {
        work();
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn pair(locks: &Locking, ask: &Ask) {
    match locks.begin(ask).expect("an answer") {
        Attempt::Granted { grant } => {
            locks
                .release(&Release::of(grant.token))
                .expect("it is held");
        }
        Attempt::Queued { .. } => panic!("it is free"),
    }
}

/// Pairs a second of many threads, each with a resource of its own.
fn crowd(clients: &[Locking], for_long: Duration) -> f64 {
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for (n, locks) in clients.iter().enumerate() {
            let (stop, count) = (&stop, &count);
            scope.spawn(move || {
                let ask = now("ada", &format!("own/{n}"));
                while !stop.load(Ordering::Relaxed) {
                    pair(locks, &ask);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(for_long);
        stop.store(true, Ordering::Relaxed);
    });
    rate(count.into_inner(), for_long)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn rate(count: u64, for_long: Duration) -> f64 {
    count as f64 / for_long.as_secs_f64()
}

/// Handovers a second of one lock among many, and how often each had it.
fn handovers(
    clients: usize,
    for_long: Duration,
    turn: impl Fn(usize, &AtomicBool) -> bool + Sync,
) -> (f64, Vec<f64>) {
    let stop = AtomicBool::new(false);
    let counts: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|n| {
                let (stop, turn) = (&stop, &turn);
                scope.spawn(move || {
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        count += u64::from(turn(n, stop));
                    }
                    count
                })
            })
            .collect();
        thread::sleep(for_long);
        stop.store(true, Ordering::Relaxed);
        let ended = threads.into_iter().map(|one| one.join().expect("no error"));
        ended.collect()
    });
    let total = rate(counts.iter().sum(), for_long);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let shares = counts.iter().map(|count| *count as f64).collect();
    (total, shares)
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let for_long = Duration::from_secs_f64(seconds.unwrap_or(2.0));
    let server = RedisServer::start().expect("redis-server");
    let raw = redis::Client::open(server.url()).expect("a client");
    let mut raw = raw.get_connection().expect("a connection");
    let one = client(&server, "pairs");
    let (mut ping, mut pairs) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        ping.push(each(PAIRS, || {
            redis::cmd("PING").exec(&mut raw).expect("an answer");
        }));
        let ask = now("ada", "deploy");
        pairs.push(each(PAIRS, || pair(&one, &ask)));
    }
    let (ping, pairs) = (median(ping), median(pairs));
    println!(
        "{{\"case\":\"pair\",\"ping_us\":{ping:.1},\"pair_us\":{pairs:.1},\"ratio\":{:.2}}}",
        pairs / ping
    );

    let stats = server.ask("INFO commandstats").expect("an answer");
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha"));
    println!(
        "{{\"case\":\"script\",\"server_says\":\"{}\"}}",
        line.unwrap_or_default()
    );

    let (mut shared, mut own) = (vec![], vec![]);
    let together: Vec<Locking> = vec![client(&server, "crowd"); CLIENTS];
    let apart: Vec<Locking> = (0..CLIENTS).map(|_| client(&server, "crowd")).collect();
    for _ in 0..3 {
        shared.push(crowd(&together, for_long / 2));
        own.push(crowd(&apart, for_long / 2));
    }
    let (shared, own) = (median(shared), median(own));
    println!(
        "{{\"case\":\"crowd\",\"clients\":{CLIENTS},\"one_client_pairs_per_second\":{shared:.0},\
         \"own_connections\":{own:.0},\"ratio\":{:.2}}}",
        shared / own
    );

    for clients in [CLIENTS, CROWD] {
        let queue: Vec<Locking> = (0..clients).map(|_| client(&server, "queue")).collect();
        let (woken, shares) = handovers(clients, for_long * 2, |n, stop| {
            let ask = patiently(&format!("client{n}"), "one");
            let gone = || stop.load(Ordering::Relaxed);
            match queue[n].acquire(&ask, &gone) {
                Ok(grant) => {
                    queue[n]
                        .release(&Release::of(grant.token))
                        .expect("it is held");
                    !gone()
                }
                Err(_) if gone() => false,
                Err(error) => panic!("{error}"),
            }
        });
        let (polled, _) = handovers(clients, for_long, |n, stop| {
            let ask = now(&format!("client{n}"), "other");
            while !stop.load(Ordering::Relaxed) {
                if let Ok(Attempt::Granted { grant }) = queue[n].begin(&ask) {
                    queue[n]
                        .release(&Release::of(grant.token))
                        .expect("it is held");
                    return true;
                }
                thread::sleep(Duration::from_millis(1));
            }
            false
        });
        let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let most = shares.iter().copied().fold(0.0, f64::max);
        println!(
            "{{\"case\":\"queue\",\"clients\":{clients},\"handovers_per_second\":{woken:.0},\
             \"polling\":{polled:.0},\"ratio\":{:.1},\"least_per_most\":{:.2},\"jain\":{:.4}}}",
            woken / polled,
            least / most,
            jain_index(&shares)
        );
    }
}
