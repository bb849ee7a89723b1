//! What was held when, and whether that can be right.

use domain::{
    id::LockId,
    lock::{Mode, Resource, Token},
    task::Priority,
};
use serde::{Deserialize, Serialize};

/// One lock, from its grant to its release, on a clock that all who write the history share: a
/// counter, or the place in a file to which they append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The request.
    pub id: LockId,
    /// The grant.
    pub token: Token,
    /// For whom.
    pub holder: String,
    /// On what.
    pub resources: Vec<Resource>,
    /// How.
    pub mode: Mode,
    /// How important it was called.
    pub priority: Priority,
    /// After it was granted.
    pub from: u64,
    /// Before it was released.
    pub to: u64,
}

impl Hold {
    fn is_against(&self, other: &Self) -> bool {
        let mut own = self.resources.iter();
        let overlap = own.any(|own| other.resources.iter().any(|theirs| own.overlaps(theirs)));
        overlap && !self.mode.goes_with(other.mode)
    }
}

/// Holds two histories against each other that every run must show: nobody was beside whom it
/// excludes, tokens rose, and of one priority those that came first were first.
///
/// `in_order` says whether the order of the queue is asserted: after a flush or a failover of what
/// keeps the locks it is not.
///
/// # Errors
/// The first pair that cannot be right, in words.
pub fn check(holds: &[Hold], in_order: bool) -> Result<(), String> {
    let mut sorted: Vec<&Hold> = holds.iter().collect();
    sorted.sort_by_key(|hold| hold.token);
    for pair in sorted.windows(2) {
        if pair[0].token == pair[1].token {
            return Err(format!("one token twice: {pair:?}"));
        }
    }
    for (at, earlier) in sorted.iter().enumerate() {
        for later in &sorted[at + 1..] {
            if !earlier.is_against(later) {
                continue;
            }
            if earlier.to > later.from {
                return Err(format!("held beside each other: {earlier:?} and {later:?}"));
            }
            if in_order && earlier.priority == later.priority && earlier.id > later.id {
                return Err(format!("out of turn: {earlier:?} before {later:?}"));
            }
        }
    }
    Ok(())
}

/// How evenly something is shared out: 1 where everybody has the same, 1/n where one has all.
#[must_use]
pub fn jain_index(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    let count = f64::from(u32::try_from(shares.len()).unwrap_or(u32::MAX));
    if squares == 0.0 {
        1.0
    } else {
        sum * sum / (count * squares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(number: u64, token: u64, from: u64, to: u64) -> Hold {
        Hold {
            id: LockId::from_number(number).unwrap(),
            token: Token(token),
            holder: "ada".to_owned(),
            resources: vec!["x".parse().unwrap()],
            mode: Mode::Exclusive,
            priority: Priority::DEFAULT,
            from,
            to,
        }
    }

    #[test]
    fn what_cannot_be_right_is_found() {
        let right = [hold(1, 11, 1, 2), hold(2, 12, 3, 4)];
        assert_eq!(check(&right, true), Ok(()));
        let beside = [hold(1, 11, 1, 3), hold(2, 12, 2, 4)];
        assert!(
            check(&beside, false)
                .unwrap_err()
                .starts_with("held beside")
        );
        let twice = [hold(1, 11, 1, 2), hold(2, 11, 3, 4)];
        assert!(
            check(&twice, false)
                .unwrap_err()
                .starts_with("one token twice")
        );
        let falling = [hold(1, 12, 1, 2), hold(2, 11, 3, 4)];
        assert!(check(&falling, false).is_err());
        let out_of_turn = [hold(2, 11, 1, 2), hold(1, 12, 3, 4)];
        assert!(
            check(&out_of_turn, true)
                .unwrap_err()
                .starts_with("out of turn")
        );
        assert_eq!(check(&out_of_turn, false), Ok(()));
        let shared = |hold: Hold| Hold {
            mode: Mode::Shared,
            ..hold
        };
        let readers = [shared(hold(2, 11, 1, 3)), shared(hold(1, 12, 2, 4))];
        assert_eq!(check(&readers, true), Ok(()));
    }

    #[test]
    fn evenness_is_one() {
        assert!((jain_index(&[5.0, 5.0, 5.0]) - 1.0).abs() < 1e-9);
        assert!((jain_index(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
    }
}
