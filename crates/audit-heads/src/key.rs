//! The key that signs.

use std::{
    fmt, fs,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use app::{
    audit::Head,
    faults::{self, Act, Deed, Thing},
    hex::{hex, unhex},
};
use domain::time::Timestamp;
use ed25519_dalek::{Signer as _, SigningKey};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::{
    HeadsError, files,
    lines::{KeyLine, SignedHead, key_id},
};

/// What the file begins with.
const MARK: &str = "crewboss-ed25519-1 ";

pub(crate) struct Key(SigningKey);

fn act(deed: Deed) -> Act {
    Act::new(Thing::Key, deed)
}

/// Shows nothing of the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id()).finish()
    }
}

impl Key {
    /// The key of a file; nothing where there is no file.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, HeadsError> {
        let read = |error| HeadsError::io("read", path)(error);
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let wrong = |why| HeadsError::Key {
            path: path.to_owned(),
            why,
        };
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(wrong("may be read by others (`chmod 600` it)"));
        }
        let text = fs::read_to_string(path).map_err(read)?;
        let secret = text.trim_end().strip_prefix(MARK);
        let secret = secret.and_then(|digits| unhex(digits).ok());
        let secret: [u8; 32] = secret.ok_or_else(|| wrong("holds no key"))?;
        Ok(Some(Self(SigningKey::from_bytes(&secret))))
    }

    /// A new one, from the system's randomness.
    pub(crate) fn generate() -> Result<Self, HeadsError> {
        let mut secret = [0; 32];
        let mut filled = 0;
        while filled < secret.len() {
            filled +=
                getrandom(&mut secret[filled..], GetRandomFlags::empty()).map_err(|errno| {
                    HeadsError::io("read randomness from", Path::new("the system"))(errno.into())
                })?;
        }
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// Puts it into a file, whole or not at all; nobody else may read it.
    pub(crate) fn save(&self, path: &Path) -> Result<(), HeadsError> {
        let write = || HeadsError::io("write", path);
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(write())?;
        let fresh = path.with_extension("new");
        // Left behind by a process that was killed.
        drop(fs::remove_file(&fresh));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .map_err(write())?;
        let text = format!("{MARK}{}\n", hex(self.0.as_bytes()));
        faults::write(act(Deed::Write), &mut file, text.as_bytes()).map_err(write())?;
        faults::around(act(Deed::Sync), || file.sync_all()).map_err(write())?;
        faults::around(act(Deed::Rename), || fs::rename(&fresh, path)).map_err(write())?;
        files::sync_folder(folder).map_err(write())
    }

    pub(crate) fn id(&self) -> String {
        key_id(self.0.verifying_key().as_bytes())
    }

    pub(crate) fn sign(&self, head: Head, at: Timestamp) -> SignedHead {
        let key_id = self.id();
        let signature = self.0.sign(&head.signed_bytes(at, &key_id));
        SignedHead {
            v: 1,
            head,
            at,
            key_id,
            signature: hex(&signature.to_bytes()),
        }
    }

    /// The line that introduces it, vouched for by the key before it.
    pub(crate) fn introduce(&self, at: Timestamp, previous: Option<&Self>) -> KeyLine {
        let mut line = KeyLine {
            v: 1,
            key_id: self.id(),
            public_key: hex(self.0.verifying_key().as_bytes()),
            at,
            previous_key_id: previous.map(Self::id),
            signature: String::new(),
            previous_signature: None,
        };
        let bytes = line.signed_bytes();
        line.signature = hex(&self.0.sign(&bytes).to_bytes());
        line.previous_signature = previous.map(|key| hex(&key.0.sign(&bytes).to_bytes()));
        line
    }
}
