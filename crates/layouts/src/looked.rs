//! When all files of a large folder were last looked at, so that not every command has to.
//!
//! A file that is made, replaced or removed changes its folder, and is always noticed. One that is
//! changed in place, and one that is replaced at the very moment at which we write, is noticed with
//! the next change or after [`FRESH_MILLIS`]. Folders with fewer than [`LARGE`] tasks are looked at
//! each time.

use app::ports::folders::FolderError;
use domain::time::Timestamp;

use crate::dir::{Dir, Stamp};

/// So many files are looked at in some hundredths of a second.
pub(crate) const LARGE: usize = 5_000;

/// How long a look counts.
const FRESH_MILLIS: i64 = 60_000;

/// Ours, inside the base's own folder.
const FILE: &str = "looked";

/// The two folders as they were, the number of tasks, and when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Looked {
    tasks: Stamp,
    shown: Stamp,
    at: i64,
}

impl Looked {
    /// The folders as they are.
    pub(crate) fn now(tasks: &Dir, shown: &Dir, now: Timestamp) -> Option<Self> {
        Some(Self {
            tasks: tasks.own_stamp()?,
            shown: shown.own_stamp()?,
            at: now.as_millis(),
        })
    }

    /// What was written down last.
    pub(crate) fn read(home: &Dir) -> Option<Self> {
        let bytes = home.read(FILE, 1_024).ok()??;
        let text = String::from_utf8(bytes).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        let mut stamp = || Some(Stamp::new(next()?, next()?, next()?));
        let (tasks, shown) = (stamp()?, stamp()?);
        Some(Self {
            tasks,
            shown,
            at: next()?,
        })
    }

    /// Whether nothing has to be looked at again, the folders being as in `now`.
    pub(crate) fn still_counts(self, now: Self) -> bool {
        self.is_of(now) && (0..FRESH_MILLIS).contains(&(now.at - self.at))
    }

    /// Whether it was written of the folders as they are in `other`.
    pub(crate) fn is_of(self, other: Self) -> bool {
        (self.tasks, self.shown) == (other.tasks, other.shown)
    }

    /// The same look, the folders having changed by what we did ourselves.
    pub(crate) fn carried_to(self, now: Self) -> Self {
        Self { at: self.at, ..now }
    }

    pub(crate) fn write(self, home: &Dir) -> Result<(), FolderError> {
        let [tasks, shown] = [self.tasks, self.shown].map(Stamp::numbers);
        let numbers: Vec<String> = tasks
            .iter()
            .chain(&shown)
            .chain([&self.at])
            .map(i64::to_string)
            .collect();
        home.replace(FILE, numbers.join(" ").as_bytes(), None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_look_counts_for_a_minute_and_until_somebody_writes() {
        let dir = tempfile::tempdir().unwrap();
        let home = Dir::root(dir.path()).unwrap();
        let [tasks, shown] = ["tasks", "shown"].map(|name| home.made(name).unwrap());
        let at = |millis| Looked::now(&tasks, &shown, Timestamp::from_millis(millis)).unwrap();
        assert_eq!(Looked::read(&home), None);
        let first = at(5);
        first.write(&home).unwrap();
        let read = Looked::read(&home).unwrap();
        assert_eq!(read, first);
        assert!(read.still_counts(at(5)) && read.still_counts(at(60_004)));
        assert!(!read.still_counts(at(60_005)), "too long ago");
        assert!(!read.still_counts(at(4)), "the clock was set back");
        let time = std::time::SystemTime::UNIX_EPOCH;
        fs::File::open(dir.path().join("tasks"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert!(!read.still_counts(at(6)));
        assert!(read.carried_to(at(7)).still_counts(at(8)));
        fs::write(dir.path().join(FILE), "7 x").unwrap();
        assert_eq!(Looked::read(&home), None);
    }
}
