//! One task's folder, brought to what the store holds.

use std::{ops::ControlFlow, path::Path};

use domain::task::{Paper, Task, TaskEvent, TaskKind};

use super::{Agreement, RepairError, Row, Standing, compare};
use crate::{
    crash_points::CrashPoint,
    error::Error,
    event::StreamKind,
    history::{self, EventRecord},
    papers::Papers,
    ports::{
        checkpoints::Checkpoints,
        folders::Folders,
        journal::{Finding, Journal, LogItem, NewEntry},
        layers::{Layer, Layers},
        store::Store,
    },
    query::{Query, View},
};

/// Events that are read in one go.
const PAGE: usize = 256;

/// What repairing works with.
#[derive(Debug, Clone, Copy)]
pub struct Repairer<'a> {
    /// The truth.
    pub store: &'a dyn Store,
    /// Images.
    pub folders: &'a dyn Folders,
    /// Logs.
    pub journal: &'a dyn Journal,
    /// Every layer, as it is found.
    pub layers: &'a dyn Layers,
    /// Checkpoints.
    pub checkpoints: &'a dyn Checkpoints,
    /// Whether a folder that tells of more than the store is brought back to it; what it told is
    /// kept aside.
    pub store_wins: bool,
}

impl Repairer<'_> {
    /// Looks at a task's folder and makes again what is not as it was written.
    ///
    /// # Errors
    /// Where the store cannot be read or the folder cannot be written.
    pub fn task(&self, root: &Path, task: &Task, papers: &Papers) -> Result<Row, RepairError> {
        let mut row = Row::default();
        if let Some(aside) = self.layers.clear_way(root, task.id)? {
            row.found(&task.id.to_string(), "it was no folder");
            row.done
                .push(format!("made the folder; what was there is {aside}"));
        }
        let is_new = !self.layers.listing(root)?.tasks.contains(&task.id);
        let events = events(self.store, task)?;
        self.log(root, task, &events, &mut row)?;
        CrashPoint::LogRepaired.reached();
        if !row.is_ahead {
            self.image(root, task, &mut row)?;
            CrashPoint::ImageRepaired.reached();
        }
        for paper in Paper::ALL {
            self.paper(root, task, papers, paper, &mut row)?;
        }
        for found in self.checkpoints.list(root, task.id, true)? {
            for what in found.findings {
                row.found(&format!("checkpoints/{}", found.id), what);
                row.is_open = true;
            }
        }
        for name in self.layers.foreign(root, task.id)? {
            row.found(&name, "it was never written there: it is left as it is");
        }
        if is_new {
            row.missing = self.only_there(task, &events)?;
        }
        Ok(row)
    }

    fn log(
        &self,
        root: &Path,
        task: &Task,
        events: &[EventRecord],
        row: &mut Row,
    ) -> Result<(), RepairError> {
        let (log, broken) = read(self.journal, root, task)?;
        let agreement = compare(events, &log);
        match &agreement {
            Agreement::Ahead { events, entry } if !self.store_wins => {
                let what = format!("from entry {entry} on it tells of {events} events more");
                row.found("logs.jsonl", what);
                (row.is_ahead, row.is_open) = (true, true);
                return Ok(());
            }
            Agreement::Ahead { events, entry } => {
                let what = format!("from entry {entry} on it told of {events} events more");
                row.found("logs.jsonl", what);
            }
            Agreement::Differs { what, .. } => row.found("logs.jsonl", what),
            Agreement::Same if broken.is_empty() => return Ok(()),
            Agreement::Behind(_) if broken.is_empty() => {
                return self.append(root, task, events, log.len(), row);
            }
            Agreement::Same | Agreement::Behind(_) => {}
        }
        row.findings.extend(broken);
        let entries = entries(events)?;
        let made = self.journal.rewrite(root, task.id, &entries)?;
        let mut said = format!("made logs.jsonl again with {} entries", made.entries);
        if !made.aside.is_empty() {
            said = format!("{said}; the old one is {}", made.aside.join(", "));
        }
        row.done.push(said);
        Ok(())
    }

    fn append(
        &self,
        root: &Path,
        task: &Task,
        events: &[EventRecord],
        known: usize,
        row: &mut Row,
    ) -> Result<(), RepairError> {
        let after = known.checked_sub(1).map_or(0, |last| events[last].position);
        let new = entries(&events[known..])?;
        self.journal.project(root, task.id, after, &new)?;
        row.done.push(match known {
            0 => format!("made logs.jsonl with {} entries", new.len()),
            _ => format!("added {} entries to logs.jsonl", new.len()),
        });
        Ok(())
    }

    fn image(&self, root: &Path, task: &Task, row: &mut Row) -> Result<(), RepairError> {
        match self.layers.image(root, task.id)? {
            Layer::Whole(image) if image == *task => return Ok(()),
            Layer::Whole(image) if image.version < task.version => {
                self.folders.show_task(root, task)?;
                row.done.push("brought state.json up to date".to_owned());
                return Ok(());
            }
            Layer::Missing => {
                self.folders.show_task(root, task)?;
                row.done.push("made state.json".to_owned());
                return Ok(());
            }
            Layer::Whole(image) if image.version == task.version => {
                row.found("state.json", "it shows something else than the store holds");
            }
            // Somebody else has changed the task since.
            Layer::Whole(_) if self.present(task)?.version != task.version => return Ok(()),
            Layer::Whole(image) => {
                let what = format!("it shows version {} of {}", image.version, task.version);
                row.found("state.json", what);
                if !self.store_wins {
                    (row.is_ahead, row.is_open) = (true, true);
                    return Ok(());
                }
            }
            Layer::Broken(why) => row.found("state.json", why),
        }
        self.layers.write_image(root, task)?;
        // What was committed meanwhile was perhaps shown before.
        self.folders.show_task(root, &self.present(task)?)?;
        row.done
            .push("made state.json again; the old one is kept aside".to_owned());
        Ok(())
    }

    fn present(&self, task: &Task) -> Result<Task, Error> {
        match self.store.read(&Query::Task { id: task.id })? {
            View::Task { details } => Ok(details.view.task),
            _ => Err(Error::corrupt("a task was answered by something else")),
        }
    }

    /// What a person wrote was taken into the store before.
    fn paper(
        &self,
        root: &Path,
        task: &Task,
        papers: &Papers,
        paper: Paper,
        row: &mut Row,
    ) -> Result<(), RepairError> {
        let file = format!("{}.md", paper.as_str());
        let has_plan =
            paper == Paper::Plan && task.spec.kind == TaskKind::Managed && task.fence > 0;
        let first = || has_plan.then(|| self.layers.first_plan(task));
        let text = papers.get(&paper).cloned().or_else(first);
        let verb = match self.layers.paper(root, task.id, paper)? {
            Layer::Whole(_) => return Ok(()),
            Layer::Missing => "made",
            Layer::Broken(why) => {
                row.found(&file, why);
                row.is_open |= text.is_none();
                "made again"
            }
        };
        if let Some(text) = text {
            self.layers.write_paper(root, task.id, paper, &text)?;
            row.done.push(format!("{verb} {file}"));
        }
        Ok(())
    }

    /// Transcripts, and what checkpoints keep, are nowhere else than in the folder.
    fn only_there(&self, task: &Task, events: &[EventRecord]) -> Result<Vec<String>, Error> {
        let View::Task { details } = self.store.read(&Query::Task { id: task.id })? else {
            return Err(Error::corrupt("a task was answered by something else"));
        };
        let worked = details
            .sessions
            .iter()
            .filter(|session| session.started_at.is_some());
        let mut missing: Vec<String> = worked
            .map(|session| format!("sessions/{}: what its agent did and printed", session.id))
            .collect();
        for event in events
            .iter()
            .filter(|event| event.stream.kind == StreamKind::Task)
        {
            if let Ok(TaskEvent::Checkpointed { checkpoint, .. }) =
                serde_json::from_str(&event.payload)
            {
                missing.push(format!("checkpoints/{checkpoint}"));
            }
        }
        Ok(missing)
    }
}

