//! Which checkpoints may go.

use std::collections::BTreeSet;

use domain::id::CheckpointId;

use crate::ports::checkpoints::Manifest;

const DAY_MILLIS: i64 = 86_400_000;

/// What is kept: of each task the newest ones, the last of each day and of each week; and over all
/// tasks not more than so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest of a task.
    pub keep_last: u32,
    /// Days of which the last one is kept, counted back from the newest day that has one.
    pub keep_daily: u32,
    /// The same with weeks.
    pub keep_weekly: u32,
    /// Bytes of all checkpoints of a project; the oldest go first, the newest of a task never.
    pub max_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep_last: 10,
            keep_daily: 7,
            keep_weekly: 4,
            max_bytes: 5_000_000_000,
        }
    }
}

impl Retention {
    /// Those that are not kept, of tasks with their checkpoints from the oldest on.
    #[must_use]
    pub fn expired(&self, tasks: &[Vec<Manifest>]) -> Vec<Manifest> {
        let mut expired = Vec::new();
        let mut left: Vec<&Manifest> = Vec::new();
        let mut newest = BTreeSet::new();
        for task in tasks {
            newest.extend(task.last().map(|manifest| manifest.id));
            let kept = self.kept(task);
            for manifest in task {
                if kept.contains(&manifest.id) || newest.contains(&manifest.id) {
                    left.push(manifest);
                } else {
                    expired.push(manifest.clone());
                }
            }
        }
        left.sort_by_key(|manifest| manifest.id);
        let mut bytes: u64 = left.iter().map(|manifest| manifest.bytes()).sum();
        for manifest in left {
            if bytes <= self.max_bytes {
                break;
            }
            if !newest.contains(&manifest.id) {
                bytes -= manifest.bytes();
                expired.push(manifest.clone());
            }
        }
        expired.sort_by_key(|manifest| manifest.id);
        expired
    }

    fn kept(&self, task: &[Manifest]) -> BTreeSet<CheckpointId> {
        let day = |manifest: &Manifest| manifest.created_at.as_millis().div_euclid(DAY_MILLIS);
        // Weeks begin on Mondays; the epoch was a Thursday.
        let week = |manifest: &Manifest| (day(manifest) + 3).div_euclid(7);
        let mut kept = BTreeSet::new();
        let last = usize::try_from(self.keep_last).unwrap_or(usize::MAX);
        kept.extend(task.iter().rev().take(last).map(|manifest| manifest.id));
        kept.extend(last_of_each(task, self.keep_daily, day));
        kept.extend(last_of_each(task, self.keep_weekly, week));
        kept
    }
}

fn last_of_each(
    task: &[Manifest],
    count: u32,
    period: impl Fn(&Manifest) -> i64,
) -> Vec<CheckpointId> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut seen = BTreeSet::new();
    let newest_first = task.iter().rev();
    let of_new_period = newest_first.filter(|manifest| seen.insert(period(manifest)));
    of_new_period
        .take(count)
        .map(|manifest| manifest.id)
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::{time::Timestamp, workspace::WorkspaceMode};

    use super::*;
    use crate::ports::checkpoints::{Cause, KeptTree, MANIFEST_SCHEMA, MANIFEST_VERSION};

    fn manifest(number: u64, day: i64, bytes: u64) -> Manifest {
        let commit = "0".repeat(40).parse().unwrap();
        Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            schema_version: MANIFEST_VERSION,
            id: CheckpointId::from_number(number).unwrap(),
            task: "task_1".parse().unwrap(),
            session: "ses_1".parse().unwrap(),
            created_at: Timestamp::from_millis(day * DAY_MILLIS),
            note: None,
            cause: Cause::Asked,
            log_position: 1,
            workspace: KeptTree {
                mode: WorkspaceMode::Worktree,
                repository: "/r".into(),
                reference: String::new(),
                commit,
                with_ignored: None,
                tree: "0".repeat(40).parse().unwrap(),
                bytes,
                warnings: vec![],
            },
            conversation: None,
            files: vec![],
        }
    }

    const RULES: Retention = Retention {
        keep_last: 2,
        keep_daily: 3,
        keep_weekly: 2,
        max_bytes: 1_000,
    };

    fn expired(rules: &Retention, tasks: &[Vec<Manifest>]) -> Vec<u64> {
        let expired = rules.expired(tasks);
        expired.iter().map(|one| one.id.number()).collect()
    }

    #[test]
    fn the_newest_and_the_last_of_days_and_weeks_stay() {
        // Day 4 was a Monday: weeks of 4..=10 and 11..=17.
        let days = [5, 8, 9, 12, 12, 13, 14, 14, 14];
        let task = (1..)
            .zip(days)
            .map(|(n, day)| manifest(n, day, 1))
            .collect();
        // 8 and 9 as the newest, 9, 6 and 5 of their days, 9 and 3 of their weeks.
        assert_eq!(expired(&RULES, &[task]), [1, 2, 4, 7]);
    }

    #[test]
    fn the_oldest_of_all_tasks_go_where_there_is_too_much() {
        let a = vec![manifest(1, 1, 600), manifest(4, 1, 300)];
        let b = vec![manifest(2, 1, 50), manifest(3, 1, 700)];
        assert_eq!(expired(&RULES, &[a, b]), [1, 2]);
        assert_eq!(expired(&RULES, &[vec![manifest(1, 1, 5_000)]]), [0; 0]);
    }
}
