//! sandbox-host
