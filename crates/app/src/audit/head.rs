//! Heads: what the log's chain had come to at a position, to be signed and kept elsewhere.

use std::fmt::Write as _;

use domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::Hash;

/// What the log had come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// The position of the last entry.
    pub position: u64,
    /// The hash of the log's chain there.
    #[serde(with = "hash_as_hex")]
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

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // A text takes everything.
            let _written = write!(text, "{byte:02x}");
            text
        })
}

/// A text that is not so many bytes in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {bytes} bytes as hexadecimal digits")]
pub struct InvalidHex {
    bytes: usize,
}

/// The bytes of hexadecimal digits.
///
/// # Errors
/// Where they are not as many, or no digits.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N], InvalidHex> {
    let invalid = InvalidHex { bytes: N };
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(invalid);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| invalid)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid)?;
    }
    Ok(bytes)
}

pub(super) mod hash_as_hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::event::Hash;

    pub(in crate::audit) fn serialize<S: Serializer>(
        hash: &Hash,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(hash))
    }

    pub(in crate::audit) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::unhex(&text).map_err(D::Error::custom)
    }
}

#[test]
fn digits_and_bytes() {
    assert_eq!(hex(&[0, 0xab, 0x10]), "00ab10");
    assert_eq!(unhex("00AB10"), Ok([0, 0xab, 0x10]));
    for wrong in ["", "0", "00ab1", "00ab1g", "+0ab10", "00ab1011", "é0ab1"] {
        assert!(unhex::<3>(wrong).is_err(), "{wrong}");
    }
}
