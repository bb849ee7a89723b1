//! One file for each verb. All of them run inside a store's transaction.

mod archive_tasks;
mod change;
mod checkpoint;
mod claim;
mod continuation;
mod create_task;
mod delete_tasks;
mod external;
mod import_tasks;
mod keep_paper;
mod lock;
mod nodes;
mod note_project;
mod quota;
mod register_project;
mod retry_task;
mod session;
mod stop_task;
mod timeout;

pub(crate) use archive_tasks::archive_tasks;
pub(crate) use change::{Change, encode};
pub(crate) use checkpoint::{Fork, fork_task, record_checkpoint, rewind_task};
use continuation::continuation;

pub(crate) use claim::{ClaimTerms, claim_next, claim_task};
pub(crate) use create_task::create_task;
pub(crate) use delete_tasks::{delete_task, delete_tasks, purge_tasks, undelete_task};
pub(crate) use external::{ExternalEnd, attach, detach, end_external};
pub use import_tasks::IMPORT_BATCH_MAX;
pub(crate) use import_tasks::import_tasks;
pub(crate) use keep_paper::keep_paper;
pub(crate) use lock::{change_locks, end_locks_of};
pub(crate) use nodes::{lead, recover_lost, register_checkout, tell_node};
pub(crate) use note_project::{record_daemon_start, record_key_rotation};
pub(crate) use quota::{count_tokens, remove_quota, rooms, set_quota, used};
use quota::{require_place, require_start};
pub(crate) use register_project::register_project;
pub(crate) use retry_task::retry_task;
pub(crate) use session::{advance_session, renew_lease};
pub(crate) use stop_task::stop_task;
pub(crate) use timeout::extend_timeout;
