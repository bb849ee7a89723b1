//! What may happen where.

use std::{fmt, process::Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{chaos::dice::Dice, shell};

/// A piece of work of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    /// An agent in a plain folder.
    Folder,
    /// An agent in a worktree.
    Worktree,
    /// A runner that dies, and whoever finds that.
    Recovery,
    /// A task that an agent outside holds.
    External,
    /// Checkpoints of a task at work.
    Checkpoints,
    /// Copies, keys, archive, deletion.
    Upkeep,
    /// A task with work and a checkpoint that is deleted and purged.
    Purging,
    /// The folder of a task is lost.
    LostFolder,
    /// The store is lost.
    LostStore,
    /// A copy of the store is put in its place.
    Restoring,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Kill,
    InputOutput,
    NoSpace,
    Stall(u64),
}

/// One of the program's named moments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) point: String,
    pub(super) when: String,
}

/// Everything about one fault.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) moment: Moment,
    pub(super) hit: u64,
    pub(super) what: What,
    pub(super) work: Work,
}

/// Not the program's own moment: the system lets no file grow beyond some byte behind the end of the
/// store's log, so that SQLite's writes stop short there, with an error or the end of the process.
pub(super) const STORE_BYTE: &str = "store-byte";

/// Bytes that a change writes into the store's log, roughly.
const CHANGE_BYTES: u64 = 60_000;

/// All of the program's named moments.
#[derive(Debug)]
pub(super) struct Moments(pub(super) Vec<Moment>);

impl Moments {
    /// As the program lists them.
    pub(super) fn of_the_program() -> Result<Self> {
        let output = shell::program(shell::target().join("debug/crewboss"))
            .env("CREWBOSS_FAULT", "list")
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let mut moments = Vec::new();
        for line in text.lines() {
            let (point, when) = line.split_once(' ').context("no moment in a line")?;
            if works(point).is_empty() {
                bail!("no work comes by `{point}`");
            }
            moments.push(Moment {
                point: point.to_owned(),
                when: when.to_owned(),
            });
        }
        if moments.is_empty() {
            bail!("the program has no moments: it is no debug build");
        }
        moments.push(Moment {
            point: STORE_BYTE.to_owned(),
            when: "within".to_owned(),
        });
        Ok(Self(moments))
    }

    /// Those alone whose point begins like this.
    pub(super) fn at(mut self, point: &str) -> Result<Self> {
        self.0.retain(|moment| moment.point.starts_with(point));
        if self.0.is_empty() {
            bail!("no point begins with `{point}`");
        }
        Ok(self)
    }

    pub(super) fn pick(&self, dice: &mut Dice) -> Fault {
        let is_byte = |moment: &&Moment| moment.point == STORE_BYTE;
        // It stands for every byte that SQLite writes.
        let moment = match self.0.iter().find(is_byte) {
            Some(byte) if dice.below(10) == 0 => byte.clone(),
            _ => pick(dice, &self.0).clone(),
        };
        let work = *pick(dice, works(&moment.point));
        let what = what(dice, &moment);
        if moment.point == STORE_BYTE {
            let hit = 1 + dice.below(CHANGE_BYTES);
            return Fault {
                moment,
                hit,
                what,
                work,
            };
        }
        let hits = hits(&moment.point);
        // The first time is the likeliest to come.
        let hit = 1 + dice.below(hits).min(dice.below(hits));
        Fault {
            moment,
            hit,
            what,
            work,
        }
    }
}

pub(super) fn pick<'a, T>(dice: &mut Dice, of: &'a [T]) -> &'a T {
    let number = dice.below(of.len() as u64);
    &of[usize::try_from(number).unwrap_or(0)]
}

fn what(dice: &mut Dice, moment: &Moment) -> What {
    let stall = What::Stall(20 + dice.below(180));
    // At a moment of the program's own nothing can fail, and a process that was started runs.
    if moment.when == "at" || (moment.point.ends_with("-spawn") && moment.when == "after") {
        return if dice.below(4) == 0 {
            stall
        } else {
            What::Kill
        };
    }
    let kinds = if moment.point == STORE_BYTE { 8 } else { 10 };
    match dice.below(kinds) {
        0..4 => What::Kill,
        4..6 => What::InputOutput,
        6..8 => What::NoSpace,
        _ => stall,
    }
}

