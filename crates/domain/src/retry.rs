//! How long to wait before trying again.

use serde::{Deserialize, Serialize};

/// Exponential backoff: `base · 2^(n-1)` before the n-th retry, never more than `cap`.
///
/// With the defaults 2, 4, 8, 16 … seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the first retry.
    pub base_millis: u64,
    /// At most.
    pub cap_millis: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_millis: 2_000,
            cap_millis: 300_000,
        }
    }
}

impl Backoff {
    /// Milliseconds to wait before retry number `retry`, counted from 1.
    #[must_use]
    pub fn delay_millis(&self, retry: u32) -> u64 {
        let doublings = retry.saturating_sub(1).min(63);
        self.base_millis
            .saturating_mul(1 << doublings)
            .min(self.cap_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let backoff = Backoff::default();
        let delays: Vec<u64> = (0..5).map(|n| backoff.delay_millis(n)).collect();
        assert_eq!(delays, [2_000, 2_000, 4_000, 8_000, 16_000]);
        assert_eq!(backoff.delay_millis(u32::MAX), 300_000);
    }
}
