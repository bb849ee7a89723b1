//! A task's log: appended to by every session, moved aside at a size, ended at a total.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use app::ports::folders::{FolderError, LogLimits, LogSink};

use crate::dir::Dir;

/// See the module.
#[derive(Debug)]
pub(crate) struct TaskLog {
    folder: Dir,
    name: String,
    path: PathBuf,
    file: File,
    limits: LogLimits,
    /// In the present file.
    size: u64,
    /// In all of this session's files.
    total: u64,
    is_cut: bool,
    fault: Option<String>,
}

impl TaskLog {
    pub(crate) fn open(folder: Dir, name: String, limits: LogLimits) -> Result<Self, FolderError> {
        let file = folder.open_append(&name)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Self {
            path: folder.path().join(&name),
            folder,
            name,
            file,
            limits,
            size,
            total: 0,
            is_cut: false,
            fault: None,
        })
    }

    fn try_append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_cut {
            return Ok(());
        }
        if self.size > 0 && self.size >= self.limits.file_bytes {
            self.rotate()?;
        }
        let bytes = lines.len() as u64;
        if self.total.saturating_add(bytes) > self.limits.total_bytes {
            self.is_cut = true;
            let total = self.total;
            let last = format!("[crewboss] output was cut here, after {total} bytes\n");
            return self.file.write_all(last.as_bytes());
        }
        self.file.write_all(lines)?;
        self.size += bytes;
        self.total += bytes;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: u32| match number {
            0 => self.name.clone(),
            _ => format!("{}.{number}", self.name),
        };
        for number in (0..self.limits.files_kept).rev() {
            self.folder
                .rename(&numbered(number), &numbered(number + 1))?;
        }
        if self.limits.files_kept == 0 {
            self.file.set_len(0)?;
        } else {
            self.file = self
                .folder
                .open_append(&self.name)
                .map_err(|error| error.source)?;
        }
        self.size = 0;
        Ok(())
    }
}

impl LogSink for TaskLog {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_goes_on_rotates_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits {
            file_bytes: 12,
            files_kept: 1,
            total_bytes: 20,
            ..LogLimits::default()
        };
        let open = || {
            TaskLog::open(
                Dir::root(dir.path()).unwrap(),
                "task_1.log".to_owned(),
                limits,
            )
            .unwrap()
        };
        let mut first = open();
        first.append(b"one\n");
        drop(first);
        let mut second = open();
        for line in ["two two\n", "three\n", "four\n", "five\n", "six\n"] {
            second.append(line.as_bytes());
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("task_1.log.1"), "one\ntwo two\n");
        let last = "three\nfour\n[crewboss] output was cut here, after 19 bytes\n";
        assert_eq!(read("task_1.log"), last);
        assert_eq!(second.fault(), None);
    }
}
