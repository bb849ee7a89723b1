//! Dependencies as a graph.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::TaskId;

/// The first cycle found, as the path that closes it (`a, b, a`), or `None`.
///
/// Deterministic; visits each edge once and needs no stack of calls.
#[must_use]
pub fn find_cycle(edges: &BTreeMap<TaskId, Vec<TaskId>>) -> Option<Vec<TaskId>> {
    let mut done: BTreeSet<TaskId> = BTreeSet::new();
    for start in edges.keys() {
        let mut path: Vec<(TaskId, usize)> = Vec::new();
        let mut on_path: BTreeSet<TaskId> = BTreeSet::new();
        if done.contains(start) {
            continue;
        }
        path.push((*start, 0));
        on_path.insert(*start);
        while let Some((node, next)) = path.last_mut() {
            let followed = edges
                .get(node)
                .and_then(|targets| targets.get(*next))
                .copied();
            *next += 1;
            match followed {
                Some(target) if on_path.contains(&target) => {
                    let nodes = path.iter().map(|(node, _)| *node);
                    let mut cycle: Vec<TaskId> = nodes.skip_while(|node| *node != target).collect();
                    cycle.push(target);
                    return Some(cycle);
                }
                Some(target) if !done.contains(&target) => {
                    path.push((target, 0));
                    on_path.insert(target);
                }
                Some(_) => {}
                None => {
                    let node = *node;
                    done.insert(node);
                    on_path.remove(&node);
                    path.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(u64, &[u64])]) -> BTreeMap<TaskId, Vec<TaskId>> {
        let id = |n: u64| TaskId::from_number(n).expect("a number from 1");
        edges
            .iter()
            .map(|(from, to)| (id(*from), to.iter().map(|n| id(*n)).collect()))
            .collect()
    }

    #[test]
    fn a_diamond_has_no_cycle_and_a_ring_has_one() {
        assert_eq!(
            find_cycle(&graph(&[(4, &[2, 3]), (2, &[1]), (3, &[1]), (1, &[])])),
            None
        );
        let ring = find_cycle(&graph(&[(9, &[1]), (1, &[2]), (2, &[3]), (3, &[1])]));
        let numbers: Vec<u64> = ring.expect("a ring").iter().map(|id| id.number()).collect();
        assert_eq!(numbers, [1, 2, 3, 1]);
        assert!(find_cycle(&graph(&[(1, &[1])])).is_some());
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let ids: Vec<u64> = (1..100_000).collect();
        let edges: BTreeMap<_, _> = ids
            .iter()
            .filter_map(|n| Some((TaskId::from_number(*n)?, vec![TaskId::from_number(n + 1)?])))
            .collect();
        assert_eq!(find_cycle(&edges), None);
    }
}
