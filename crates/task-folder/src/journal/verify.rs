//! Holding a log to its chain: the first line that breaks it, and what was done there.

use std::io::BufReader;

use app::{
    event::{GENESIS, Hash},
    ports::{
        folders::FolderError,
        journal::{Breach, ChainVerdict, Finding},
    },
};

use super::{
    line::Line,
    lines::{self, LINE_MAX, Next},
    reader,
};
use crate::dir::Dir;

/// See [`app::ports::journal::Journal::verify`].
pub(super) fn verify(folder: &Dir) -> Result<ChainVerdict, FolderError> {
    let mut chain = Chain::default();
    for part in reader::parts(folder)? {
        let file = part.name();
        let mut reader = match part.bytes(folder, 0) {
            Ok(bytes) => BufReader::with_capacity(64 << 10, bytes),
            Err(what) => {
                chain.breaks(&file, 0, Some(Breach::Unreadable), what);
                continue;
            }
        };
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            let next = lines::next(&mut reader, &mut line);
            number += 1;
            match next {
                Ok(Next::End) => break,
                Ok(Next::Torn) => {
                    let what = "the last line is not whole".to_owned();
                    chain.breaks(&file, number, Some(Breach::Torn), what);
                    break;
                }
                Err(error) => {
                    let what = format!("cannot be read from here on: {error}");
                    chain.breaks(&file, number, Some(Breach::Unreadable), what);
                    break;
                }
                Ok(Next::TooLong) => {
                    let what = format!("it is longer than {LINE_MAX} bytes");
                    chain.breaks(&file, number, None, what);
                }
                Ok(Next::Line) => match Line::parse(&line) {
                    Ok(line) => chain.line(&file, number, &line),
                    Err(what) => chain.breaks(&file, number, None, what),
                },
            }
        }
    }
    Ok(chain.verdict())
}

/// The chain up to here.
#[derive(Debug, Default)]
struct Chain {
    entries: u64,
    first: u64,
    last: u64,
    head: Option<Hash>,
    broken: Option<Broken>,
}

/// The first line that does not continue the chain, and what comes after it.
#[derive(Debug)]
struct Broken {
    finding: Finding,
    /// Where that needs no looking around.
    breach: Option<Breach>,
    /// What should have stood there, and on what.
    expected: u64,
    head: Hash,
    /// What stood there, where it was an entry.
    found: Option<(u64, Hash)>,
    /// The next entry: its number, and whether it continues the chain without the line, or with it.
    next: Option<(u64, bool, bool)>,
    /// Whether what should have stood there comes later.
    has_expected: bool,
    /// Whether what stood there comes again.
    has_found: bool,
}

impl Chain {
    fn line(&mut self, file: &str, number: u64, line: &Line<'_>) {
        self.entries += 1;
        self.last = line.seq();
        if let Some(broken) = &mut self.broken {
            broken.look_at(line);
            return;
        }
        if self.entries == 1 {
            self.first = line.seq();
        }
        let head = self.head.or_else(|| match line.seq() {
            1 => Some(GENESIS),
            _ => line.previous(),
        });
        let expected = match self.head {
            Some(_) => self.last_good() + 1,
            None => line.seq(),
        };
        match head {
            Some(head) if line.seq() == expected && line.follows(&head) => {
                self.head = Some(line.hash);
            }
            head => {
                let found = Some((line.seq(), line.hash));
                // Without a head this is the first line, and says of none that it follows.
                let expected = if head.is_some() { expected } else { 1 };
                let head = head.unwrap_or(GENESIS);
                self.broken = Some(Broken::new(file, number, expected, head, found));
            }
        }
    }

    fn last_good(&self) -> u64 {
        self.first + self.entries - 2
    }

    fn breaks(&mut self, file: &str, number: u64, breach: Option<Breach>, what: String) {
        if self.broken.is_some() {
            return;
        }
        let expected = if self.entries == 0 { 1 } else { self.last + 1 };
        let head = self.head.unwrap_or(GENESIS);
        let mut broken = Broken::new(file, number, expected, head, None);
        broken.finding.what = what;
        broken.breach = breach;
        self.broken = Some(broken);
    }

    fn verdict(self) -> ChainVerdict {
        ChainVerdict {
            entries: self.entries,
            first: self.first,
            last: self.last,
            breach: self.broken.map(Broken::told),
        }
    }
}

impl Broken {
    fn new(file: &str, line: u64, expected: u64, head: Hash, found: Option<(u64, Hash)>) -> Self {
        Self {
            finding: Finding {
                file: file.to_owned(),
                line,
                what: String::new(),
            },
            breach: None,
            expected,
            head,
            found,
            next: None,
            has_expected: false,
            has_found: false,
        }
    }

    fn look_at(&mut self, line: &Line<'_>) {
        self.has_expected |= line.seq() == self.expected;
        if let Some((found, hash)) = self.found {
            self.has_found |= line.seq() == found;
            self.next
                .get_or_insert((line.seq(), line.follows(&self.head), line.follows(&hash)));
        } else {
            self.next
                .get_or_insert((line.seq(), line.follows(&self.head), false));
        }
    }

    fn told(mut self) -> (Breach, Finding) {
        let breach = self.breach.unwrap_or_else(|| self.breach());
        if self.finding.what.is_empty() {
            let expected = self.expected;
            let found = self.found.map_or(0, |(found, _)| found);
            self.finding.what = match breach {
                Breach::Edited => format!("entry {expected} is not as it was written"),
                Breach::Inserted => format!("a line that does not belong before entry {expected}"),
                Breach::Reordered => format!("entry {found} stands before entry {expected}"),
                Breach::Removed => format!("entries {expected} to {} are missing", found - 1),
                Breach::Torn | Breach::Unreadable => "cannot be read".to_owned(),
            };
        }
        (breach, self.finding)
    }

    fn breach(&self) -> Breach {
        let expected = self.expected;
        let Some((found, _)) = self.found else {
            // The line is no entry: one more, or one that was spoiled.
            return match self.next {
                Some((next, true, _)) if next == expected => Breach::Inserted,
                _ => Breach::Edited,
            };
        };
        match self.next {
            Some((next, _, true)) if next == expected + 1 => Breach::Edited,
            Some((next, true, _)) if next == expected && found == expected => Breach::Inserted,
            _ if found == expected => Breach::Edited,
            _ if found < expected || self.has_found => Breach::Inserted,
            _ if self.has_expected => Breach::Reordered,
            _ => Breach::Removed,
        }
    }
}
