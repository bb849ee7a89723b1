//! Locks on a real Redis: the contract of the port, and what becomes of locks when the server
//! forgets, pauses, restarts or dies.

mod contract;
mod faults;
mod refusals;
mod trips;

use std::sync::Arc;

use app::ports::{clock::Clock, locks::Locks};
use domain::time::{BootId, Moment, Now, Timestamp};
use lock_redis::{Address, RedisLocks};
use testkit::redis_server::RedisServer;

/// A client of a server.
fn client(server: &RedisServer) -> Arc<dyn Locks> {
    let address = Address::of_url(&server.url()).expect("an address");
    Arc::new(RedisLocks::new(address, "tests"))
}

/// The clock of a keeper.
#[derive(Debug)]
struct RealClock(std::time::Instant);

impl RealClock {
    #[expect(clippy::disallowed_methods, reason = "servers live in real time")]
    fn new() -> Arc<Self> {
        Arc::new(Self(std::time::Instant::now()))
    }
}

impl Clock for RealClock {
    fn now(&self) -> Now {
        let millis = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            wall: Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)),
            moment: Moment {
                boot: BootId("test".to_owned()),
                millis,
            },
        }
    }
}
