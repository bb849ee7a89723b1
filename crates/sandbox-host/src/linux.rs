//! Linux: `/proc`, pidfds, control groups.

pub(crate) mod bells;
pub(crate) mod census;
pub(crate) mod cgroup;
pub(crate) mod children;
pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod end;
pub(crate) mod handle;
pub(crate) mod host;
pub(crate) mod launch;
pub(crate) mod report;
pub(crate) mod shim;
pub(crate) mod stdin;
pub(crate) mod table;
pub(crate) mod tree;
