//! Appending: under the folder's lock, behind the last whole line, in one write.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
};

use app::{
    event::{GENESIS, Hash},
    faults::{self, Act, Deed, Thing},
    ports::{
        folders::FolderError,
        journal::{JournalLimits, Level, NewEntry, Survives},
    },
};
use domain::time::Timestamp;

use super::{
    files::{self, CURRENT, Full, Source},
    line::{self, Line},
    lines::{self, LastFirst, Next},
    rotation::{self, Step},
};
use crate::dir::{Dir, failed};

/// Enough for the time and the number at the beginning of a line.
const HEAD_BYTES: usize = 96;

const HOUR_MILLIS: i64 = 3_600_000;

/// The end of the log, where the next entry goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// Of the last event.
    pub(super) position: u64,
}

impl Tail {
    const START: Self = Self {
        seq: 0,
        hash: GENESIS,
        position: 0,
    };

    fn of(line: &Line<'_>) -> Self {
        Self {
            seq: line.seq(),
            hash: line.hash,
            position: line.position(),
        }
    }
}

/// The end of the log as it is; nothing is repaired.
pub(super) fn tail(folder: &Dir) -> Result<Tail, FolderError> {
    let Some(file) = folder.open_existing(CURRENT)? else {
        return tail_of_full(folder);
    };
    let size = size_of(&file).map_err(|error| in_current(folder, "read", error))?;
    let found = last_entry(&file, size).map_err(|error| in_current(folder, "read", error))?;
    match found.tail {
        Some(tail) => Ok(tail),
        None => tail_of_full(folder),
    }
}

#[derive(Debug)]
pub(super) struct LastEntry {
    pub(super) tail: Option<Tail>,
    /// Where the whole lines end.
    pub(super) whole: u64,
}

/// The last line of a file that is an entry.
pub(super) fn last_entry(file: &File, size: u64) -> io::Result<LastEntry> {
    let mut found = LastFirst::new(file, size)?;
    let whole = found.whole();
    let mut line = Vec::new();
    while found.next(&mut line)?.is_some() {
        if let Ok(line) = Line::parse(&line) {
            let tail = Some(Tail::of(&line));
            return Ok(LastEntry { tail, whole });
        }
    }
    Ok(LastEntry { tail: None, whole })
}

/// Where the file that is written is missing or holds nothing, the log ends in an older one.
fn tail_of_full(folder: &Dir) -> Result<Tail, FolderError> {
    for full in files::full(folder)?.iter().rev() {
        let named = |error| failed("read", folder.path().join(full.name()), error);
        let tail = match full.open(folder)? {
            Source::Plain(file) => {
                let size = size_of(&file).map_err(named)?;
                last_entry(&file, size).map_err(named)?.tail
            }
            packed @ Source::Packed(_) => last_of_stream(packed),
        };
        if let Some(tail) = tail {
            return Ok(tail);
        }
    }
    Ok(Tail::START)
}

/// The last entry of a compressed file, as far as it can be read.
fn last_of_stream(source: Source) -> Option<Tail> {
    let mut reader = io::BufReader::new(source.bytes());
    let (mut line, mut tail) = (Vec::new(), None);
    loop {
        match lines::next(&mut reader, &mut line) {
            Ok(Next::Line) => {
                if let Ok(line) = Line::parse(&line) {
                    tail = Some(Tail::of(&line));
                }
            }
            Ok(Next::TooLong) => {}
            Ok(Next::Torn | Next::End) | Err(_) => return tail,
        }
    }
}

fn size_of(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len())
}

fn in_current(folder: &Dir, act: &'static str, error: io::Error) -> FolderError {
    failed(act, folder.path().join(CURRENT), error)
}

/// A log that is open for appending. Whoever makes one holds the folder's lock.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    folder: &'a Dir,
    limits: JournalLimits,
    file: File,
    size: u64,
    /// Of the file that is written; `None` where it is empty.
    first: Option<(Timestamp, u64)>,
    pub(super) tail: Tail,
    /// Whether a file was made or renamed.
    has_new_names: bool,
    /// Whether files became full.
    pub(super) has_rotated: bool,
}

