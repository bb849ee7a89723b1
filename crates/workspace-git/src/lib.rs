//! workspace-git
