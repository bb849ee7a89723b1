//! What every store must do, as tests that any of them can be put to.
//!
//! A store crate wraps its store in a [`Subject`] and names how to make one:
//! `testkit::store_contract!(make);`.

pub mod clock;
pub mod faults;
pub mod histories;
pub mod world;

pub mod claiming;
pub mod creating;
pub mod deleting;
pub mod depending;
pub mod ending;
pub mod external;
pub mod keeping;
pub mod locks;
pub mod log;
pub mod nodes;
pub mod quotas;
pub mod retrying;
pub mod versions;

use std::sync::Arc;

use app::{
    command::Reply,
    error::Error,
    ports::store::{Reader, Store, Tx},
};
use clock::ManualClock;

/// A store under test, with the two doors that the port does not have.
pub trait Subject: Store {
    /// Shows one consistent state.
    fn look(&self, work: &mut dyn FnMut(&dyn Reader));

    /// Runs `work` in one transaction; what fails must leave nothing behind.
    fn transact(
        &self,
        work: &mut dyn FnMut(&mut dyn Tx) -> Result<Reply, Error>,
    ) -> Result<Reply, Error>;
}

/// Makes an empty store that reads this clock.
pub type Make = fn(Arc<ManualClock>) -> Arc<dyn Subject>;

/// Puts a store to every test of the contract.
#[macro_export]
macro_rules! store_contract {
    ($make:path) => {
        $crate::store_contract!(@cases $make,
            creating::a_task_is_read_back_as_it_was_given,
            creating::bad_input_changes_nothing,
            creating::a_key_names_one_task_that_is_not_deleted,
            creating::ids_suffixes_and_keys_resolve,
            creating::ids_rise_when_the_clock_goes_back,
            creating::a_full_queue_refuses_or_warns,
            depending::a_diamond_opens_in_order,
            depending::an_unknown_dependency_is_refused,
            depending::a_retried_chain_heals_its_dependants,
            depending::a_dependency_named_twice_counts_once,
            depending::a_completed_dependency_blocks_nobody,
            claiming::priority_then_age_decides,
            claiming::waiting_raises_priority,
            claiming::a_capped_agent_hides_nobody,
            claiming::owners_take_turns,
            claiming::a_named_task_is_claimed_or_refused_with_the_reason,
            claiming::nothing_starts_before_its_time,
            claiming::after_a_reboot_the_wall_clock_decides,
            claiming::many_threads_claim_each_task_once,
            ending::a_session_walks_through_its_life,
            ending::a_void_fence_is_told_so,
            ending::finishing_twice_changes_nothing,
            ending::a_lost_session_requeues_its_task_and_then_fails_it,
            ending::stopping_ends_what_nobody_works_on,
            ending::stopping_tells_a_running_session,
            ending::more_time_moves_the_deadline,
            ending::a_lease_is_renewed,
            retrying::only_failed_tasks_are_retried_once_each,
            retrying::retries_have_a_limit,
            retrying::work_is_gone_on_from,
            retrying::auto_retry_makes_exactly_one_successor,
            external::one_agent_holds_an_exclusive_task,
            external::several_agents_hold_a_collaborative_task,
            external::an_external_task_is_never_claimed,
            external::an_external_task_waits_for_its_dependencies,
            keeping::deleting_and_archiving_move_the_counters,
            keeping::what_others_wait_for_is_not_deleted,
            deleting::what_is_deleted_comes_back_as_it_was,
            deleting::an_archived_task_is_deleted_and_comes_back_archived,
            deleting::a_task_that_is_needed_is_not_deleted,
            deleting::a_chain_outlives_its_tasks,
            deleting::a_purged_task_leaves_its_place_and_its_hashes,
            deleting::what_is_gone_on_from_is_not_purged,
            deleting::deleted_tasks_are_found_where_they_are_asked_for,
            keeping::pages_follow_each_other,
            keeping::an_idempotency_key_gets_the_first_answer_for_a_day,
            keeping::effects_are_owed_until_they_are_done,
            keeping::effects_are_read_in_pages,
            keeping::generation_changes_with_every_commit,
            versions::a_change_is_refused_where_another_came_between,
            versions::a_refusal_says_whether_asking_again_makes_sense,
            versions::of_many_from_one_version_one_gets_through,
            versions::what_is_no_longer_kept_is_not_invented,
            versions::a_session_has_versions_too,
            quotas::a_full_queue_takes_nothing_more,
            quotas::many_threads_fill_a_quota_and_no_more,
            quotas::waiting_tasks_stay_queued_by_themselves,
            quotas::claims_pass_over_who_has_used_his_up,
            quotas::an_outside_agent_counts_too,
            quotas::tokens_are_counted_by_month,
            quotas::quotas_are_set_changed_and_removed,
            quotas::a_lowered_quota_ends_nothing,
            quotas::a_failing_call_counts_nothing,
            nodes::a_node_comes_and_goes,
            nodes::a_node_is_meant_by_its_name,
            nodes::checkouts_are_joined_by_their_repository,
            nodes::a_checkout_with_tasks_stays_its_own_project,
            nodes::a_node_claims_what_it_has,
            nodes::no_node_and_no_store_is_over_its_cap,
            nodes::many_nodes_claim_within_every_cap,
            nodes::one_node_leads_at_a_time,
            nodes::a_lost_nodes_work_goes_back_to_the_queue,
            nodes::a_living_node_sees_to_its_own_first,
            nodes::nothing_is_lost_with_nodes,
            log::both_chains_verify_from_the_beginning,
            faults::a_failing_call_leaves_nothing_behind,
        );
    };
    (@cases $make:path, $($module:ident :: $case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                $crate::contract::$module::$case($make);
            }
        )*
    };
}