/// Which work comes by.
fn works(point: &str) -> &'static [Work] {
    const AGENTS: &[Work] = &[Work::Folder, Work::Worktree];
    match point {
        "logged" | "state-write" | "state-rename" | "journal-write" | "store-commit"
        | STORE_BYTE => &[
            Work::Folder,
            Work::Worktree,
            Work::Recovery,
            Work::External,
            Work::Checkpoints,
            Work::Upkeep,
            Work::Purging,
            Work::LostFolder,
            Work::LostStore,
            Work::Restoring,
        ],
        "store-empty" => &[
            Work::Folder,
            Work::External,
            Work::Recovery,
            Work::LostStore,
        ],
        "claimed"
        | "runner-started"
        | "begun"
        | "workspace-made"
        | "prepared"
        | "agent-started"
        | "agent-ended"
        | "committed"
        | "checked"
        | "outcome-written"
        | "cleared"
        | "finished"
        | "plan-write"
        | "plan-rename"
        | "outcome-write"
        | "outcome-sync"
        | "outcome-rename"
        | "outcome-sync-folder"
        | "agent-log-write"
        | "runner-spawn"
        | "agent-spawn" => AGENTS,
        "published" | "worktree-make" | "worktree-remove" => &[Work::Worktree],
        "reference-move" => &[Work::Worktree, Work::Checkpoints],
        "folder-make" => &[Work::Folder, Work::Recovery],
        "folder-remove" => &[Work::Folder],
        "leftovers-ended" | "salvaged" => &[Work::Recovery],
        "journal-sync"
        | "journal-rename"
        | "packed-journal-write"
        | "packed-journal-rename"
        | "packed-journal-remove"
        | "decisions-write"
        | "decisions-sync"
        | "decisions-rename"
        | "decisions-sync-folder" => &[Work::External],
        "reference-remove" => &[Work::Checkpoints, Work::Purging],
        "task-folder-remove" => &[Work::Upkeep, Work::Purging],
        "retired" | "purged" | "purged-checkpoints" => &[Work::Purging],
        "log-repaired" | "image-repaired" => &[Work::LostFolder],
        "store-aside" | "store-rebuilt" => &[Work::LostStore],
        "restore-linked" | "restore-replaced" => &[Work::Restoring],
        _ if ["checkpoint", "manifest", "rewound"]
            .iter()
            .any(|kind| point.starts_with(kind)) =>
        {
            &[Work::Checkpoints]
        }
        _ if point.starts_with("heads") || point.starts_with("key") => &[Work::Upkeep],
        _ if point.starts_with("backup") => &[Work::Upkeep],
        _ => &[],
    }
}

/// How often a moment comes in a round at most, roughly.
fn hits(point: &str) -> u64 {
    match point {
        "store-commit" => 12,
        "state-write" | "state-rename" | "journal-write" | "logged" => 7,
        "reference-move" => 3,
        "journal-sync" | "decisions-write" | "decisions-sync" | "decisions-rename"
        | "heads-write" | "heads-sync" | "checkpoint-rename" | "manifest-write" => 2,
        _ => 1,
    }
}

impl Fault {
    /// Whether it waits at a point of this name.
    pub(super) fn needs(&self, point: &str) -> bool {
        self.moment.point.starts_with(point)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("kill"),
            Self::InputOutput => f.write_str("eio"),
            Self::NoSpace => f.write_str("enospc"),
            Self::Stall(millis) => write!(f, "stall:{millis}"),
        }
    }
}

/// As `CREWBOSS_FAULT` has it.
impl Fault {
    pub(super) fn variable(&self) -> String {
        let Moment { point, when } = &self.moment;
        format!("{point},{when},{},{}", self.hit, self.what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.variable(), self.work)
    }
}
