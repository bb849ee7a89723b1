//! Processes and time of this machine: starts trees, recognises them, and ends all of them.
//!
//! Only Linux is implemented: identities come from `/proc`, signals go through pidfds, and trees
//! are held together by a cgroup v2 of their own where one may be made.

#[cfg(not(target_os = "linux"))]
compile_error!("sandbox-host has no adapter for this platform; only Linux is implemented");

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    bells::HostBells,
    clock::SystemClock,
    host::{CgroupRoot, HostOptions, HostProcesses, Unsupported},
    shim::{EXIT_NOT_STARTED, Prepared, exec_shim},
};
