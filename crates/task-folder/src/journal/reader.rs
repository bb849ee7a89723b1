//! Reading: all files as one log, oldest first, with memory for one line.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    ops::ControlFlow,
};

use app::ports::{
    folders::FolderError,
    journal::{Finding, LogFilter, LogItem, LogReceiver},
};

use super::{
    files::{self, CURRENT, Full, Source},
    line::Line,
    lines::{self, LINE_MAX, LastFirst, Next},
};
use crate::dir::Dir;

/// A file as it was when the reading began.
#[derive(Debug)]
pub(super) enum Part {
    Full(Full),
    /// The file that is written, up to this size.
    Current(File, u64),
    /// One that cannot be opened, and why.
    Closed(String),
}

impl Part {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Full(full) => full.name(),
            Self::Current(..) | Self::Closed(_) => CURRENT.to_owned(),
        }
    }

    /// Its bytes; a plain file from `offset` on.
    pub(super) fn bytes(self, folder: &Dir, offset: u64) -> Result<Box<dyn io::Read>, String> {
        let from = |mut file: File, size: u64| -> io::Result<Box<dyn io::Read>> {
            file.seek(SeekFrom::Start(offset))?;
            Ok(Box::new(file.take(size - offset)))
        };
        let bytes = match self {
            Self::Closed(why) => return Err(why),
            Self::Current(file, size) => from(file, size),
            Self::Full(full) => match full.open(folder).map_err(|error| why(&error))? {
                Source::Plain(file) => {
                    let size = file.metadata().map(|metadata| metadata.len());
                    size.and_then(|size| from(file, size))
                }
                packed @ Source::Packed(_) => Ok(packed.bytes()),
            },
        };
        bytes.map_err(|error| error.to_string())
    }
}

fn why(error: &FolderError) -> String {
    format!("cannot {}: {}", error.act, error.source)
}

/// The files of a log, none of them renamed in between.
pub(super) fn parts(folder: &Dir) -> Result<Vec<Part>, FolderError> {
    // A folder that cannot be locked is read all the same: what is full does not change.
    let _lock = folder.lock().ok();
    parts_under_lock(folder)
}

/// The same for whoever holds the lock.
pub(super) fn parts_under_lock(folder: &Dir) -> Result<Vec<Part>, FolderError> {
    let current = match folder.open_existing(CURRENT) {
        Ok(None) => None,
        Ok(Some(file)) => match file.metadata() {
            Ok(metadata) => Some(Part::Current(file, metadata.len())),
            Err(error) => Some(Part::Closed(error.to_string())),
        },
        Err(error) => Some(Part::Closed(why(&error))),
    };
    let full = files::full(folder)?.into_iter().map(Part::Full);
    Ok(full.chain(current).collect())
}

/// Where the wanted entries begin: in which file, and how many bytes (plain) or wanted entries
/// (compressed) are passed over there.
#[derive(Debug, Default, Clone, Copy)]
struct Start {
    part: usize,
    offset: u64,
    skipped: usize,
}

/// See [`app::ports::journal::Journal::read`].
pub(super) fn read(
    folder: &Dir,
    filter: &LogFilter,
    receive: &mut LogReceiver<'_>,
) -> Result<(), FolderError> {
    let mut parts = parts(folder)?;
    parts.retain(|part| match part {
        Part::Full(full) => filter.first.is_none_or(|first| full.last >= first),
        Part::Current(..) | Part::Closed(_) => true,
    });
    let start = match filter.tail {
        Some(wanted) => start_of_last(folder, &parts, filter, wanted),
        None => Start::default(),
    };
    for (number, part) in parts.into_iter().enumerate().skip(start.part) {
        let is_first = number == start.part;
        let mut reading = Reading {
            file: part.name(),
            offset: if is_first { start.offset } else { 0 },
            skipped: if is_first { start.skipped } else { 0 },
            lines: 0,
        };
        if reading.part(folder, part, filter, receive).is_break() {
            break;
        }
    }
    Ok(())
}

fn takes(filter: &LogFilter, line: &Line<'_>) -> bool {
    filter.takes(line.at(), line.level(), line.seq())
}

/// Goes back until there are as many as are wanted. What cannot be read is passed over here and
/// told of when it is read forwards.
fn start_of_last(folder: &Dir, parts: &[Part], filter: &LogFilter, wanted: usize) -> Start {
    let mut missing = wanted;
    for (part, content) in parts.iter().enumerate().rev() {
        let found = match content {
            Part::Closed(_) => Ok(None),
            Part::Current(file, size) => last_of(file, *size, filter, &mut missing),
            Part::Full(full) => match full.open(folder) {
                Err(_) => Ok(None),
                Ok(Source::Plain(file)) => file
                    .metadata()
                    .and_then(|metadata| last_of(&file, metadata.len(), filter, &mut missing)),
                Ok(packed @ Source::Packed(_)) => {
                    let count = count_of(packed, filter);
                    if count >= missing {
                        return Start {
                            part,
                            offset: 0,
                            skipped: count - missing,
                        };
                    }
                    missing -= count;
                    Ok(None)
                }
            },
        };
        if let Ok(Some(offset)) = found {
            return Start {
                part,
                offset,
                skipped: 0,
            };
        }
    }
    Start::default()
}

