//! `decisions.md`: written by adding at its end, read as a person may have left it.

mod form;
mod parse;

use std::io::{self, BufReader};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::{
        folders::FolderError,
        journal::{Decision, Finding},
    },
};

use crate::dir::{Dir, failed};

pub(crate) const FILE: &str = "decisions.md";
const TEMPORARY: &str = ".decisions.md.tmp";
const TITLE: &str = "# Decisions\n";

/// Adds a decision behind everything that is there, whatever it is: the file is replaced whole and
/// durably.
pub(crate) fn add(folder: &Dir, decision: &Decision) -> Result<(), FolderError> {
    let _lock = folder.lock_patiently()?;
    let there = folder.open_existing(FILE)?;
    let mut file = folder.create(TEMPORARY)?;
    let written = there
        .map_or(Ok(None), |mut there| copy(&mut there, &mut file))
        .and_then(|last| {
            let before = match last {
                None => TITLE,
                Some(b'\n') => "",
                Some(_) => "\n",
            };
            let text = form::text(decision).map_err(io::Error::from)?;
            let text = format!("{before}\n{text}");
            faults::write(act(Deed::Write), &mut file, text.as_bytes())?;
            faults::around(act(Deed::Sync), || file.sync_all())
        });
    if let Err(error) = written {
        drop(folder.remove(TEMPORARY));
        return Err(failed("write", folder.path().join(FILE), error));
    }
    folder.rename_over(Thing::Decisions, TEMPORARY, FILE)?;
    folder.sync_for(Thing::Decisions)
}

fn act(deed: Deed) -> Act {
    Act::new(Thing::Decisions, deed)
}

/// Copies a file; answers its last byte, where it has one.
fn copy(from: &mut std::fs::File, to: &mut std::fs::File) -> io::Result<Option<u8>> {
    use std::os::unix::fs::FileExt as _;
    let size = io::copy(from, to)?;
    if size == 0 {
        return Ok(None);
    }
    let mut last = [0];
    from.read_exact_at(&mut last, size - 1)?;
    Ok(Some(last[0]))
}

/// Every decision, and what was not understood.
pub(crate) fn read(folder: &Dir) -> Result<(Vec<Decision>, Vec<Finding>), FolderError> {
    let Some(file) = folder.open_existing(FILE)? else {
        return Ok((vec![], vec![]));
    };
    parse::read(BufReader::new(file))
        .map_err(|error| failed("read", folder.path().join(FILE), error))
}

#[cfg(test)]
mod tests;
