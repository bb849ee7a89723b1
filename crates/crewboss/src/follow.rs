//! Reads what an agent prints, as it is printed.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::fail::Fail;

/// Read at a time.
const CHUNK: usize = 64 * 1024;

/// A file that grows, and that may be renamed and begun anew.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    file: Option<File>,
}

impl Follower {
    /// From the beginning of the file, which need not exist yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// What was added since the last call.
    pub(crate) fn more(&mut self) -> Result<Vec<u8>, Fail> {
        let mut bytes = Vec::new();
        loop {
            if self.file.is_none() {
                self.file = open(&self.path)?;
            }
            let Some(file) = &mut self.file else {
                return Ok(bytes);
            };
            file.take(u64::try_from(CHUNK).unwrap_or(u64::MAX))
                .read_to_end(&mut bytes)
                .map_err(|error| cannot(&self.path, &error))?;
            if bytes.len() >= CHUNK || !self.is_replaced() {
                return Ok(bytes);
            }
            self.file = None;
        }
    }

    fn is_replaced(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|found| found.ino());
        let open = self
            .file
            .as_ref()
            .and_then(|file| file.metadata().ok())
            .map(|found| found.ino());
        match (now, open) {
            (Ok(now), Some(open)) => now != open,
            _ => false,
        }
    }

    /// Skips all but the last lines of what is there now.
    pub(crate) fn skip_to_last(&mut self, lines: usize) -> Result<(), Fail> {
        let Some(mut file) = open(&self.path)? else {
            return Ok(());
        };
        let start = start_of_last(&mut file, lines).map_err(|error| cannot(&self.path, &error))?;
        file.seek(SeekFrom::Start(start))
            .map_err(|error| cannot(&self.path, &error))?;
        self.file = Some(file);
        Ok(())
    }
}

fn open(path: &Path) -> Result<Option<File>, Fail> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot(path, &error)),
    }
}

fn cannot(path: &Path, error: &io::Error) -> Fail {
    Fail::io(format!("cannot read {}", path.display()), error)
}

/// Where the last lines begin.
fn start_of_last(file: &mut File, lines: usize) -> io::Result<u64> {
    let mut starts: VecDeque<u64> = VecDeque::with_capacity(lines.min(1024) + 1);
    let mut reader = BufReader::new(file);
    let (mut offset, mut line) = (0_u64, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        starts.push_back(offset);
        if starts.len() > lines {
            starts.pop_front();
        }
        offset += u64::try_from(read).unwrap_or(0);
    }
    Ok(starts.front().copied().unwrap_or(offset))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_added_is_read_once_and_a_new_file_from_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut follower = Follower::new(path.clone());
        assert_eq!(follower.more().unwrap(), b"");
        fs::write(&path, "one\n").unwrap();
        assert_eq!(follower.more().unwrap(), b"one\n");
        assert_eq!(follower.more().unwrap(), b"");
        fs::write(&path, "one\ntwo\n").unwrap();
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        fs::write(&path, "three\n").unwrap();
        assert_eq!(follower.more().unwrap(), b"two\nthree\n");
    }

    #[test]
    fn the_last_lines_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "a\nb\nc").unwrap();
        for (lines, expected) in [(0, ""), (1, "c"), (2, "b\nc"), (9, "a\nb\nc")] {
            let mut follower = Follower::new(path.clone());
            follower.skip_to_last(lines).unwrap();
            assert_eq!(follower.more().unwrap(), expected.as_bytes());
        }
    }
}
