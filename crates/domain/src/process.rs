//! How a process is named so that another program with the same number is never taken for it.

use serde::{Deserialize, Serialize};

use crate::time::BootId;

/// A process as it can be recognised later: its number, when it started, and in which boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The process number.
    pub pid: u32,
    /// Start time in the kernel's own unit (clock ticks since boot on Linux).
    pub start_ticks: u64,
    /// The boot in which it ran.
    pub boot: BootId,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether it returned 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}
