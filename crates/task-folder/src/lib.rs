//! The `.crewboss/` folder of a project: readable images of tasks, and the files of sessions.
//!
//! ```text
//! .crewboss/
//!   .gitignore                    everything but config.toml, agents/ and templates/
//!   tasks/<task>/
//!     state.json                  the task as the store has it
//!     plan.md
//!     logs.jsonl                  what happened; logs.jsonl.<n>.gz are its full files
//!     decisions.md                what was decided
//!     checkpoints/<checkpoint>/
//!       manifest.json             what it is, with a hash for each file; written last
//!       state.json plan.md decisions.md
//!       conversation/             what the agent needs to go on, compressed
//!     sessions/<session>/
//!       outcome.json              how it ended, before the store knows
//!       agent.log, agent.log.1 …  what the agent printed
//!       transcript.jsonl          what the agent did
//!       gates/<name>.log
//!       private/                  the agent's own folder
//! ```
//!
//! Everything is reached through open folders, one name at a time, and a symbolic link is never
//! followed: whatever an agent plants in `.crewboss/` leads nowhere.

mod checkpoints;
mod decisions;
mod dir;
mod folders;
mod image;
mod journal;
mod layers;
mod log;
mod transcript;

pub use checkpoints::CheckpointFolders;
pub use folders::ProjectFolders;
pub use journal::ProjectJournal;
pub use layers::ProjectLayers;
