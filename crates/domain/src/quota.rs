//! Quotas: how much of something a project, an owner, or an owner in a project may have at once or
//! in a month.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{id::ProjectId, time::Timestamp};

/// What a quota is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaResource {
    /// Sessions that have not ended.
    ActiveSessions,
    /// Tasks that wait for their turn, for others or for their time.
    QueuedTasks,
    /// Tokens of the sessions that ended in a calendar month, in UTC.
    TokensMonth,
}

impl QuotaResource {
    /// Every resource.
    pub const ALL: &[Self] = &[Self::ActiveSessions, Self::QueuedTasks, Self::TokensMonth];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActiveSessions => "active_sessions",
            Self::QueuedTasks => "queued_tasks",
            Self::TokensMonth => "tokens_month",
        }
    }

    /// Whether it decides about starting work, rather than about queueing it.
    #[must_use]
    pub const fn holds_up_starts(self) -> bool {
        match self {
            Self::ActiveSessions | Self::TokensMonth => true,
            Self::QueuedTasks => false,
        }
    }
}

impl fmt::Display for QuotaResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which quota: of what, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuotaKey {
    /// Of what.
    pub resource: QuotaResource,
    /// In this project; in all of the store together where `None`.
    #[serde(default)]
    pub project: Option<ProjectId>,
    /// Of this owner; of all owners together where `None`.
    #[serde(default)]
    pub owner: Option<String>,
}

impl QuotaKey {
    /// Whether what an owner does in a project counts here.
    #[must_use]
    pub fn covers(&self, project: ProjectId, owner: &str) -> bool {
        self.project.is_none_or(|own| own == project)
            && self.owner.as_deref().is_none_or(|own| own == owner)
    }
}

/// `active_sessions of ada in prj_7`.
impl fmt::Display for QuotaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.resource)?;
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        match &self.project {
            Some(project) => write!(f, " in {project}"),
            None => f.write_str(" in all projects"),
        }
    }
}

/// A quota as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Which.
    #[serde(flatten)]
    pub key: QuotaKey,
    /// So much there may be.
    pub max: u64,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1.
    pub version: u64,
}

/// How far a quota is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaUse {
    /// Which.
    #[serde(flatten)]
    pub key: QuotaKey,
    /// So much there may be.
    pub max: u64,
    /// So much there is.
    pub used: u64,
}

impl QuotaUse {
    /// Whether nothing more goes in. It may hold more than it allows, where it was lowered.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.used >= self.max
    }
}

/// `active_sessions of ada in prj_7: 2 of 2 used`.
impl fmt::Display for QuotaUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} of {} used", self.key, self.used, self.max)
    }
}

/// What quotas leave room for, while work is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rooms(Vec<QuotaUse>);

impl Rooms {
    /// The room that these leave.
    #[must_use]
    pub const fn new(uses: Vec<QuotaUse>) -> Self {
        Self(uses)
    }

    /// The quotas that let an owner start nothing more in a project.
    pub fn in_the_way<'a>(
        &'a self,
        project: ProjectId,
        owner: &'a str,
    ) -> impl Iterator<Item = &'a QuotaUse> {
        self.0.iter().filter(move |quota| {
            quota.key.resource.holds_up_starts()
                && quota.is_full()
                && quota.key.covers(project, owner)
        })
    }

    /// Counts one more session of an owner in a project.
    pub fn take(&mut self, project: ProjectId, owner: &str) {
        for quota in &mut self.0 {
            if quota.key.resource == QuotaResource::ActiveSessions
                && quota.key.covers(project, owner)
            {
                quota.used = quota.used.saturating_add(1);
            }
        }
    }
}

/// The calendar month of a time in UTC, as `202611`.
#[must_use]
pub fn month_of(at: Timestamp) -> u32 {
    let Ok(time) = jiff::Timestamp::from_millisecond(at.as_millis()) else {
        return 0;
    };
    let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
    let (year, month) = (u32::try_from(date.year()), u32::try_from(date.month()));
    year.unwrap_or(0) * 100 + month.unwrap_or(0)
}

/// `2026-11`.
#[must_use]
pub fn month_text(month: u32) -> String {
    format!("{:04}-{:02}", month / 100, month % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(number: u64) -> ProjectId {
        ProjectId::from_number(number).unwrap()
    }

    fn quota(resource: QuotaResource, of: Option<u64>, owner: Option<&str>, max: u64) -> QuotaUse {
        QuotaUse {
            key: QuotaKey {
                resource,
                project: of.map(project),
                owner: owner.map(str::to_owned),
            },
            max,
            used: 0,
        }
    }

    #[test]
    fn months_are_those_of_utc() {
        let at = |text: &str| {
            let quoted = format!("{text:?}");
            month_of(serde_json::from_str(&quoted).unwrap())
        };
        assert_eq!(at("2026-11-30T23:59:59.999Z"), 202_611);
        assert_eq!(at("2026-12-01T00:00:00.000Z"), 202_612);
        assert_eq!(month_text(202_612), "2026-12");
    }

    #[test]
    fn a_quota_covers_its_project_and_its_owner() {
        let active = QuotaResource::ActiveSessions;
        for (of, owner, expected) in [
            (None, None, [true, true, true]),
            (Some(1), None, [true, true, false]),
            (None, Some("ada"), [true, false, true]),
            (Some(1), Some("ada"), [true, false, false]),
        ] {
            let key = quota(active, of, owner, 1).key;
            let covers = [(1, "ada"), (1, "bob"), (2, "ada")];
            assert_eq!(
                covers.map(|(of, who)| key.covers(project(of), who)),
                expected
            );
        }
    }

    #[test]
    fn what_is_taken_is_counted_where_it_belongs() {
        let active = QuotaResource::ActiveSessions;
        let mut rooms = Rooms::new(vec![
            quota(active, Some(1), Some("ada"), 1),
            quota(active, Some(1), None, 2),
            quota(QuotaResource::QueuedTasks, None, None, 0),
        ]);
        let full = |rooms: &Rooms, of, who| rooms.in_the_way(project(of), who).count();
        assert_eq!(full(&rooms, 1, "ada"), 0, "queued tasks hold up no start");
        rooms.take(project(1), "ada");
        assert_eq!([full(&rooms, 1, "ada"), full(&rooms, 1, "bob")], [1, 0]);
        rooms.take(project(1), "bob");
        assert_eq!([full(&rooms, 1, "ada"), full(&rooms, 1, "bob")], [2, 1]);
        assert_eq!(full(&rooms, 2, "ada"), 0);
    }
}
