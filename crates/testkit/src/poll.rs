//! Waiting for something that another process or thread will do.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long to rest between two looks: short against anything a person would notice, long enough
/// to leave the processor to what is waited for.
const REST: Duration = Duration::from_millis(5);

/// Looks at `condition` until it holds or `deadline` has passed since the call. True if it held;
/// it is looked at once more after the deadline.
#[must_use = "a condition that never held is a failed wait"]
#[expect(
    clippy::disallowed_methods,
    reason = "waits on other processes, in real time"
)]
pub fn poll_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() >= deadline {
            return condition();
        }
        thread::sleep(REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_is_seen() {
        let mut looks = 0;
        assert!(poll_until(Duration::from_secs(5), || {
            looks += 1;
            looks == 3
        }));
        assert_eq!(looks, 3);
    }

    #[test]
    fn a_condition_that_never_holds_ends_at_the_deadline() {
        assert!(!poll_until(Duration::from_millis(1), || false));
    }
}