/// Where the last `missing` wanted entries of a file begin, where it has so many.
fn last_of(
    file: &File,
    size: u64,
    filter: &LogFilter,
    missing: &mut usize,
) -> io::Result<Option<u64>> {
    let mut found = LastFirst::new(file, size)?;
    if *missing == 0 {
        return Ok(Some(size));
    }
    let mut line = Vec::new();
    while let Some(start) = found.next(&mut line)? {
        if Line::parse(&line).is_ok_and(|line| takes(filter, &line)) {
            *missing -= 1;
            if *missing == 0 {
                return Ok(Some(start));
            }
        }
    }
    Ok(None)
}

fn count_of(source: Source, filter: &LogFilter) -> usize {
    let mut reader = BufReader::new(source.bytes());
    let (mut line, mut count) = (Vec::new(), 0);
    while let Ok(next @ (Next::Line | Next::TooLong)) = lines::next(&mut reader, &mut line) {
        let is_wanted =
            next == Next::Line && Line::parse(&line).is_ok_and(|line| takes(filter, &line));
        count += usize::from(is_wanted);
    }
    count
}

/// One file on its way to the receiver.
#[derive(Debug)]
struct Reading {
    file: String,
    offset: u64,
    /// Wanted entries that are still to be passed over.
    skipped: usize,
    /// Lines behind the offset.
    lines: u64,
}

impl Reading {
    fn part(
        &mut self,
        folder: &Dir,
        part: Part,
        filter: &LogFilter,
        receive: &mut LogReceiver<'_>,
    ) -> ControlFlow<()> {
        let before = match &part {
            Part::Current(file, _) if self.offset > 0 => file.try_clone().ok(),
            Part::Full(full) if self.offset > 0 => match full.open(folder) {
                Ok(Source::Plain(file)) => Some(file),
                _ => None,
            },
            _ => None,
        };
        let mut reader = match part.bytes(folder, self.offset) {
            Ok(bytes) => BufReader::with_capacity(64 << 10, bytes),
            Err(what) => return receive(self.finding(None, 0, what)),
        };
        let mut line = Vec::new();
        loop {
            let next = lines::next(&mut reader, &mut line);
            self.lines += 1;
            let at = self.lines;
            let flow = match next {
                Ok(Next::End) => return ControlFlow::Continue(()),
                Ok(Next::Torn) => {
                    let what = "the last line is not whole".to_owned();
                    return receive(self.finding(before.as_ref(), at, what));
                }
                Err(error) => {
                    let what = format!("cannot be read from here on: {error}");
                    return receive(self.finding(before.as_ref(), at, what));
                }
                Ok(Next::TooLong) => {
                    let what = format!("it is longer than {LINE_MAX} bytes");
                    receive(self.finding(before.as_ref(), at, what))
                }
                Ok(Next::Line) => match Line::parse(&line) {
                    Err(what) => receive(self.finding(before.as_ref(), at, what)),
                    Ok(line) if filter.last.is_some_and(|last| line.seq() > last) => {
                        return ControlFlow::Break(());
                    }
                    Ok(line) if !takes(filter, &line) => ControlFlow::Continue(()),
                    Ok(_) if self.skipped > 0 => {
                        self.skipped -= 1;
                        ControlFlow::Continue(())
                    }
                    Ok(line) => receive(LogItem::Entry(line.entry())),
                },
            };
            flow?;
        }
    }

    /// Lines are counted from the beginning of the file, which is read for it only here.
    fn finding(&self, before: Option<&File>, line: u64, what: String) -> LogItem {
        let passed = match (self.offset, before) {
            (0, _) => Some(0),
            (offset, Some(file)) => count_lines(file, offset).ok(),
            (_, None) => None,
        };
        LogItem::Finding(Finding {
            file: self.file.clone(),
            line: match passed {
                Some(passed) if line > 0 => passed + line,
                _ => 0,
            },
            what,
        })
    }
}

fn count_lines(file: &File, end: u64) -> io::Result<u64> {
    let mut ends = lines::Backwards::new(file, end);
    let mut count = 0;
    while ends.line_end()?.is_some() {
        count += 1;
    }
    Ok(count)
}
