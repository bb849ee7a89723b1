//! Locks, and the ways to find them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Lock, LockState, Resource, Token};
use crate::id::LockId;

#[derive(Debug, Default)]
pub(super) struct Index {
    locks: BTreeMap<LockId, Lock>,
    /// Those that are held or wait, by the paths of their resources.
    paths: BTreeMap<String, Vec<LockId>>,
    /// By the texts of their holders.
    holders: BTreeMap<String, BTreeSet<LockId>>,
    /// By the numbers of grants, ended ones too.
    tokens: BTreeMap<Token, LockId>,
}

impl Index {
    pub(super) fn insert(&mut self, lock: Lock) {
        self.remove(lock.id);
        if let Some(token) = token_of(&lock) {
            self.tokens.insert(token, lock.id);
        }
        if !matches!(lock.state, LockState::Gone { .. }) {
            for resource in &lock.resources {
                self.paths
                    .entry(resource.path().to_owned())
                    .or_default()
                    .push(lock.id);
            }
        }
        self.holders
            .entry(lock.holder.to_string())
            .or_default()
            .insert(lock.id);
        self.locks.insert(lock.id, lock);
    }

    pub(super) fn remove(&mut self, id: LockId) {
        let Some(lock) = self.locks.remove(&id) else {
            return;
        };
        if let Some(token) = token_of(&lock) {
            self.tokens.remove(&token);
        }
        for resource in &lock.resources {
            if let Some(there) = self.paths.get_mut(resource.path()) {
                there.retain(|other| *other != id);
                if there.is_empty() {
                    self.paths.remove(resource.path());
                }
            }
        }
        let holder = lock.holder.to_string();
        if let Some(there) = self.holders.get_mut(&holder) {
            there.remove(&id);
            if there.is_empty() {
                self.holders.remove(&holder);
            }
        }
    }

    pub(super) fn get(&self, id: LockId) -> Option<&Lock> {
        self.locks.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Lock> {
        self.locks.values()
    }

    pub(super) fn of_token(&self, token: Token) -> Option<&Lock> {
        self.locks.get(self.tokens.get(&token)?)
    }

    pub(super) fn of_holder(&self, holder: &str) -> impl Iterator<Item = &Lock> {
        let ids = self.holders.get(holder).into_iter().flatten();
        ids.filter_map(|id| self.locks.get(id))
    }

    pub(super) fn overlapping(&self, resources: &[Resource]) -> Vec<&Lock> {
        let mut ids: Vec<LockId> = Vec::new();
        for resource in resources {
            ids.extend(self.paths.get(resource.path()).into_iter().flatten());
            for above in resource.above() {
                ids.extend(self.paths.get(above).into_iter().flatten());
            }
            if resource.is_tree() {
                let (from, to) = resource.beneath();
                ids.extend(self.paths.range(from..to).flat_map(|(_, there)| there));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        let locks = ids.iter().filter_map(|id| self.locks.get(id));
        let overlaps = |lock: &&Lock| {
            let own = lock.resources.iter();
            own.clone()
                .any(|own| resources.iter().any(|other| own.overlaps(other)))
        };
        locks.filter(overlaps).collect()
    }
}

fn token_of(lock: &Lock) -> Option<Token> {
    match &lock.state {
        LockState::Held { token, .. } => Some(*token),
        LockState::Gone { token, .. } => *token,
        LockState::Waiting { .. } => None,
    }
}
