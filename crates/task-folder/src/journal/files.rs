//! The files of a log: `logs.jsonl` is written, `logs.jsonl.<n>` is full, `logs.jsonl.<n>.gz` is the
//! same compressed. A full file is named after its last entry.

use std::{collections::BTreeMap, fs::File, io};

use app::ports::folders::FolderError;
use flate2::read::MultiGzDecoder;

use crate::dir::Dir;

/// The file that is written.
pub(super) const CURRENT: &str = "logs.jsonl";

/// A file that is written no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Full {
    /// The number of its last entry.
    pub(super) last: u64,
    pub(super) has_plain: bool,
    pub(super) has_packed: bool,
}

impl Full {
    pub(super) fn plain(&self) -> String {
        format!("{CURRENT}.{}", self.last)
    }

    pub(super) fn packed(&self) -> String {
        format!("{CURRENT}.{}.gz", self.last)
    }

    /// The name that it is read by.
    pub(super) fn name(&self) -> String {
        if self.has_plain {
            self.plain()
        } else {
            self.packed()
        }
    }

    /// Opens it; one that was compressed since it was listed is opened as it is now.
    pub(super) fn open(&self, folder: &Dir) -> Result<Source, FolderError> {
        let plain = || -> Result<_, FolderError> {
            Ok(folder.open_existing(&self.plain())?.map(Source::Plain))
        };
        let packed = || -> Result<_, FolderError> {
            Ok(folder.open_existing(&self.packed())?.map(Source::Packed))
        };
        let found = match plain()? {
            Some(found) => Some(found),
            None => packed()?,
        };
        found.ok_or_else(|| {
            let gone = io::Error::from(io::ErrorKind::NotFound);
            crate::dir::failed("open", folder.path().join(self.name()), gone)
        })
    }
}

/// A file that is open.
#[derive(Debug)]
pub(super) enum Source {
    Plain(File),
    Packed(File),
}

impl Source {
    /// Its bytes from the first.
    pub(super) fn bytes(self) -> Box<dyn io::Read> {
        match self {
            Self::Plain(file) => Box::new(file),
            Self::Packed(file) => Box::new(MultiGzDecoder::new(file)),
        }
    }
}

/// The full files of a folder, oldest first.
pub(super) fn full(folder: &Dir) -> Result<Vec<Full>, FolderError> {
    let mut found = BTreeMap::new();
    for name in folder.names()? {
        let Some((last, is_packed)) = number(&name) else {
            continue;
        };
        let full = found.entry(last).or_insert(Full {
            last,
            has_plain: false,
            has_packed: false,
        });
        full.has_packed |= is_packed;
        full.has_plain |= !is_packed;
    }
    Ok(found.into_values().collect())
}

/// The number in the name of a full file, and whether it is compressed.
fn number(name: &str) -> Option<(u64, bool)> {
    let rest = name.strip_prefix(CURRENT)?.strip_prefix('.')?;
    let (digits, is_packed) = match rest.strip_suffix(".gz") {
        Some(digits) => (digits, true),
        None => (rest, false),
    };
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some((number, is_packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_named_is_ours() {
        assert_eq!(number("logs.jsonl.7"), Some((7, false)));
        assert_eq!(number("logs.jsonl.60000.gz"), Some((60_000, true)));
        for foreign in [
            "logs.jsonl",
            "logs.jsonl.07",
            "logs.jsonl.+7",
            "logs.jsonl.7.gz.tmp",
            "logs.jsonl.torn-7",
            "logs.jsonl.",
            "logs.jsonl.7.bz2",
        ] {
            assert_eq!(number(foreign), None, "{foreign}");
        }
    }
}
