//! The contract of the store port, kept by the store in PostgreSQL, and what only a server can show.

mod contract;
mod filling;
mod locks;
mod losses;
mod processes;
mod refusals;
mod subject;
