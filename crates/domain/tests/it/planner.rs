//! The scheduler, for any queue.

use std::collections::BTreeMap;

use domain::{
    agent::AgentName,
    id::{ProjectId, TaskId},
    plan::{Candidate, Occupant, Policy, plan},
    task::Priority,
};
use proptest::prelude::*;

fn agent(n: u8) -> AgentName {
    format!("a{n}").parse().expect("a name")
}

fn candidate(number: u64, (priority, name, owner, waited): (u8, u8, u8, u64)) -> Candidate {
    Candidate {
        project: ProjectId::from_number(1).expect("a project"),
        task: TaskId::from_number(number + 1).expect("a number"),
        priority: Priority::try_from(priority).expect("a priority"),
        agent: agent(name),
        owner: format!("o{owner}"),
        waiting_millis: waited,
    }
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let fields = (1..=10_u8, 0..3_u8, 0..3_u8, 0..10_000_u64);
    prop::collection::vec(fields, 0..30).prop_map(|all| {
        (0..)
            .zip(all)
            .map(|(n, fields)| candidate(n, fields))
            .collect()
    })
}

fn occupants() -> impl Strategy<Value = Vec<Occupant>> {
    let fields = (0..3_u8, 0..3_u8);
    prop::collection::vec(fields, 0..8).prop_map(|all| {
        let occupant = |(name, owner)| Occupant {
            agent: agent(name),
            owner: format!("o{owner}"),
        };
        all.into_iter().map(occupant).collect()
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let caps = prop::collection::btree_map((0..3_u8).prop_map(agent), 0..4_u32, 0..3);
    (prop::option::of(0..12_u32), 0..12_u32, caps, 0..2_000_u64).prop_map(
        |(running_max, starts_max, per_agent_max, ageing_millis)| Policy {
            running_max,
            starts_max,
            per_agent_max,
            store_max: None,
            ageing_millis,
        },
    )
}

proptest! {
    #[test]
    fn no_cap_is_exceeded_and_no_place_left_free(
        waiting in candidates(), running in occupants(), policy in policies(),
    ) {
        let chosen = plan(&waiting, &running, &policy);
        let find = |id: &TaskId| waiting.iter().find(|candidate| candidate.task == *id);
        let mut unique = chosen.clone();
        unique.sort_unstable();
        unique.dedup();
        prop_assert_eq!(unique.len(), chosen.len(), "nothing twice");

        let before = running.len();
        let free = policy.running_max.map_or(usize::MAX, |max| {
            usize::try_from(max).expect("small").saturating_sub(before)
        });
        let starts = free.min(usize::try_from(policy.starts_max).expect("small"));
        prop_assert!(chosen.len() <= starts);

        let mut used: BTreeMap<&AgentName, u32> = BTreeMap::new();
        for occupant in &running {
            *used.entry(&occupant.agent).or_default() += 1;
        }
        for id in &chosen {
            let candidate = find(id).expect("chosen among the waiting");
            let used = used.entry(&candidate.agent).or_default();
            *used += 1;
            if let Some(cap) = policy.per_agent_max.get(&candidate.agent) {
                prop_assert!(*used <= *cap);
            }
        }
        if chosen.len() < starts {
            for candidate in waiting.iter().filter(|one| !chosen.contains(&one.task)) {
                let used = used.get(&candidate.agent).copied().unwrap_or(0);
                let cap = policy.per_agent_max.get(&candidate.agent);
                prop_assert!(cap.is_some_and(|cap| used >= *cap), "a place was left free");
            }
        }
    }

    #[test]
    fn the_order_in_which_tasks_are_given_decides_nothing(
        waiting in candidates(), running in occupants(), policy in policies(),
    ) {
        let mut turned = waiting.clone();
        turned.reverse();
        prop_assert_eq!(plan(&waiting, &running, &policy), plan(&turned, &running, &policy));
    }

    #[test]
    fn with_ageing_even_the_least_important_has_its_turn(owner in 0..2_u8) {
        let policy = Policy {
            running_max: None,
            starts_max: 1,
            per_agent_max: BTreeMap::new(),
            store_max: None,
            ageing_millis: 100,
        };
        let last = candidate(0, (1, 0, owner, 0));
        let mut waiting = vec![last.clone()];
        for round in 1..=12_u64 {
            waiting.push(candidate(round, (10, 0, 0, 0)));
            let chosen = plan(&waiting, &[], &policy);
            if chosen == [last.task] {
                return Ok(());
            }
            waiting.retain(|candidate| !chosen.contains(&candidate.task));
            for candidate in &mut waiting {
                candidate.waiting_millis += 100;
            }
        }
        prop_assert!(false, "it starved");
    }
}
