//! What the folders of a project tell of its store.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::Path,
};

use domain::{
    id::{ProjectId, TaskId},
    task::Task,
};
use serde::Deserialize;

use super::{RepairError, Standing};
use crate::{
    event::{Header, Stream, StreamKind},
    history,
    ports::{
        journal::{Finding, Journal, LogEntry, LogItem},
        layers::{Layer, Layers},
    },
    restore::Told,
};

/// What one project's folders tell.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The project, where anything says which.
    pub project: Option<ProjectId>,
    /// Its events, by file.
    pub events: Vec<Standing>,
    /// Tasks as their images show them.
    pub images: Vec<Task>,
    /// The highest epoch that `project.jsonl` tells of.
    pub epoch: u64,
    /// What is not as it was written, with the task in whose folder it is.
    pub findings: Vec<(Option<TaskId>, Finding)>,
}

#[derive(Deserialize)]
struct Rebuilt {
    epoch: u64,
}

/// Reads everything in a project's folders that tells of its store.
///
/// # Errors
/// Where the project's directory cannot be read at all.
pub fn gather(
    layers: &dyn Layers,
    journal: &dyn Journal,
    root: &Path,
) -> Result<Gathered, RepairError> {
    let mut gathered = Gathered::default();
    layers.read_project(root, &mut |item| gathered.take(None, item))?;
    let listing = layers.listing(root)?;
    for name in listing.foreign {
        let what = "it is no task's folder: it is left as it is".to_owned();
        gathered.findings.push((None, finding(&name, what)));
    }
    for task in listing.tasks {
        let read = journal.read_whole(root, task, &mut |item| gathered.take(Some(task), item));
        if let Err(error) = read {
            let what = format!("{error}: {}", error.source);
            gathered
                .findings
                .push((Some(task), finding("logs.jsonl", what)));
        }
        match layers.image(root, task) {
            Ok(Layer::Whole(image)) => gathered.images.push(image),
            Ok(Layer::Missing) => {}
            Ok(Layer::Broken(why)) => {
                gathered
                    .findings
                    .push((Some(task), finding("state.json", why)));
            }
            Err(error) => {
                let what = format!("{error}: {}", error.source);
                gathered
                    .findings
                    .push((Some(task), finding("state.json", what)));
            }
        }
    }
    gathered.decide_project();
    Ok(gathered)
}

fn finding(file: &str, what: String) -> Finding {
    Finding {
        file: file.to_owned(),
        line: 0,
        what,
    }
}

impl Gathered {
    fn take(&mut self, task: Option<TaskId>, item: LogItem) -> ControlFlow<()> {
        match item {
            LogItem::Finding(finding) => self.findings.push((task, finding)),
            LogItem::Entry(entry) => self.entry(task, &entry),
        }
        ControlFlow::Continue(())
    }

    fn entry(&mut self, task: Option<TaskId>, entry: &LogEntry) {
        match (history::standing(entry), &entry.data) {
            (Some(standing), _) => self.events.push(standing),
            (None, Some(data)) if task.is_none() => {
                if let Ok(rebuilt) = serde_json::from_str::<Rebuilt>(data.get()) {
                    self.epoch = self.epoch.max(rebuilt.epoch);
                }
            }
            (None, _) => {}
        }
    }

    /// The project is the one that most events belong to. Folders that were copied here from
    /// another project are none of it.
    fn decide_project(&mut self) {
        let owner = |told: &Told| {
            let header: Option<Header> = serde_json::from_slice(&told.header).ok();
            header.map(|header| header.project)
        };
        let mut counts: BTreeMap<ProjectId, usize> = BTreeMap::new();
        for standing in &self.events {
            if let Some(project) = owner(&standing.told) {
                *counts.entry(project).or_default() += 1;
            }
        }
        for image in &self.images {
            *counts.entry(image.project).or_default() += 1;
        }
        let most = counts.iter().max_by_key(|(_, count)| **count);
        self.project = most.map(|(project, _)| *project);
        let project = self.project;
        let mut foreign: BTreeMap<Stream, u64> = BTreeMap::new();
        self.events.retain(|standing| {
            let of = owner(&standing.told);
            let is_ours = of.is_none() || of == project;
            if !is_ours {
                *foreign.entry(standing.told.stream).or_default() += 1;
            }
            is_ours
        });
        self.images.retain(|image| Some(image.project) == project);
        for (stream, events) in foreign {
            let task = match stream.kind {
                StreamKind::Task => TaskId::from_number(stream.id),
                StreamKind::Project | StreamKind::Session => None,
            };
            let what = format!("{events} events of {stream} belong to another project");
            self.findings.push((task, finding("logs.jsonl", what)));
        }
    }
}

/// Brings what several files tell into one order: by position, and each stream by its own numbers.
/// What several files tell alike comes once.
#[must_use]
pub fn merge(mut standings: Vec<Standing>) -> Vec<Told> {
    standings.sort_by_key(|standing| standing.position);
    let mut streams: HashMap<Stream, Vec<Told>> = HashMap::new();
    let mut order = Vec::with_capacity(standings.len());
    for standing in standings {
        let of = streams.entry(standing.told.stream).or_default();
        // The same event has the same position wherever it is told: doubles stand side by side.
        if of.iter().rev().take(4).any(|known| *known == standing.told) {
            continue;
        }
        order.push(standing.told.stream);
        of.push(standing.told);
    }
    let mut streams: HashMap<Stream, std::vec::IntoIter<Told>> = streams
        .into_iter()
        .map(|(stream, mut of)| {
            of.sort_by_key(|told| told.seq);
            (stream, of.into_iter())
        })
        .collect();
    let next = |stream: &Stream| streams.get_mut(stream)?.next();
    order.iter().filter_map(next).collect()
}
