//! Seeded randomness (xorshift64*; Vigna, "An experimental exploration of Marsaglia's xorshift
//! generators, scrambled", 2016).

use std::time::Duration;

/// A sequence that its seed decides.
#[derive(Debug)]
pub(crate) struct Dice(u64);

/// A seed that differs from run to run.
pub(crate) fn fresh_seed() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a seed is the one thing that must differ"
    )]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |now| {
        u64::from(now.subsec_nanos()) | (now.as_secs() << 32)
    })
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end.max(1)
    }

    /// A duration below `end_ms` milliseconds, by microseconds.
    pub(crate) fn pause(&mut self, end_ms: u64) -> Duration {
        Duration::from_micros(self.below(end_ms * 1_000))
    }
}
