//! Bytes as lower-case hexadecimal digits: the one form in which hashes and keys are written.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

const NO_DIGIT: u8 = 0xf0;

/// Of every byte as a digit as it is written.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The digits of bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS[usize::from(nibble)]));
        }
    }
    text
}

/// A text that is not so many bytes in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {bytes} bytes as lower-case hexadecimal digits")]
pub struct InvalidHex {
    bytes: usize,
}

/// The bytes of digits.
///
/// # Errors
/// Where they are not as many, or no digits.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N], InvalidHex> {
    let invalid = InvalidHex { bytes: N };
    if text.len() != 2 * N {
        return Err(invalid);
    }
    let mut bytes = [0; N];
    // Digits of a hash are as good as random: whether each is one is asked once, not at each.
    let mut all = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        all |= high | low;
        *byte = high << 4 | low & 15;
    }
    if all & NO_DIGIT == 0 {
        Ok(bytes)
    } else {
        Err(invalid)
    }
}

/// A hash as its digits, for `#[serde(with = …)]`.
pub(crate) mod digits {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::event::Hash;

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::unhex(&text).map_err(D::Error::custom)
    }
}

#[test]
fn digits_and_bytes() {
    assert_eq!(hex(&[0, 0xab, 0x10]), "00ab10");
    assert_eq!(unhex("00ab10"), Ok([0, 0xab, 0x10]));
    for wrong in [
        "", "0", "00ab1", "00ab1g", "00AB10", "+0ab10", "00ab1011", "é0ab1",
    ] {
        assert!(unhex::<3>(wrong).is_err(), "{wrong}");
    }
}
