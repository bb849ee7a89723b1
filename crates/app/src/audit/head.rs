//! Heads: what the log's chain had come to at a position, to be signed and kept elsewhere.

use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{event::Hash, hex::hex};

/// What the log had come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// The position of the last entry.
    pub position: u64,
    /// The hash of the log's chain there.
    #[serde(with = "crate::hex::digits")]
    pub global_hash: Hash,
}

impl Head {
    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(&self, at: Timestamp, key_id: &str) -> Vec<u8> {
        format!(
            "crewboss audit head v1\n{}\n{}\n{at}\n{key_id}\n",
            self.position,
            hex(&self.global_hash),
        )
        .into_bytes()
    }
}