impl<'a> Writer<'a> {
    /// Opens the log and repairs its end. A torn line is kept beside the log, and `at` is when the
    /// log says so.
    pub(super) fn open(
        folder: &'a Dir,
        limits: JournalLimits,
        at: Timestamp,
    ) -> Result<Self, FolderError> {
        let is_new = !folder.has(CURRENT);
        let file = folder.open_append(CURRENT)?;
        let size = size_of(&file).map_err(|error| in_current(folder, "read", error))?;
        let found = last_entry(&file, size).map_err(|error| in_current(folder, "read", error))?;
        let tail = match found.tail {
            Some(tail) => tail,
            None => tail_of_full(folder)?,
        };
        let mut writer = Self {
            folder,
            limits,
            file,
            size,
            first: None,
            tail,
            has_new_names: is_new,
            has_rotated: false,
        };
        if found.whole < size {
            writer.repair(found.whole, at)?;
        }
        writer.first = writer
            .first_entry()
            .map_err(|error| in_current(folder, "read", error))?;
        Ok(writer)
    }

    /// What stands behind the last line end is a whole entry, whose line end is missing, or the
    /// beginning of one that nobody was told of.
    fn repair(&mut self, whole: u64, at: Timestamp) -> Result<(), FolderError> {
        let torn = self.size - whole;
        if self
            .complete(whole)
            .map_err(|error| in_current(self.folder, "repair", error))?
        {
            return Ok(());
        }
        let beside = format!("{CURRENT}.torn-{}", self.tail.seq + 1);
        let copied = self.copy_from(whole, &beside)?;
        debug_assert_eq!(copied, torn);
        self.file
            .set_len(whole)
            .map_err(|error| in_current(self.folder, "repair", error))?;
        self.size = whole;
        self.first = self
            .first_entry()
            .map_err(|error| in_current(self.folder, "read", error))?;
        let entry = NewEntry {
            at,
            level: Level::Warn,
            message: format!("a torn line of {torn} bytes was cut off and kept in {beside}"),
            data: None,
            position: None,
        };
        self.append(&[entry], Survives::Crash)
    }

    fn complete(&mut self, whole: u64) -> io::Result<bool> {
        let torn = usize::try_from(self.size - whole).unwrap_or(usize::MAX);
        if torn > lines::LINE_MAX {
            return Ok(false);
        }
        let mut bytes = vec![0; torn];
        self.file.read_exact_at(&mut bytes, whole)?;
        let tail = match Line::parse(&bytes) {
            Ok(line) if line.follows(&self.tail.hash) => Tail::of(&line),
            _ => return Ok(false),
        };
        self.file.write_all(b"\n")?;
        self.size += 1;
        self.tail = tail;
        Ok(true)
    }

