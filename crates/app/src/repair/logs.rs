//! Whether a task's log is what was written, and what the store tells.

use std::path::Path;

use domain::task::Task;

use super::{Agreement, RepairError, compare, folder};
use crate::{
    event::StreamKind,
    ports::{
        journal::{Breach, Finding, Journal},
        layers::{Layer, Layers},
        store::Store,
    },
};

/// What a task's log turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogVerdict {
    /// It tells of every event of the store, and every line is as it was written.
    Whole,
    /// It ends before so many events, which whoever comes next appends.
    Behind(u64),
    /// It is not what was written.
    Fault {
        /// `edited`, `inserted`, `reordered`, `removed`, `truncated` or `unreadable`.
        what: &'static str,
        /// The first line, and how it shows.
        finding: Finding,
    },
}

/// Holds a task's log against its chain and against the store.
///
/// # Errors
/// Where the store or the folder cannot be read.
pub fn verify_log(
    store: &dyn Store,
    journal: &dyn Journal,
    layers: &dyn Layers,
    root: &Path,
    task: &Task,
) -> Result<LogVerdict, RepairError> {
    let verdict = journal.verify(root, task.id)?;
    if let Some((breach, finding)) = verdict.breach
        && breach != Breach::Torn
    {
        let what = breach.as_str();
        return Ok(LogVerdict::Fault { what, finding });
    }
    // Read first: what is committed after it is missing from it, and not the other way round.
    let (log, _) = folder::read(journal, root, task)?;
    let events = folder::events(store, task)?;
    let at = |entry: u64, what: String| Finding {
        file: "logs.jsonl".to_owned(),
        line: entry,
        what,
    };
    let fault = |what, finding| Ok(LogVerdict::Fault { what, finding });
    match compare(&events, &log) {
        Agreement::Same => Ok(LogVerdict::Whole),
        Agreement::Ahead { events, entry } => {
            let told = format!("the store does not know {events} events from here on");
            fault("inserted", at(entry, told))
        }
        Agreement::Differs { entry, what } => fault("edited", at(entry, what)),
        Agreement::Behind(missing) => {
            let behind = &events[log.len()..];
            let tells_of_task = behind
                .iter()
                .any(|event| event.stream.kind == StreamKind::Task);
            let is_shown = match layers.image(root, task.id)? {
                Layer::Whole(image) => image.version >= task.version,
                Layer::Missing | Layer::Broken(_) => false,
            };
            let is_live = !task.sessions().is_empty();
            if is_shown && (tells_of_task || !is_live) {
                let end = log.last().map_or(0, |last| last.entry);
                let what = format!("{missing} events are missing behind entry {end}");
                return fault("truncated", at(end, what));
            }
            Ok(LogVerdict::Behind(missing))
        }
    }
}
