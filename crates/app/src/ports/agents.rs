//! The agents port.
