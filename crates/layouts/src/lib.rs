//! The Agent Orchestrator layout: tasks as plain JSON files in `.gemini/agents` or `.orchestra`.
//!
//! ```text
//! B/                              .gemini/agents or .orchestra
//!   tasks/<task>.json             a task, for people and for tools that know the layout
//!   tasks/<task>.{done,error,…}   sentinel files of the task's agent
//!   tasks/index.json              ids by status, agent and priority
//!   plans/<task>_plan.md   logs/<task>.log   workspace/   archive/   config.json
//!   .crewboss/                    ours: store, sessions, and copies of the files that we wrote
//! ```
//!
//! The store is the truth and these files are its image, and an inbox: a file that differs from the
//! copy of what was written last is somebody's wish ([`Inbox`]). Every path is built from an id;
//! what a file says about paths is never used. Links below the project's folder are not followed.

mod archive;
mod config;
mod dir;
mod document;
mod folders;
mod image;
mod inbox;
mod index;
mod layout;
mod log;
mod looked;
mod places;
mod plan;
mod reading;
mod sentinels;
mod taking;
mod time;

pub use config::{ArchiveConfig, ConfigError};
pub use document::{Attempt, Document, Word};
pub use folders::{Hearing, LayoutFolders, Shown, Source, TaskFiles};
pub use inbox::{Edit, Inbox};
pub use index::{Drift, Index};
pub use layout::{InvalidLayout, Layout};
pub use places::Sentinel;
pub use reading::{Unreadable, read_document};
pub use sentinels::Found;
pub use taking::{Refused, imported};
