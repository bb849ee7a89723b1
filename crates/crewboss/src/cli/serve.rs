//! `serve`: the daemon as one node among others on the same store.

use std::time::Duration;

use app::command::Meta;
use domain::{
    id::NodeId,
    node::{Introduction, LABELS_MAX},
};

use super::daemon;
use crate::{
    config::Origin,
    context::Context,
    daemon::Membership,
    fail::{Fail, Outcome},
    places::FoundBy,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What people call this node; by default `serve.name`, else the machine's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What people say of this node, as ZONE or KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Sessions that this node carries at once; by default `serve.capacity`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    capacity: Option<u32>,
    /// Sessions that run at once on all nodes together; by default `serve.max_sessions`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_sessions: Option<u32>,
    /// Seconds between safety checks; work starts on events, not on this
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    interval: Option<u32>,
}

/// What a daemon is besides, as a node.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) membership: Membership,
    /// Sessions at once on all nodes.
    pub(super) store_max: u32,
    /// Tasks of a project at once, where somebody has said so.
    pub(super) project_max: Option<u32>,
    /// Seconds that a session may take.
    pub(super) session_seconds: u32,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if context.places.layout.is_some() {
            return Err(Fail::usage("a layout is worked on by one machine alone")
                .hint("`crewboss daemon` works on it"));
        }
        let node = context.become_node()?;
        if matches!(context.places.found_by, FoundBy::Asked | FoundBy::Marker) {
            let project = context.ensure_project()?;
            let root = &project.root;
            context
                .out
                .info(format_args!("this node has the project {root}"));
        }
        let serving = self.serving(context, node)?;
        daemon::run(context, None, self.interval, Some(serving))
    }

    fn serving(&self, context: &Context, node: NodeId) -> Result<Serving, Fail> {
        let config = context.config()?;
        let settings = &config.settings.serve;
        let store_max = self.max_sessions.unwrap_or(settings.max_sessions);
        let capacity = self.capacity.or(settings.capacity).unwrap_or(store_max);
        let name = self.name.clone().or_else(|| settings.name.clone());
        let introduction = Introduction {
            name: name.unwrap_or_else(machine),
            labels: self.labels(settings.labels.as_deref())?,
            capacity,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: context.processes()?.own_identity(),
            lease_millis: settings.lease_seconds.saturating_mul(1_000),
        };
        let is_set = !matches!(config.origin("daemon.max_concurrent"), Origin::Default);
        let meta: Meta = daemon::meta();
        Ok(Serving {
            membership: Membership {
                node,
                introduction,
                drain: Duration::from_secs(u64::from(settings.drain_seconds)),
                recovery: context.recovery()?,
                meta,
            },
            store_max,
            project_max: is_set.then_some(config.settings.daemon.max_concurrent),
            session_seconds: settings.session_timeout_seconds,
        })
    }

    fn labels(&self, configured: Option<&str>) -> Result<Vec<String>, Fail> {
        let words = configured.unwrap_or_default().split(',').map(str::trim);
        let mut labels: Vec<String> = match self.labels.as_slice() {
            [] => words
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
            given => given.to_vec(),
        };
        labels.sort_unstable();
        labels.dedup();
        if labels.len() > LABELS_MAX {
            return Err(Fail::usage(format!("{LABELS_MAX} labels at most")));
        }
        Ok(labels)
    }
}

fn machine() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
