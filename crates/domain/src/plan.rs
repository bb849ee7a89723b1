//! The scheduler: a pure function from what is waiting and running to what starts now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    agent::AgentName,
    id::{ProjectId, TaskId},
    quota::Rooms,
    task::{Priority, Task},
};

/// A task that is ready: pending, due, and not blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The task.
    pub task: TaskId,
    /// Its project.
    pub project: ProjectId,
    /// Its importance.
    pub priority: Priority,
    /// Its agent.
    pub agent: AgentName,
    /// On whose behalf.
    pub owner: String,
    /// How long it has been waiting.
    pub waiting_millis: u64,
}

impl Candidate {
    /// What the planner needs to know of a task.
    #[must_use]
    pub fn of(task: &Task, waiting_millis: u64) -> Self {
        Self {
            task: task.id,
            project: task.project,
            priority: task.spec.priority,
            agent: task.spec.agent.clone(),
            owner: task.spec.owner.clone(),
            waiting_millis,
        }
    }
}

/// A running task, as far as limits count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// Its agent.
    pub agent: AgentName,
    /// On whose behalf.
    pub owner: String,
}

/// The limits that the planner keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Tasks that may run at once in the project; no limit where `None`.
    pub running_max: Option<u32>,
    /// Tasks that may be started now.
    pub starts_max: u32,
    /// Tasks of one agent that may run at once.
    pub per_agent_max: BTreeMap<AgentName, u32>,
    /// Sessions that may run at once in the whole store; no limit where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_max: Option<u32>,
    /// Waiting this long counts as one more priority, up to 10; 0 switches ageing off.
    pub ageing_millis: u64,
}

impl Policy {
    /// Ten minutes of waiting are worth one priority, so that the least important task overtakes
    /// fresh ones of the highest priority after an hour and a half.
    pub const AGEING_MILLIS: u64 = 600_000;
}

/// The priority that counts: the task's own, plus what it gained by waiting, at most 10.
#[must_use]
pub fn effective_priority(candidate: &Candidate, ageing_millis: u64) -> u64 {
    let gained = candidate
        .waiting_millis
        .checked_div(ageing_millis)
        .unwrap_or(0);
    (u64::from(candidate.priority.value()) + gained).min(u64::from(Priority::MAX.value()))
}

/// What starts now, in this order. Deterministic, and leaves the executor no choice.
///
/// The highest effective priority goes first; among equals the owner with the fewest running
/// tasks; then the oldest. An agent at its cap is passed over and holds nobody else up.
#[must_use]
pub fn plan(candidates: &[Candidate], running: &[Occupant], policy: &Policy) -> Vec<TaskId> {
    plan_within(candidates, running, policy, Rooms::default())
}

/// As [`plan`], and within quotas: whoever has used his up is passed over and holds nobody else up.
#[must_use]
pub fn plan_within(
    candidates: &[Candidate],
    running: &[Occupant],
    policy: &Policy,
    mut rooms: Rooms,
) -> Vec<TaskId> {
    let mut per_agent: BTreeMap<&AgentName, u32> = BTreeMap::new();
    let mut per_owner: BTreeMap<&str, u32> = BTreeMap::new();
    for occupant in running {
        *per_agent.entry(&occupant.agent).or_default() += 1;
        *per_owner.entry(&occupant.owner).or_default() += 1;
    }
    let taken = u32::try_from(running.len()).unwrap_or(u32::MAX);
    let free = policy
        .running_max
        .map_or(u32::MAX, |max| max.saturating_sub(taken));
    let starts = free.min(policy.starts_max);

    let mut waiting: Vec<&Candidate> = candidates.iter().collect();
    waiting.sort_by_key(|candidate| candidate.task);
    let mut chosen = Vec::new();
    while u32::try_from(chosen.len()).unwrap_or(u32::MAX) < starts {
        let best = waiting
            .iter()
            .enumerate()
            .filter(|(_, candidate)| {
                let cap = policy.per_agent_max.get(&candidate.agent).copied();
                let used = per_agent.get(&candidate.agent).copied().unwrap_or(0);
                let mut full = rooms.in_the_way(candidate.project, &candidate.owner);
                cap.is_none_or(|cap| used < cap) && full.next().is_none()
            })
            .min_by_key(|(_, candidate)| {
                let importance = effective_priority(candidate, policy.ageing_millis);
                let share = per_owner
                    .get(candidate.owner.as_str())
                    .copied()
                    .unwrap_or(0);
                (std::cmp::Reverse(importance), share, candidate.task)
            })
            .map(|(index, _)| index);
        let Some(index) = best else { break };
        let candidate = waiting.remove(index);
        *per_agent.entry(&candidate.agent).or_default() += 1;
        *per_owner.entry(&candidate.owner).or_default() += 1;
        rooms.take(candidate.project, &candidate.owner);
        chosen.push(candidate.task);
    }
    chosen
}
