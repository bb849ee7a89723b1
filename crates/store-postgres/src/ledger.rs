//! Values by name, of which the changes since some point can be taken back.

use std::{collections::HashMap, hash::Hash};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger<K, V> {
    values: HashMap<K, V>,
    /// What stood under each name before it was changed, oldest first.
    before: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Ledger<K, V> {
    fn default() -> Self {
        Self {
            values: HashMap::new(),
            before: Vec::new(),
        }
    }
}

impl<K: Eq + Hash + Clone, V> Ledger<K, V> {
    pub(crate) fn get(&self, name: &K) -> Option<&V> {
        self.values.get(name)
    }

    /// What can be changed without being taken back.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.values.iter_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.values.iter()
    }

    /// Changes a value.
    pub(crate) fn set(&mut self, name: K, value: V) {
        let before = self.values.insert(name.clone(), value);
        self.before.push((name, before));
    }

    /// Notes what the store holds: that stays true when changes are taken back.
    pub(crate) fn learn(&mut self, name: K, value: V) {
        self.values.insert(name, value);
    }

    /// A point to go back to.
    pub(crate) fn point(&self) -> usize {
        self.before.len()
    }

    /// Takes back every change since a point.
    pub(crate) fn back_to(&mut self, point: usize) {
        while self.before.len() > point {
            let Some((name, before)) = self.before.pop() else {
                return;
            };
            match before {
                Some(value) => self.values.insert(name, value),
                None => self.values.remove(&name),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_taken_back_in_order() {
        let mut ledger = Ledger::default();
        ledger.set("a", 1);
        let point = ledger.point();
        ledger.set("a", 2);
        ledger.set("a", 3);
        ledger.set("b", 4);
        ledger.learn("c", 5);
        ledger.back_to(point);
        assert_eq!((ledger.get(&"a"), ledger.get(&"b")), (Some(&1), None));
        assert_eq!(ledger.get(&"c"), Some(&5));
    }
}
