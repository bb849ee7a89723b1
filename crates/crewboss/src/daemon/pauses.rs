//! Projects in which something goes wrong that may come right by itself are left alone for a while.

use std::{collections::HashMap, time::Duration};

use domain::{id::ProjectId, time::Moment};

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(1);

/// Pauses of projects: 2, 4, 8 … 60 s, longer with every failure in a row.
#[derive(Debug, Default)]
pub(crate) struct Pauses(HashMap<ProjectId, Pause>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    until_millis: u64,
    last: Duration,
}

impl Pauses {
    /// How long a project is still to be left alone.
    pub(crate) fn left(&self, project: ProjectId, now: &Moment) -> Option<Duration> {
        let until = self.0.get(&project)?.until_millis;
        let left = until.checked_sub(now.millis).filter(|left| *left > 0)?;
        Some(Duration::from_millis(left))
    }

    /// Something went wrong: the next pause begins. Says whether it is the first in a row, so that
    /// it is told once.
    pub(crate) fn begin(&mut self, project: ProjectId, now: &Moment) -> bool {
        let before = self.0.get(&project).map(|pause| pause.last);
        let last = before.map_or(FIRST, |last| (last * 2).min(LONGEST));
        let millis = u64::try_from(last.as_millis()).unwrap_or(u64::MAX);
        let until_millis = now.millis.saturating_add(millis);
        self.0.insert(project, Pause { until_millis, last });
        before.is_none()
    }

    /// It works again.
    pub(crate) fn end(&mut self, project: ProjectId) {
        self.0.remove(&project);
    }
}

#[cfg(test)]
mod tests {
    use domain::time::BootId;

    use super::*;

    #[test]
    fn a_pause_grows_up_to_a_minute_and_is_told_once() {
        let project = ProjectId::from_number(1).unwrap();
        let at = |millis| Moment {
            boot: BootId("b".to_owned()),
            millis,
        };
        let mut pauses = Pauses::default();
        assert_eq!(pauses.left(project, &at(0)), None);
        let mut seconds = Vec::new();
        for turn in 0..7 {
            assert_eq!(pauses.begin(project, &at(5)), turn == 0);
            seconds.push(pauses.left(project, &at(5)).unwrap().as_secs());
        }
        assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses.left(project, &at(60_005)), None);
        pauses.end(project);
        assert!(pauses.begin(project, &at(5)));
    }
}
