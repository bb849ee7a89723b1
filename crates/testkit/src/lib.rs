//! What tests and the demo stand on: a scripted model that real agents talk to, small agents that
//! behave well or badly on purpose, and throw-away git repositories.

#![warn(missing_docs)]

pub mod contract;
pub mod fake_agents;
pub mod orchestrator_tool;
pub mod poll;
pub mod postgres;
pub mod redis_server;
pub mod requirements;
pub mod scripted_model;
pub mod simulation;
pub mod temp_repo;
