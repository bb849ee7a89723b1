//! Bells between processes: datagram sockets without files. What is sent says nothing but that
//! something has happened; whoever hears it looks for itself.

use std::{
    fmt, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use app::locks::{Bell, Bells};

/// Names are taken only by sockets that are open: the next one is free after a few.
const TRIES: u32 = 16;

/// Bells that every process of this machine can ring.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostBells;

struct HostBell {
    address: String,
    socket: UnixDatagram,
}

impl fmt::Debug for HostBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBell")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn open() -> io::Result<HostBell> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut result = Err(io::Error::from(io::ErrorKind::AddrInUse));
    for _ in 0..TRIES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("crewboss-lock-{}-{number}", std::process::id());
        let name = SocketAddr::from_abstract_name(&address)?;
        result = UnixDatagram::bind_addr(&name).map(|socket| HostBell { address, socket });
        if result.is_ok() {
            break;
        }
    }
    result
}

fn ring(address: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(b"!", &SocketAddr::from_abstract_name(address)?)?;
    Ok(())
}

impl Bells for HostBells {
    fn bell(&self) -> Option<Arc<dyn Bell>> {
        open().ok().map(|bell| Arc::new(bell) as Arc<dyn Bell>)
    }

    fn ring(&self, address: &str) {
        // Nobody there, or one who has more rings than it reads: it looks by itself.
        drop(ring(address));
    }
}

impl Bell for HostBell {
    fn address(&self) -> &str {
        &self.address
    }

    fn wait(&self, patience: Duration) {
        if patience.is_zero() {
            return;
        }
        let mut heard = [0; 8];
        let waited = self
            .socket
            .set_read_timeout(Some(patience))
            .and_then(|()| self.socket.recv(&mut heard).map(drop));
        match waited {
            Ok(()) => {}
            Err(error) if is_patience_over(&error) => {}
            Err(_) => thread::sleep(patience.min(Duration::from_millis(50))),
        }
    }
}

fn is_patience_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it measures real time")]
    fn a_ring_ends_a_wait_also_one_that_begins_later() {
        let bell = HostBells.bell().unwrap();
        HostBells.ring(bell.address());
        let began = std::time::Instant::now();
        bell.wait(Duration::from_secs(20));
        thread::scope(|scope| {
            scope.spawn(|| HostBells.ring(bell.address()));
            bell.wait(Duration::from_secs(20));
        });
        assert!(began.elapsed() < Duration::from_secs(10));
        bell.wait(Duration::from_millis(1));
    }

    #[test]
    fn nobody_there_is_no_failure() {
        HostBells.ring("crewboss-lock-0-0");
        HostBells.ring("");
    }
}
