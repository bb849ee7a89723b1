//! The two kinds of lines.

use app::{
    audit::Head,
    hex::{hex, unhex},
};
use domain::time::Timestamp;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What the log had come to, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// The version of the form: 1.
    pub v: u32,
    /// Position and hash.
    #[serde(flatten)]
    pub head: Head,
    /// When it was signed.
    pub at: Timestamp,
    /// By which key.
    pub key_id: String,
    /// Over [`Head::signed_bytes`], in hexadecimal digits.
    pub signature: String,
}

/// A key, introduced by itself and by the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// The version of the form: 1.
    pub v: u32,
    /// The first 8 bytes of the SHA-256 of the public key, in hexadecimal digits.
    pub key_id: String,
    /// 32 bytes in hexadecimal digits.
    pub public_key: String,
    /// Since when it signs.
    pub at: Timestamp,
    /// The key before it; none before the first.
    pub previous_key_id: Option<String>,
    /// Its own signature over [`KeyLine::signed_bytes`].
    pub signature: String,
    /// That of the key before it, over the same.
    pub previous_signature: Option<String>,
}

impl KeyLine {
    /// The bytes that are signed.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        format!(
            "crewboss audit key v1\n{}\n{}\n{}\n{}\n",
            self.key_id,
            self.public_key,
            self.at,
            self.previous_key_id.as_deref().unwrap_or("-"),
        )
        .into_bytes()
    }

    /// Its public half, where the line says what it must.
    pub(crate) fn public(&self) -> Option<VerifyingKey> {
        let bytes = unhex(&self.public_key).ok()?;
        let key = VerifyingKey::from_bytes(&bytes).ok()?;
        let is_own = self.v == 1 && self.key_id == key_id(&bytes);
        (is_own && verifies(&key, &self.signed_bytes(), &self.signature)).then_some(key)
    }
}

/// A line of either kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AnyLine {
    Head(SignedHead),
    Key(KeyLine),
}

pub(crate) fn text(line: &impl Serialize) -> String {
    let mut text = serde_json::to_string(line).expect("a line is plain data");
    text.push('\n');
    text
}

/// What a key goes by.
pub(crate) fn key_id(public: &[u8; 32]) -> String {
    hex(&Sha256::digest(public)[..8])
}

pub(crate) fn verifies(key: &VerifyingKey, bytes: &[u8], signature: &str) -> bool {
    unhex(signature).is_ok_and(|signature: [u8; 64]| {
        let signature = Signature::from_bytes(&signature);
        key.verify_strict(bytes, &signature).is_ok()
    })
}
