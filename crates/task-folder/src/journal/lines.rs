//! The lines of a file, one in memory at a time, forwards and backwards.

use std::{
    fs::File,
    io::{self, BufRead},
    os::unix::fs::FileExt as _,
};

use memchr::{memchr, memrchr};

/// A longer line is none that was ever written, and is passed over without being held.
pub(super) const LINE_MAX: usize = 32 << 20;

const BLOCK: usize = 64 << 10;

/// What stands between two line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line,
    /// One of more than [`LINE_MAX`] bytes.
    TooLong,
    /// What stands behind the last line end.
    Torn,
    /// Nothing.
    End,
}

/// Reads up to the next line end into `line`.
pub(super) fn next(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let mut is_too_long = false;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            let is_end = line.is_empty() && !is_too_long;
            return Ok(if is_end { Next::End } else { Next::Torn });
        }
        let end = memchr(b'\n', available);
        let taken = end.unwrap_or(available.len());
        if line.len() + taken > LINE_MAX {
            is_too_long = true;
            line.clear();
        }
        if !is_too_long {
            line.extend_from_slice(&available[..taken]);
        }
        let ended = end.is_some();
        reader.consume(taken + usize::from(ended));
        if ended {
            return Ok(if is_too_long {
                Next::TooLong
            } else {
                Next::Line
            });
        }
    }
}

/// The line ends of a file from its end to its beginning.
#[derive(Debug)]
pub(super) struct Backwards<'a> {
    file: &'a File,
    block: Vec<u8>,
    /// Where the block begins in the file.
    from: u64,
    /// Everything from here on was looked at.
    at: u64,
}

impl<'a> Backwards<'a> {
    /// From `end` on.
    pub(super) fn new(file: &'a File, end: u64) -> Self {
        Self {
            file,
            block: Vec::new(),
            from: end,
            at: end,
        }
    }

    /// Where the line end before is; `None` at the beginning of the file.
    pub(super) fn line_end(&mut self) -> io::Result<Option<u64>> {
        loop {
            let held = usize::try_from(self.at - self.from).unwrap_or(usize::MAX);
            let found = memrchr(b'\n', &self.block[..held]);
            if let Some(found) = found {
                self.at = self.from + found as u64;
                return Ok(Some(self.at));
            }
            if self.from == 0 {
                self.at = 0;
                return Ok(None);
            }
            self.at = self.from;
            self.from = self.at.saturating_sub(BLOCK as u64);
            let size = usize::try_from(self.at - self.from).unwrap_or(BLOCK);
            self.block.resize(size, 0);
            self.file.read_exact_at(&mut self.block, self.from)?;
        }
    }
}

/// Whole lines of a file from the last to the first, as (start, line).
#[derive(Debug)]
pub(super) struct LastFirst<'a> {
    file: &'a File,
    ends: Backwards<'a>,
    /// The end of the line that comes next; `None` once the first was given.
    end: Option<u64>,
}

impl<'a> LastFirst<'a> {
    /// The lines of the first `size` bytes. What stands behind the last line end is left out.
    pub(super) fn new(file: &'a File, size: u64) -> io::Result<Self> {
        let mut ends = Backwards::new(file, size);
        let end = ends.line_end()?;
        Ok(Self { file, ends, end })
    }

    /// Where the whole lines end: behind the last line end.
    pub(super) fn whole(&self) -> u64 {
        self.end.map_or(0, |end| end + 1)
    }

    /// The line before; its bytes are empty where it is too long.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let Some(end) = self.end else {
            return Ok(None);
        };
        self.end = self.ends.line_end()?;
        let start = self.end.map_or(0, |before| before + 1);
        line.clear();
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        if length <= LINE_MAX {
            line.resize(length, 0);
            self.file.read_exact_at(line, start)?;
        }
        Ok(Some(start))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn backwards(content: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let file = file(content);
        let mut lines = LastFirst::new(&file, content.len() as u64).unwrap();
        let (mut found, mut line) = (vec![], vec![]);
        while let Some(start) = lines.next(&mut line).unwrap() {
            found.push((start, line.clone()));
        }
        found
    }

    #[test]
    fn backwards_is_forwards_turned_round() {
        let long = vec![b'x'; 3 * BLOCK];
        let content = [b"a\n\n", &long[..], b"\nb\ntorn"].concat();
        let all = backwards(&content);
        let n = long.len() as u64;
        assert_eq!(
            all,
            [
                (n + 4, b"b".to_vec()),
                (3, long),
                (2, vec![]),
                (0, b"a".to_vec()),
            ]
        );
        assert_eq!(backwards(b""), []);
        assert_eq!(backwards(b"torn"), []);
        assert_eq!(backwards(b"\n"), [(0, vec![])]);
    }

    #[test]
    fn a_line_without_end_is_held_by_nobody() {
        let mut line = Vec::new();
        let endless = io::Read::take(io::repeat(b'x'), 3 * LINE_MAX as u64);
        let mut reader = io::BufReader::new(io::Read::chain(endless, &b"\nnext\nto"[..]));
        assert_eq!(next(&mut reader, &mut line).unwrap(), Next::TooLong);
        assert!(line.capacity() <= 2 * LINE_MAX);
        assert_eq!(next(&mut reader, &mut line).unwrap(), Next::Line);
        assert_eq!(line, b"next");
        assert_eq!(next(&mut reader, &mut line).unwrap(), Next::Torn);
        assert_eq!(next(&mut reader, &mut line).unwrap(), Next::End);
    }
}
