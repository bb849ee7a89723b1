//! The contract that every adapter keeps.

use std::{env, sync::Arc, thread, time::Duration};

use app::ports::locks::Locks;
use lock_redis::{Address, RedisLocks};
use testkit::{contract::locks::LockSubject, redis_server::RedisServer, requirements};

/// Locks in a namespace of their own, on a server of their own or on the one that is named.
#[derive(Debug)]
struct OnRedis {
    url: String,
    namespace: String,
    client: Arc<dyn Locks>,
    _server: Option<RedisServer>,
}

fn named() -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no configuration but its environment"
    )]
    env::var("REDIS_URL").ok().filter(|url| !url.is_empty())
}

fn ready() -> bool {
    named().is_some() || requirements::program("redis-server").is_some()
}

fn make() -> Box<dyn LockSubject> {
    let named = named();
    let server = match &named {
        Some(_) => None,
        None => RedisServer::start(),
    };
    let own = server.as_ref().map(RedisServer::url);
    let url = named.or(own).expect("a server");
    let unique = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let namespace = format!("test-{}", unique.trim());
    Box::new(OnRedis {
        client: connect(&url, &namespace),
        url,
        namespace,
        _server: server,
    })
}

fn connect(url: &str, namespace: &str) -> Arc<dyn Locks> {
    let address = Address::of_url(url).expect("an address");
    Arc::new(RedisLocks::new(address, namespace))
}

impl LockSubject for OnRedis {
    fn locks(&self) -> Arc<dyn Locks> {
        Arc::clone(&self.client)
    }

    fn another(&self) -> Arc<dyn Locks> {
        connect(&self.url, &self.namespace)
    }

    fn pass(&self, millis: u64) {
        // Its clock is the server's, which nobody can move.
        thread::sleep(Duration::from_millis(millis));
    }
}

testkit::lock_contract!(make, where ready);
