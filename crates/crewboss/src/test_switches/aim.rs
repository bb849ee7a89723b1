//! One fault at one moment.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::PathBuf,
    sync::OnceLock,
    thread,
    time::Duration,
};

use app::{crash_points::CrashPoint, faults::Act};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Signal, getpid, kill_process},
};

/// What happens where.
#[derive(Debug)]
pub(super) struct Aim {
    point: String,
    moment: String,
    /// At which time that the moment comes, counted from 1.
    hit: u64,
    what: What,
    /// Counts over all processes that share it, one byte for each time; it happens once among them.
    counter: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// The process ends at once.
    Kill,
    /// The system says this.
    Fail(Errno),
    /// Nothing goes on for so long.
    Stall(Duration),
}

static AIM: OnceLock<Aim> = OnceLock::new();

impl Aim {
    /// Understands `journal-write,within,2,kill`, where the last is `kill`, `eio`, `enospc` or
    /// `stall:<milliseconds>`. Whether it was understood.
    pub(super) fn take(text: &str, counter: Option<PathBuf>) -> bool {
        let parts: Vec<&str> = text.split(',').collect();
        let [point, moment, hit, what] = parts[..] else {
            return false;
        };
        let what = match what.split_once(':') {
            Some(("stall", millis)) => millis
                .parse()
                .ok()
                .map(Duration::from_millis)
                .map(What::Stall),
            Some(_) => None,
            None => match what {
                "kill" => Some(What::Kill),
                "eio" => Some(What::Fail(Errno::IO)),
                "enospc" => Some(What::Fail(Errno::NOSPC)),
                _ => None,
            },
        };
        let (Ok(hit), Some(what)) = (hit.parse(), what) else {
            return false;
        };
        let aim = Self {
            point: point.to_owned(),
            moment: moment.to_owned(),
            hit,
            what,
            counter,
        };
        AIM.set(aim).is_ok()
    }

    /// How often the moment has come now. Where that cannot be counted, it never comes.
    fn count(&self) -> io::Result<u64> {
        let Some(counter) = &self.counter else {
            return Ok(self.hit);
        };
        let mut file = OpenOptions::new().create(true).append(true).open(counter)?;
        flock(&file, FlockOperation::LockExclusive)?;
        file.write_all(b".")?;
        Ok(file.metadata()?.len())
    }
}

/// A moment at which nothing can fail.
pub(super) fn come(point: &str, moment: &str) {
    // A failure there is none of the system's.
    drop(come_to(point, moment));
}

/// A moment of an act.
pub(super) fn come_to(point: &str, moment: &str) -> io::Result<()> {
    let Some(aim) = AIM
        .get()
        .filter(|aim| aim.point == point && aim.moment == moment)
    else {
        return Ok(());
    };
    if aim.count().unwrap_or(0) != aim.hit {
        return Ok(());
    }
    match aim.what {
        What::Kill => die(),
        What::Fail(errno) => Err(errno.into()),
        What::Stall(time) => {
            thread::sleep(time);
            Ok(())
        }
    }
}

/// Ends this process as `kill -9` does: nothing is flushed, dropped or told.
pub(super) fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

/// Every point that a campaign comes by, with its moments, a line each.
pub(super) fn list() {
    let mut lines = String::new();
    for point in CrashPoint::every() {
        lines = lines + point.as_str() + " at\n";
    }
    for act in Act::all() {
        for when in act.moments() {
            lines = format!("{lines}{act} {when}\n");
        }
    }
    drop(io::stdout().write_all(lines.as_bytes()));
}
