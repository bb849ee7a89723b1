//! Quotas, and how far they are used.

use domain::{
    id::ProjectId,
    quota::{Quota, QuotaResource, QuotaUse, month_text},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// A quota: what `quota set` and `quota remove` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaDocument {
    /// Of what: `active_sessions`, `queued_tasks` or `tokens_month`.
    pub resource: QuotaResource,
    /// In this project; in all of the store together where `null`.
    pub project: Option<ProjectId>,
    /// Of this owner; of all owners together where `null`.
    pub owner: Option<String>,
    /// So much there may be.
    pub max: u64,
    /// So much there is.
    pub used: u64,
    /// The month that `used` is of, in UTC, where it counts by month.
    pub month: Option<String>,
    /// When it was first set.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts changes from 1.
    pub version: u64,
}

/// What `quota list` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaListDocument {
    /// Every quota of the store, by resource.
    #[serde(default)]
    pub quotas: Vec<QuotaDocument>,
}

/// A quota that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaInTheWay {
    /// Of what.
    pub resource: QuotaResource,
    /// In this project; in all of the store together where `null`.
    pub project: Option<ProjectId>,
    /// Of this owner; of all owners together where `null`.
    pub owner: Option<String>,
    /// So much there may be.
    pub max: u64,
    /// So much there is.
    pub used: u64,
}

schemas! {
    QuotaDocument = "quota";
    QuotaListDocument = "quota_list";
}

impl QuotaDocument {
    /// A quota of which there is so much, looked at in a month.
    #[must_use]
    pub fn of(quota: &Quota, used: u64, month: u32) -> Self {
        let by_month = quota.key.resource == QuotaResource::TokensMonth;
        Self {
            resource: quota.key.resource,
            project: quota.key.project,
            owner: quota.key.owner.clone(),
            max: quota.max,
            used,
            month: by_month.then(|| month_text(month)),
            created_at: quota.created_at,
            updated_at: quota.updated_at,
            version: quota.version,
        }
    }
}

impl From<&QuotaUse> for QuotaInTheWay {
    fn from(quota: &QuotaUse) -> Self {
        Self {
            resource: quota.key.resource,
            project: quota.key.project,
            owner: quota.key.owner.clone(),
            max: quota.max,
            used: quota.used,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::quota::QuotaKey;

    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        let quota = |resource| Quota {
            key: QuotaKey {
                resource,
                project: Some(task().project),
                owner: Some("ada".to_owned()),
            },
            max: 10,
            created_at: task().created_at,
            updated_at: task().updated_at,
            version: 2,
        };
        let tokens = QuotaDocument::of(&quota(QuotaResource::TokensMonth), 3, 202_611);
        assert_eq!(tokens.month.as_deref(), Some("2026-11"));
        check(&tokens);
        let queued = QuotaDocument::of(&quota(QuotaResource::QueuedTasks), 3, 202_611);
        assert_eq!(queued.month, None);
        check(&QuotaListDocument {
            quotas: vec![queued, tokens],
        });
    }
}
