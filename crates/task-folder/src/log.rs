//! A log that is rotated at a size, keeps a number of old files, and ends at a total.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::folders::{FolderError, LogLimits, LogSink},
};

use crate::dir::Dir;

/// See the module.
#[derive(Debug)]
pub(crate) struct FileLog {
    folder: Dir,
    name: &'static str,
    path: PathBuf,
    file: File,
    limits: LogLimits,
    /// In the present file.
    written: u64,
    /// In all files, those that are gone included.
    total: u64,
    is_cut: bool,
    fault: Option<String>,
}

impl FileLog {
    pub(crate) fn open(
        folder: Dir,
        name: &'static str,
        limits: LogLimits,
    ) -> Result<Self, FolderError> {
        let file = folder.open_append(name)?;
        let written = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self {
            path: folder.path().join(name),
            folder,
            name,
            file,
            limits,
            written,
            total: written,
            is_cut: false,
            fault: None,
        })
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() && !self.is_cut {
            if self.written >= self.limits.file_bytes {
                self.rotate()?;
            }
            let room = self.limits.file_bytes.saturating_sub(self.written).max(1);
            let allowed = self.limits.total_bytes.saturating_sub(self.total);
            let (now, later) = split(rest, room);
            if now.len() as u64 > allowed {
                self.cut()?;
                return Ok(());
            }
            self.write(now)?;
            rest = later;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        faults::write(
            Act::new(Thing::AgentLog, Deed::Write),
            &mut self.file,
            bytes,
        )?;
        self.written += bytes.len() as u64;
        self.total += bytes.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.is_cut = true;
        let total = self.total;
        self.write(format!("[crewboss] output was cut here, after {total} bytes\n").as_bytes())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let name = self.name;
        let numbered = |number: u32| match number {
            0 => name.to_owned(),
            _ => format!("{name}.{number}"),
        };
        for number in (0..self.limits.files_kept).rev() {
            self.folder
                .rename(&numbered(number), &numbered(number + 1))?;
        }
        if self.limits.files_kept == 0 {
            self.file.set_len(0)?;
        } else {
            let opened = self.folder.open_append(name);
            self.file = opened.map_err(|error| error.source)?;
        }
        self.written = 0;
        Ok(())
    }
}

impl LogSink for FileLog {
    fn path(&self) -> &Path {
        &self.path
    }

    fn append(&mut self, lines: &[u8]) {
        if let Err(error) = self.try_append(lines) {
            self.fault.get_or_insert_with(|| error.to_string());
        }
    }

    fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

/// As many whole lines as there is room for, but at least one; and the others.
fn split(lines: &[u8], room: u64) -> (&[u8], &[u8]) {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return (lines, &[]);
    }
    let fitting = lines[..room].iter().rposition(|byte| *byte == b'\n');
    let end = fitting.or_else(|| lines.iter().position(|byte| *byte == b'\n'));
    lines.split_at(end.map_or(lines.len(), |end| end + 1))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn limits(file_bytes: u64, files_kept: u32, total_bytes: u64) -> LogLimits {
        LogLimits {
            file_bytes,
            files_kept,
            total_bytes,
            ..LogLimits::default()
        }
    }

    fn open(path: &Path, limits: LogLimits) -> FileLog {
        FileLog::open(Dir::root(path).unwrap(), "agent.log", limits).unwrap()
    }

    #[test]
    fn a_full_file_is_renamed_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), limits(10, 2, 1_000));
        log.append(b"line 1\nline 2\nline 3\n");
        for number in 4..8 {
            log.append(format!("line {number}\n").as_bytes());
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("agent.log"), "line 7\n");
        assert_eq!(read("agent.log.1"), "line 5\nline 6\n");
        assert!(read("agent.log.2").ends_with("line 4\n"));
        assert!(!dir.path().join("agent.log.3").exists());
        assert_eq!(log.fault(), None);
    }

    #[test]
    fn after_the_total_one_line_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = open(dir.path(), limits(1_000, 2, 20));
        for _ in 0..10 {
            log.append(b"0123456\n");
        }
        let text = fs::read_to_string(dir.path().join("agent.log")).unwrap();
        assert_eq!(
            text,
            "0123456\n0123456\n[crewboss] output was cut here, after 16 bytes\n"
        );
    }

    #[test]
    fn a_log_that_cannot_be_written_says_why_once() {
        let mut log = open(
            tempfile::tempdir().unwrap().path(),
            limits(1_000, 2, 1_000_000),
        );
        let Ok(full) = File::options().append(true).open("/dev/full") else {
            return;
        };
        log.file = full;
        log.append(b"x\n");
        log.append(b"y\n");
        assert!(log.fault().is_some_and(|why| why.contains("space")));
    }
}
