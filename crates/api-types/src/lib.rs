//! The documents that `crewboss --json` prints, and the problems that it reports.
//!
//! A command prints one document: an envelope with the schema's name and version, and the fields of
//! one of the bodies here beside it. Within a version fields are added and never renamed or
//! removed, so a reader ignores what it does not know. Ids, fences and tokens are text; positions,
//! versions and counts are integers below 2^53; times are UTC in RFC 3339. What is not known or
//! does not apply is `null`.

#![warn(missing_docs)]

mod archive;
mod audit;
mod checkpoint;
mod config;
mod dependencies;
mod envelope;
mod health;
mod history;
mod lock;
mod nodes;
mod problem;
mod project;
mod queue;
mod quota;
mod recovery;
mod session;
mod task;
mod work;

#[cfg(test)]
mod samples;

pub use archive::{
    ArchiveDocument, ArchiveListDocument, ArchiveRestoreDocument, ArchiveStatsDocument,
};
pub use audit::{
    AuditBadHead, AuditExportDocument, AuditFault, AuditHeadDocument, AuditKeyDocument,
    AuditLogFault, AuditVerifyDocument,
};
pub use checkpoint::{
    CheckpointDiffDocument, CheckpointDocument, CheckpointFile, CheckpointListDocument,
    CheckpointsDeletedDocument,
};
pub use config::{
    ConfigDocument, ConfigEntry, ConfigInitDocument, ConfigPathDocument, ConfigValueDocument,
};
pub use dependencies::{
    DependencyEdges, DependencyRef, DepsDocument, DepsGraphDocument, DepsValidateDocument,
};
pub use envelope::{Body, Document, SCHEMA_VERSION};
pub use health::{
    CheckVerdict, DoctorCheck, DoctorDocument, IndexRebuildDocument, IndexStatsDocument,
    IndexVerifyDocument, ResourceRow, ResourcesDocument, SelfTestDocument, StoreBackupDocument,
    StoreCheckDocument, StoreMigrateDocument, StoreMigration, StoreSchemaDocument,
};
pub use history::{
    DecisionDocument, DecisionEntry, DecisionListDocument, FileFinding, HistoryDocument,
    HistoryEntry, HistoryVerifyDocument, NoteDocument,
};
pub use lock::{
    LockBlocker, LockDocument, LockListDocument, LockReleasedDocument, LockRow, LockStatsDocument,
    LockTakenDocument, LockWaitDocument,
};
pub use nodes::{CheckoutRef, NodeDocument, NodeListDocument};
pub use problem::{ErrorDocument, FieldDifference, ProblemCode, VersionConflictDetails};
pub use project::{ImportDocument, ImportedRef, ProjectDocument};
pub use queue::{
    CancelDocument, CleanDocument, Counts, DeletionDocument, ExecutionsDocument, PurgeDocument,
    PurgedTask, RefusedTask, RunDocument, StartedTask, StatusDocument, TaskListDocument,
    TaskStatsDocument, TimeoutsDocument, WaitDocument,
};
pub use quota::{QuotaDocument, QuotaInTheWay, QuotaListDocument};
pub use recovery::{
    ExportDocument, ImportArchiveDocument, LeftStream, RebuiltDocument, RepairDocument, RepairRow,
    StoreRestoreDocument,
};
pub use session::SessionDocument;
pub use task::{CheckedTaskDocument, TaskDetailsDocument, TaskDocument, TaskRow};
pub use work::{DiffDocument, LogsDocument, MergeDocument};
