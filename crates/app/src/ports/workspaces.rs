//! The workspaces port.
