//! What everything that keeps locks must do, as tests that any of them can be put to.
//!
//! An adapter wraps itself in a [`LockSubject`] and names how to make one:
//! `testkit::lock_contract!(make);`, and `testkit::lock_contract_of_time!(make);` besides where the
//! test can move its clock by more than a few seconds.

pub mod circles;
pub mod crowds;
pub mod ending;
pub mod history;
pub mod input;
pub mod queueing;
pub mod sharing;
pub mod stores;

use std::{fmt, sync::Arc, time::Duration};

use app::{
    error::Error,
    ports::locks::{Attempt, Grant, Locks, Ticket},
};
use domain::{
    lock::{Ask, Holder, LockRefused, Mode, Release, Resource},
    task::Priority,
};

/// Locks under test: empty, and apart from those of every other test.
pub trait LockSubject: fmt::Debug + Send + Sync {
    /// A client.
    fn locks(&self) -> Arc<dyn Locks>;

    /// Another client of the same locks, as from another process.
    fn another(&self) -> Arc<dyn Locks>;

    /// Lets time pass for the locks: moves their clock, or waits.
    fn pass(&self, millis: u64);
}

/// Makes locks that nobody holds.
pub type MakeLocks = fn() -> Box<dyn LockSubject>;

/// Puts locks to every test of the contract that needs a few seconds of time at most.
#[macro_export]
macro_rules! lock_contract {
    ($make:path) => {
        $crate::lock_contract!($make, where $crate::contract::locks::always);
    };
    // Where something is needed for it that is not there, `ready` says so and nothing is tested.
    ($make:path, where $ready:path) => {
        $crate::lock_contract!(@cases $make, $ready,
            sharing::an_exclusive_lock_is_held_by_one,
            sharing::those_who_share_are_never_beside_one_who_does_not,
            sharing::a_path_is_taken_with_all_beneath_it,
            sharing::a_batch_is_given_whole_or_not_at_all,
            sharing::batches_in_any_order_do_not_block_each_other_for_ever,
            sharing::a_lock_is_entered_again_by_its_token,
            sharing::a_name_alone_enters_nothing,
            queueing::first_come_first_served,
            queueing::the_more_important_goes_first,
            queueing::nobody_overtakes_a_waiting_batch,
            queueing::who_waits_for_other_things_blocks_nobody_else,
            queueing::asking_often_wins_nothing,
            queueing::a_waiter_that_leaves_lets_the_next_in,
            queueing::a_waiter_that_was_granted_meanwhile_leaves_it_too,
            queueing::a_waiter_that_is_not_heard_of_leaves,
            queueing::a_wait_ends_with_its_time,
            queueing::a_grant_to_who_is_gone_goes_to_the_next_soon,
            ending::a_lease_that_is_not_renewed_ends,
            ending::a_renewed_lease_goes_on,
            ending::a_late_holder_is_told_so,
            ending::a_release_needs_the_right_token,
            ending::what_is_released_by_force_is_lost,
            ending::everything_of_a_holder_is_taken_at_once,
            ending::status_and_numbers_tell_what_there_is,
            circles::two_who_wait_for_each_other,
            circles::three_in_a_circle_and_the_least_important_steps_out,
            circles::a_circle_through_a_queue,
            circles::waiting_in_line_is_no_circle,
            input::what_is_out_of_bounds_is_refused,
            input::unknown_tokens_and_requests_are_told_so,
            crowds::many_clients_one_lock,
            crowds::many_clients_some_share,
            crowds::many_clients_with_batches_and_paths,
            crowds::nobody_is_told_late,
        );
    };
    (@cases $make:path, $ready:path, $($module:ident :: $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                if $ready() {
                    $crate::contract::locks::$module::$case($make);
                }
            }
        )*
    };
}

/// Puts locks to the tests that need minutes of time, which only a clock has that the test moves.
#[macro_export]
macro_rules! lock_contract_of_time {
    ($make:path) => {
        $crate::lock_contract!(@cases $make, $crate::contract::locks::always,
            queueing::who_has_waited_for_long_is_not_overtaken,
        );
    };
}

/// Everything that is needed is there.
#[must_use]
pub const fn always() -> bool {
    true
}

/// A resource.
#[must_use]
pub fn resource(text: &str) -> Resource {
    text.parse().expect("a resource")
}

/// A holder.
#[must_use]
pub fn holder(name: &str) -> Holder {
    name.parse().expect("a holder")
}

/// Asks for something exclusively, now or not at all.
#[must_use]
pub fn now(name: &str, what: &str) -> Ask {
    Ask::exclusive(resource(what), holder(name))
}

/// Asks for something exclusively, and waits for a minute.
#[must_use]
pub fn patiently(name: &str, what: &str) -> Ask {
    Ask {
        wait_millis: 60_000,
        ..now(name, what)
    }
}

/// Asks for several things exclusively, and waits.
#[must_use]
pub fn batch(name: &str, what: &[&str]) -> Ask {
    let resources = what.iter().map(|text| resource(text)).collect();
    Ask {
        resources,
        ..patiently(name, "replaced")
    }
}

/// The same, shared.
#[must_use]
pub fn shared(ask: Ask) -> Ask {
    Ask {
        mode: Mode::Shared,
        ..ask
    }
}

/// The same with a priority.
#[must_use]
pub fn important(ask: Ask, priority: u8) -> Ask {
    let priority = Priority::try_from(priority).expect("a priority");
    Ask { priority, ..ask }
}

/// What the tests do with any client.
pub trait Shortly {
    /// Takes what must be free.
    fn take(&self, ask: &Ask) -> Grant;
    /// Asks for what must not be free.
    fn queue(&self, ask: &Ask) -> Ticket;
    /// Looks after a request without waiting; a grant where it is one.
    fn look(&self, ticket: &Ticket) -> Option<Grant>;
    /// Gives back.
    fn give_back(&self, grant: &Grant);
    /// What is in the way of who does not wait.
    fn refused(&self, ask: &Ask) -> LockRefused;
}

impl Shortly for Arc<dyn Locks> {
    fn take(&self, ask: &Ask) -> Grant {
        match self.begin(ask) {
            Ok(Attempt::Granted { grant }) => grant,
            other => panic!("{:?} is not granted: {other:?}", ask.resources),
        }
    }

    fn queue(&self, ask: &Ask) -> Ticket {
        match self.begin(ask) {
            Ok(Attempt::Queued { ticket }) => ticket,
            other => panic!("{:?} is not queued: {other:?}", ask.resources),
        }
    }

    fn look(&self, ticket: &Ticket) -> Option<Grant> {
        match self.wait(ticket.id, Duration::ZERO) {
            Ok(Attempt::Granted { grant }) => Some(grant),
            Ok(Attempt::Queued { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn give_back(&self, grant: &Grant) {
        let left = self.release(&Release::of(grant.token)).expect("it is held");
        assert_eq!(left, 0, "it was entered once");
    }

    fn refused(&self, ask: &Ask) -> LockRefused {
        why(self.begin(ask))
    }
}

/// The refusal that an answer has to be.
#[must_use]
pub fn why<T: fmt::Debug>(answer: Result<T, Error>) -> LockRefused {
    match answer {
        Err(Error::Lock { refused }) => refused,
        other => panic!("not refused: {other:?}"),
    }
}
