//! The clock: the only source of time.

use domain::time::Now;

/// Reads both clocks. Everything that is timed takes a `&dyn Clock`.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock and the boot clock, read together.
    fn now(&self) -> Now;
}
