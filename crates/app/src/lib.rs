//! What Crewboss *does*: ports to the outside, commands and queries over the store, the scheduler
//! and the reconciler. The only caller of ports.

#![warn(missing_docs)]

pub mod ports;