    /// Copies what stands behind an offset into a file of its own, durably.
    fn copy_from(&mut self, offset: u64, name: &str) -> Result<u64, FolderError> {
        let mut copy = self.folder.create(name)?;
        let copied = self
            .file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| io::copy(&mut self.file, &mut copy))
            .and_then(|copied| copy.sync_all().map(|()| copied));
        let copied =
            copied.map_err(|error| failed("write", self.folder.path().join(name), error))?;
        self.folder.sync()?;
        Ok(copied)
    }

    /// The time and the number of the first line, where it has both.
    fn first_entry(&self) -> io::Result<Option<(Timestamp, u64)>> {
        if self.size == 0 {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        let read = self.file.read_at(&mut head, 0)?;
        // A first line that cannot be read counts as one of now, with this number.
        Ok(Some(head_of(&head[..read]).unwrap_or((
            Timestamp::from_millis(i64::MAX),
            self.tail.seq,
        ))))
    }

    /// Appends entries, as many as fit into a file at once.
    pub(super) fn append(
        &mut self,
        entries: &[NewEntry],
        survives: Survives,
    ) -> Result<(), FolderError> {
        let mut rest = entries;
        while !rest.is_empty() {
            if self.is_full(rest[0].at) {
                self.rotate(survives)?;
            }
            let taken = self.append_some(rest, survives)?;
            rest = &rest[taken..];
        }
        if survives == Survives::PowerCut && self.has_new_names {
            self.folder.sync()?;
            self.has_new_names = false;
        }
        Ok(())
    }

    fn append_some(
        &mut self,
        entries: &[NewEntry],
        survives: Survives,
    ) -> Result<usize, FolderError> {
        let (mut bytes, mut taken, mut tail) = (Vec::new(), 0, self.tail);
        let mut first = self.first;
        for entry in entries {
            let is_first = first.is_none();
            if !is_first
                && is_full(
                    &self.limits,
                    first,
                    self.size + bytes.len() as u64,
                    tail.seq,
                    entry.at,
                )
            {
                break;
            }
            let (seq, start) = (tail.seq + 1, bytes.len());
            let position = entry.position.unwrap_or(tail.position);
            let hash = line::write(&mut bytes, entry, seq, position, &tail.hash, is_first)
                .map_err(|error| in_current(self.folder, "write", error.into()))?;
            if bytes.len() - start > lines::LINE_MAX {
                let what = format!("an entry is longer than {} bytes", lines::LINE_MAX);
                let error = io::Error::new(io::ErrorKind::InvalidInput, what);
                return Err(in_current(self.folder, "write", error));
            }
            tail = Tail {
                seq,
                hash,
                position,
            };
            first.get_or_insert((entry.at, seq));
            taken += 1;
        }
        let written = faults::write(act(Deed::Write), &mut self.file, &bytes).and_then(|()| {
            if survives == Survives::PowerCut {
                faults::around(act(Deed::Sync), || self.file.sync_data())?;
            }
            Ok(())
        });
        if let Err(error) = written {
            // Half of it would spoil the next line; where even this fails, the next writer repairs.
            drop(self.file.set_len(self.size));
            return Err(in_current(self.folder, "write", error));
        }
        self.size += bytes.len() as u64;
        self.tail = tail;
        self.first = first;
        Ok(taken)
    }

    fn is_full(&self, at: Timestamp) -> bool {
        is_full(&self.limits, self.first, self.size, self.tail.seq, at)
    }

    /// The file gets the name of a full one, and a new one is begun.
    fn rotate(&mut self, survives: Survives) -> Result<(), FolderError> {
        if survives == Survives::PowerCut {
            self.file
                .sync_data()
                .map_err(|error| in_current(self.folder, "sync", error))?;
        }
        let mut full = Full {
            last: self.tail.seq,
            has_plain: true,
            has_packed: false,
        };
        loop {
            let is_taken = self.folder.has(&full.packed());
            let renamed = faults::around(act(Deed::Rename), || {
                self.folder.rename_new(CURRENT, &full.plain())
            });
            match renamed {
                Ok(()) if !is_taken => break,
                // Somebody else's file has the name that compressing would need.
                Ok(()) => {
                    let back = self.folder.rename_new(&full.plain(), CURRENT);
                    back.map_err(|error| in_current(self.folder, "rename", error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(in_current(self.folder, "rename", error)),
            }
            full.last += 1;
        }
        rotation::reached(Step::Renamed)?;
        self.file = self.folder.open_append(CURRENT)?;
        self.size = 0;
        self.first = None;
        self.has_new_names = true;
        self.has_rotated = true;
        Ok(())
    }
}

fn act(deed: Deed) -> Act {
    Act::new(Thing::Journal, deed)
}

/// Whether the next entry belongs into a new file.
fn is_full(
    limits: &JournalLimits,
    first: Option<(Timestamp, u64)>,
    size: u64,
    last_seq: u64,
    at: Timestamp,
) -> bool {
    let Some((begun, first_seq)) = first else {
        return false;
    };
    let age = at.as_millis().saturating_sub(begun.as_millis());
    let hours = i64::try_from(limits.file_hours).unwrap_or(i64::MAX);
    let entries = last_seq.saturating_sub(first_seq) + 1;
    size >= limits.file_bytes
        || entries >= limits.file_entries
        || age >= hours.saturating_mul(HOUR_MILLIS)
}

/// The time and the number that a line begins with.
fn head_of(line: &[u8]) -> Option<(Timestamp, u64)> {
    let line = &line[..line
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(line.len())];
    let text = std::str::from_utf8(line.get(..line.len().min(80))?).ok()?;
    let rest = text.strip_prefix("{\"timestamp\":")?;
    let (time, rest) = rest.split_once(",\"seq\":")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((serde_json::from_str(time).ok()?, digits.parse().ok()?))
}
