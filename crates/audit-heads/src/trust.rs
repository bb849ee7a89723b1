//! Reading heads back: which keys are trusted, and which heads they signed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
};

use app::audit::Head;
use ed25519_dalek::VerifyingKey;

use crate::{
    HeadsError,
    lines::{AnyLine, KeyLine, SignedHead, verifies},
};

/// No line of ours is nearly as long.
const LINE_MAX: u64 = 65_536;

/// A line that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// In which file.
    pub file: PathBuf,
    /// From 1.
    pub line: u64,
    /// The position that it speaks of, where that can be read.
    pub position: Option<u64>,
    /// What is wrong with it.
    pub why: &'static str,
    /// Whether it is only unfinished, as a process leaves it that is killed while it writes.
    pub is_torn: bool,
}

/// What files of heads hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gathered {
    /// Heads with a signature of a trusted key, each once, by position.
    pub heads: Vec<Head>,
    /// The ids of trusted keys.
    pub keys: Vec<String>,
    /// Lines that prove nothing.
    pub bad: Vec<BadLine>,
    /// Files that are not there.
    pub missing: Vec<PathBuf>,
}

/// Reads files of heads. Trusted is the key of this id and whatever keys it is joined to by key
/// lines; where none is given, the first that introduces itself.
///
/// # Errors
/// Where a file is there and cannot be read.
pub fn gather(files: &[&Path], anchor: Option<&str>) -> Result<Gathered, HeadsError> {
    let mut gathered = Gathered::default();
    let mut keys: Vec<KeyLine> = Vec::new();
    let mut heads: Vec<(PathBuf, u64, SignedHead)> = Vec::new();
    for path in files {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                gathered.missing.push((*path).to_owned());
                continue;
            }
            Err(error) => return Err(HeadsError::io("read", path)(error)),
        };
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line);
            if read.map_err(HeadsError::io("read", path))? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(AnyLine::Key(key)) => keys.push(key),
                Ok(AnyLine::Head(head)) => heads.push(((*path).to_owned(), number, head)),
                Err(_) => gathered.bad.push(BadLine {
                    file: (*path).to_owned(),
                    line: number,
                    position: None,
                    why: "it is no head and no key",
                    is_torn: true,
                }),
            }
        }
    }
    let trusted = trusted(&keys, anchor);
    for (file, line, signed) in heads {
        let bytes = signed.head.signed_bytes(signed.at, &signed.key_id);
        let why = match trusted.get(signed.key_id.as_str()) {
            Some(key) if signed.v == 1 && verifies(key, &bytes, &signed.signature) => {
                gathered.heads.push(signed.head);
                continue;
            }
            Some(_) => "its signature is wrong",
            None => "its key is not vouched for",
        };
        gathered.bad.push(BadLine {
            file,
            line,
            position: Some(signed.head.position),
            why,
            is_torn: false,
        });
    }
    gathered.heads.sort_unstable();
    gathered.heads.dedup();
    gathered.keys = trusted.keys().map(|id| (*id).to_owned()).collect();
    Ok(gathered)
}

/// A key that is trusted vouches for the one before it, which its line names, and for those whose
/// lines it has signed.
fn trusted<'k>(lines: &'k [KeyLine], anchor: Option<&str>) -> BTreeMap<&'k str, VerifyingKey> {
    let known: Vec<(&KeyLine, VerifyingKey)> = lines
        .iter()
        .filter_map(|line| Some((line, line.public()?)))
        .collect();
    let mut trusted = BTreeMap::new();
    let root = known
        .iter()
        .find(|(line, _)| anchor.map_or(line.previous_key_id.is_none(), |id| line.key_id == id));
    trusted.extend(root.map(|(line, key)| (line.key_id.as_str(), *key)));
    loop {
        let before = trusted.len();
        for (line, key) in &known {
            let Some(previous) = &line.previous_key_id else {
                continue;
            };
            let signs = |by: &VerifyingKey| {
                let signature = line.previous_signature.as_deref().unwrap_or_default();
                verifies(by, &line.signed_bytes(), signature)
            };
            if trusted.get(previous.as_str()).is_some_and(signs) {
                trusted.insert(&line.key_id, *key);
            } else if trusted.contains_key(line.key_id.as_str()) {
                let earlier = known.iter().find(|(other, _)| other.key_id == *previous);
                trusted.extend(
                    earlier
                        .filter(|(_, by)| signs(by))
                        .map(|(other, by)| (other.key_id.as_str(), *by)),
                );
            }
        }
        if trusted.len() == before {
            return trusted;
        }
    }
}