/// Every event of a task and of its sessions.
pub(super) fn events(store: &dyn Store, task: &Task) -> Result<Vec<EventRecord>, Error> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let query = Query::TaskEvents {
            task: task.id,
            after,
            limit: PAGE,
        };
        let View::TaskEvents { events } = store.read(&query)? else {
            return Err(Error::corrupt("events were answered by something else"));
        };
        let is_last = events.len() < PAGE;
        after = events.last().map_or(after, |event| event.position);
        all.extend(events);
        if is_last {
            return Ok(all);
        }
    }
}

/// The events that a log tells of, and what in it is not as it was written.
pub(super) fn read(
    journal: &dyn Journal,
    root: &Path,
    task: &Task,
) -> Result<(Vec<Standing>, Vec<Finding>), RepairError> {
    let (mut log, mut broken) = (Vec::new(), Vec::new());
    journal.read_whole(root, task.id, &mut |item| {
        match item {
            LogItem::Finding(finding) => broken.push(finding),
            LogItem::Entry(entry) => log.extend(history::standing(&entry)),
        }
        ControlFlow::Continue(())
    })?;
    Ok((log, broken))
}

fn entries(events: &[EventRecord]) -> Result<Vec<NewEntry>, Error> {
    events.iter().map(history::entry).collect()
}
