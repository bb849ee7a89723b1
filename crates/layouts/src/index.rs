//! `tasks/index.json`: ids by status, agent and priority.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use domain::{id::TaskId, time::Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};

use crate::document::Document;

/// The lists of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    statuses: BTreeMap<String, BTreeSet<TaskId>>,
    agents: BTreeMap<String, BTreeSet<TaskId>>,
    /// By the number as text.
    priorities: BTreeMap<String, BTreeSet<TaskId>>,
}

/// The file as it is read: with many tasks that is most of what a command does.
#[derive(Deserialize)]
struct Read {
    #[serde(default, rename = "by_status")]
    statuses: BTreeMap<String, Vec<Named>>,
    #[serde(default, rename = "by_agent")]
    agents: BTreeMap<String, Vec<Named>>,
    #[serde(default, rename = "by_priority")]
    priorities: BTreeMap<String, Vec<Named>>,
}

/// A task, unless the text is no id.
struct Named(Option<TaskId>);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Named;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a task's id")
            }

            fn visit_str<E>(self, text: &str) -> Result<Named, E> {
                Ok(Named(text.parse().ok()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The file as it is written.
#[derive(Serialize)]
struct Written<'a> {
    by_status: &'a BTreeMap<String, BTreeSet<TaskId>>,
    by_agent: &'a BTreeMap<String, BTreeSet<TaskId>>,
    by_priority: &'a BTreeMap<String, BTreeSet<TaskId>>,
    count: usize,
    last_updated: String,
}

fn ids_of(lists: BTreeMap<String, Vec<Named>>) -> BTreeMap<String, BTreeSet<TaskId>> {
    let ids = |names: Vec<Named>| names.into_iter().filter_map(|Named(id)| id).collect();
    lists
        .into_iter()
        .map(|(group, names)| (group, ids(names)))
        .collect()
}

/// How an index differs from the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Tasks that have a file and are not in the index.
    pub missing: Vec<TaskId>,
    /// Tasks of the index that have no file, or another status, agent or priority.
    pub extra: Vec<TaskId>,
}

impl Drift {
    /// Whether there is no difference.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }
}

impl Index {
    /// The index of these documents.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Self {
        let mut index = Self::default();
        for document in documents {
            index.put(document);
        }
        index
    }

    /// An index file; what is no id in it is left out, and a broken file is an empty index.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        serde_json::from_slice::<Read>(bytes).map_or_else(
            |_broken| Self::default(),
            |file| Self {
                statuses: ids_of(file.statuses),
                agents: ids_of(file.agents),
                priorities: ids_of(file.priorities),
            },
        )
    }

    /// The file.
    #[must_use]
    pub fn render(&self, now: Timestamp) -> Vec<u8> {
        let file = Written {
            by_status: &self.statuses,
            by_agent: &self.agents,
            by_priority: &self.priorities,
            count: self.count(),
            last_updated: now.to_string(),
        };
        serde_json::to_vec_pretty(&file).expect("lists of strings")
    }

    /// Puts a task where it belongs now; says whether that changed anything.
    pub fn put(&mut self, document: &Document) -> bool {
        let before = self.places_of(document.id);
        let now = (
            vec![document.status.as_str().to_owned()],
            vec![document.agent.clone()],
            vec![document.priority.to_string()],
        );
        if before == now {
            return false;
        }
        self.remove(document.id);
        let (status, agent, priority) = now;
        for (groups, names) in [
            (&mut self.statuses, status),
            (&mut self.agents, agent),
            (&mut self.priorities, priority),
        ] {
            for name in names {
                groups.entry(name).or_default().insert(document.id);
            }
        }
        true
    }

    /// Takes a task out; says whether it was there.
    pub fn remove(&mut self, id: TaskId) -> bool {
        let mut was_there = false;
        for groups in [&mut self.statuses, &mut self.agents, &mut self.priorities] {
            for ids in groups.values_mut() {
                was_there |= ids.remove(&id);
            }
            groups.retain(|_, ids| !ids.is_empty());
        }
        was_there
    }

    /// Where it differs from what the files say.
    #[must_use]
    pub fn drift(&self, files: &Self) -> Drift {
        let (own, theirs) = (self.ids(), files.ids());
        let differs = |id: &&TaskId| self.places_of(**id) != files.places_of(**id);
        Drift {
            missing: theirs.difference(&own).copied().collect(),
            extra: own.iter().filter(differs).copied().collect(),
        }
    }

    /// How many tasks it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ids().len()
    }

    /// The sizes of its lists: by status, by agent, and by priority, highest first.
    #[must_use]
    pub fn sizes(&self) -> [Vec<(String, usize)>; 3] {
        let sizes = |groups: &BTreeMap<String, BTreeSet<TaskId>>| -> Vec<(String, usize)> {
            groups
                .iter()
                .map(|(name, ids)| (name.clone(), ids.len()))
                .collect()
        };
        let mut ranked = sizes(&self.priorities);
        ranked.sort_by_key(|(name, _)| std::cmp::Reverse(name.parse::<u8>().unwrap_or(0)));
        [sizes(&self.statuses), sizes(&self.agents), ranked]
    }

    fn ids(&self) -> BTreeSet<TaskId> {
        let groups = [&self.statuses, &self.agents, &self.priorities];
        groups
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .copied()
            .collect()
    }

    fn places_of(&self, id: TaskId) -> (Vec<String>, Vec<String>, Vec<String>) {
        let names = |groups: &BTreeMap<String, BTreeSet<TaskId>>| {
            let holding = groups.iter().filter(|(_, ids)| ids.contains(&id));
            holding.map(|(name, _)| name.clone()).collect()
        };
        (
            names(&self.statuses),
            names(&self.agents),
            names(&self.priorities),
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::{layout::Layout, reading::read_in_zone};

    fn document(number: u32, status: &str, priority: u8) -> Document {
        let json = format!(
            "{{\"taskId\":\"task_{number}\",\"agent\":\"a\",\"prompt\":\"p\",\
             \"status\":\"{status}\",\"priority\":{priority}}}"
        );
        let id = format!("task_{number}").parse().unwrap();
        read_in_zone(Layout::Orchestra, id, json.as_bytes(), &TimeZone::UTC)
            .unwrap()
            .0
    }

    #[test]
    fn it_follows_its_tasks_and_names_what_drifted() {
        let files = [document(1, "pending", 5), document(2, "failed", 10)];
        let mut index = Index::of(&files);
        assert_eq!(
            index.sizes()[2],
            [("10".to_owned(), 1), ("5".to_owned(), 1)]
        );
        let back = Index::read(&index.render(Timestamp::from_millis(0)));
        assert_eq!(back, index);
        let odd = br#"{"by_status": {"pending": ["x\u00e9", "task_1"]}, "count": "?"}"#;
        assert_eq!(Index::read(odd).count(), 1);
        assert!(!index.put(&files[0]));
        assert!(index.put(&document(1, "running", 5)));
        let drift = index.drift(&Index::of(&files));
        assert_eq!((drift.missing.len(), drift.extra.len()), (0, 1));
        assert!(index.remove(files[1].id));
        assert!(!index.remove(files[1].id));
        let drift = index.drift(&Index::of(&[document(1, "running", 5), files[1].clone()]));
        assert_eq!(drift.missing, [files[1].id]);
        assert!(Index::read(b"[]").drift(&Index::default()).is_none());
    }
}
