//! The gates port.
