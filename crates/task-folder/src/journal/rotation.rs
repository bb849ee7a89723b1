//! What becomes of full files: they are compressed beside the writer, and the oldest go.
//!
//! A crash after any step leaves every entry in at least one file: the plain file is removed once
//! the compressed one has its name and is on the disk.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::folders::FolderError,
};
use flate2::{Compression, write::GzEncoder};
use rustix::fs::{FlockOperation, flock};

use super::{
    files::{self, Full},
    line::Line,
    lines::{self, Next},
};
use crate::dir::{Dir, failed};

/// A moment at which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The file has its number, and there is no new one.
    Renamed,
    /// The compressed copy is whole, under a temporary name.
    Packed,
    /// The compressed copy has its name, and the plain file is still there.
    Named,
    /// The plain file is gone.
    Removed,
}

#[cfg(test)]
thread_local! {
    /// Where the thread of a test is to stop as a dead process would.
    pub(super) static DIES_AT: std::cell::Cell<Option<Step>> = const { std::cell::Cell::new(None) };
}

/// Says that a moment has come. Only tests stop there.
#[cfg_attr(
    not(test),
    expect(clippy::unnecessary_wraps, reason = "only tests fail here")
)]
pub(super) fn reached(step: Step) -> Result<(), FolderError> {
    #[cfg(test)]
    if DIES_AT.get() == Some(step) {
        let what = io::Error::other(format!("{step:?}"));
        return Err(failed("die at", std::path::PathBuf::new(), what));
    }
    let _ = step;
    Ok(())
}

/// Compresses every full file that is not, and removes those over `kept`. Needs no lock: full files
/// do not change, and one process alone works on each.
pub(super) fn tidy(folder: &Dir, kept: u32) -> Result<(), FolderError> {
    for full in files::full(folder)?.iter().filter(|full| full.has_plain) {
        pack(folder, full)?;
    }
    let full = files::full(folder)?;
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    for old in &full[..full.len().saturating_sub(kept)] {
        if !holds_event(folder, old) {
            folder.remove(&old.packed())?;
        }
    }
    Ok(())
}

fn pack(folder: &Dir, full: &Full) -> Result<(), FolderError> {
    let Some(plain) = folder.open_existing(&full.plain())? else {
        return Ok(());
    };
    if flock(&plain, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    if !folder.has(&full.plain()) {
        // Another was done with it in between.
        return Ok(());
    }
    let temporary = format!(".{}.tmp", full.packed());
    let target = folder.create(&temporary)?;
    faults::around(act(Deed::Write), || compress(&plain, target))
        .map_err(|error| failed("compress", folder.path().join(full.plain()), error))?;
    reached(Step::Packed)?;
    folder.rename_over(Thing::Packed, &temporary, &full.packed())?;
    folder.sync()?;
    reached(Step::Named)?;
    faults::around(act(Deed::Remove), || {
        folder.remove(&full.plain()).map_err(|error| error.source)
    })
    .map_err(|error| failed("remove", folder.path().join(full.plain()), error))?;
    reached(Step::Removed)
}

fn act(deed: Deed) -> Act {
    Act::new(Thing::Packed, deed)
}

fn compress(mut plain: &File, target: File) -> io::Result<()> {
    let mut packed = GzEncoder::new(target, Compression::default());
    io::copy(&mut plain, &mut packed)?;
    packed.finish()?.sync_all()
}

/// Whether the store could be made again from something in it. What cannot be read is taken to.
fn holds_event(folder: &Dir, full: &Full) -> bool {
    let Ok(source) = full.open(folder) else {
        return true;
    };
    let mut reader = BufReader::new(source.bytes());
    let mut line = Vec::new();
    loop {
        match lines::next(&mut reader, &mut line) {
            Ok(Next::Line) => {
                if Line::parse(&line).is_ok_and(|line| line.is_event()) {
                    return true;
                }
            }
            Ok(Next::TooLong) => {}
            Ok(Next::Torn) | Err(_) => return true,
            Ok(Next::End) => return reader.fill_buf().is_err(),
        }
    }
}
