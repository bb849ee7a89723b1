//! Files of lines: appended to durably, under a lock, and never cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use app::faults::{self, Act, Deed, Thing};
use rustix::fs::{FlockOperation, flock};

use crate::{
    HeadsError,
    lines::{AnyLine, SignedHead},
};

/// The last head stands within so many bytes of the end, behind at most a few key lines.
const TAIL: u64 = 4_096;

/// Held while its file is open.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock goes with the file")] File);

/// The right to write heads and keys, beside the file of heads.
pub(crate) fn lock(heads: &Path, waits: bool) -> Result<Option<Lock>, HeadsError> {
    let path = heads.with_file_name("lock");
    make_folder(&path).map_err(HeadsError::io("make the folder of", &path))?;
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = open.map_err(HeadsError::io("open", &path))?;
    let how = if waits {
        FlockOperation::LockExclusive
    } else {
        FlockOperation::NonBlockingLockExclusive
    };
    loop {
        match flock(&file, how) {
            Ok(()) => return Ok(Some(Lock(file))),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(errno) => return Err(HeadsError::io("lock", &path)(errno.into())),
        }
    }
}

fn make_folder(of: &Path) -> io::Result<()> {
    let Some(folder) = of.parent() else {
        return Ok(());
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file of lines.
#[derive(Debug)]
pub(crate) struct Place<'p>(&'p Path);

impl<'p> Place<'p> {
    pub(crate) fn new(path: &'p Path) -> Self {
        Self(path)
    }

    /// Its length; 0 where it is missing.
    pub(crate) fn length(&self) -> Result<u64, HeadsError> {
        match fs::metadata(self.0) {
            Ok(meta) => Ok(meta.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(HeadsError::io("read", self.0)(error)),
        }
    }

    pub(crate) fn has_lines(&self) -> Result<bool, HeadsError> {
        Ok(self.length()? > 0)
    }

    /// Whether a key is introduced, mostly by the first line. A line that a killed process left
    /// unfinished introduces nobody.
    pub(crate) fn introduces_a_key(&self) -> Result<bool, HeadsError> {
        let read = || HeadsError::io("read", self.0);
        let file = match File::open(self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(read()(error)),
        };
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(AnyLine::Key(_)) = serde_json::from_slice(&line.map_err(read())?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds lines, which have reached the disk when this returns. What a killed process left
    /// unfinished becomes a line of its own that nobody can read.
    pub(crate) fn append(&self, lines: &str) -> Result<(), HeadsError> {
        self.add(lines).map_err(HeadsError::io("write", self.0))
    }

    fn add(&self, lines: &str) -> io::Result<()> {
        make_folder(self.0)?;
        let is_new = !self.0.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(self.0)?;
        let mut text = String::new();
        if ends_unfinished(&mut file)? {
            text.push('\n');
        }
        text.push_str(lines);
        faults::write(act(Deed::Write), &mut file, text.as_bytes())?;
        faults::around(act(Deed::Sync), || file.sync_data())?;
        match self.0.parent() {
            Some(folder) if is_new => sync_folder(folder),
            _ => Ok(()),
        }
    }

    /// Adds what was added to `first` behind `before`, and all that it lacks of what came earlier,
    /// where it is a beginning of that file.
    pub(crate) fn follow(&self, first: &Self, before: u64, line: &str) -> Result<(), HeadsError> {
        let own = self.length()?;
        if own == before {
            return self.append(line);
        }
        let missing = first.rest_behind(self, own.min(before))?;
        self.append(missing.as_deref().unwrap_or(line))
    }

    /// What stands behind a beginning that is all of `other`; nothing where it is not.
    fn rest_behind(&self, other: &Self, length: u64) -> Result<Option<String>, HeadsError> {
        let whole = fs::read(self.0).map_err(HeadsError::io("read", self.0))?;
        let known = if length == 0 {
            vec![]
        } else {
            fs::read(other.0).map_err(HeadsError::io("read", other.0))?
        };
        let rest = whole.strip_prefix(known.as_slice());
        Ok(rest.map(|rest| String::from_utf8_lossy(rest).into_owned()))
    }

    /// The last head within reach of the end.
    pub(crate) fn last_head(&self) -> Result<Option<SignedHead>, HeadsError> {
        let read = || HeadsError::io("read", self.0);
        let mut file = match File::open(self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read()(error)),
        };
        let length = file.seek(SeekFrom::End(0)).map_err(read())?;
        let start = length.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(start)).map_err(read())?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail).map_err(read())?;
        let tail = String::from_utf8_lossy(&tail);
        let heads = tail
            .lines()
            .rev()
            .filter_map(|line| match serde_json::from_str(line) {
                Ok(AnyLine::Head(head)) => Some(head),
                Ok(AnyLine::Key(_)) | Err(_) => None,
            });
        Ok(heads.into_iter().next())
    }
}

fn act(deed: Deed) -> Act {
    Act::new(Thing::Heads, deed)
}

fn ends_unfinished(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}
