//! Names to agents: `[agents]` first, then `agent-config.json`, then `OpenCode` with that agent.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use app::ports::agents::{AgentSource, Agents, Driver, ResolvedAgent};
use domain::agent::{AgentConfig, AgentName, DriverKind};

use crate::{
    command::CommandDriver,
    layout::{layout_command, read_agent_config},
    opencode::OpencodeDriver,
};

/// The name that means `OpenCode` with whatever agent it uses by default.
const OPENCODE: &str = "opencode";

/// What a name stands for that nothing lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unlisted {
    /// `OpenCode` with the agent of that name, over its own protocol.
    #[default]
    Opencode,
    /// The command line of the Agent Orchestrator layout.
    Layout,
}

/// The agents of one project.
#[derive(Debug)]
pub struct Registry {
    agents: BTreeMap<AgentName, ResolvedAgent>,
    unlisted: Unlisted,
    warnings: Vec<String>,
    command: Arc<CommandDriver>,
    opencode: Arc<OpencodeDriver>,
}

impl Registry {
    /// Agents from configuration and from files. The first that lists a name wins; a file that is
    /// missing or invalid is a warning.
    #[must_use]
    pub fn new(
        configured: BTreeMap<AgentName, AgentConfig>,
        files: &[PathBuf],
        unlisted: Unlisted,
    ) -> Self {
        let mut agents: BTreeMap<_, _> = configured
            .into_iter()
            .map(|(name, config)| {
                (
                    name,
                    ResolvedAgent {
                        config,
                        source: AgentSource::Config,
                    },
                )
            })
            .collect();
        let mut warnings = Vec::new();
        for file in files {
            match read_agent_config(file) {
                Ok(listed) => add(&mut agents, listed, file),
                Err(problem) => warnings.push(format!("agents of {problem}")),
            }
        }
        Self {
            agents,
            unlisted,
            warnings,
            command: Arc::default(),
            opencode: Arc::default(),
        }
    }
}

fn add(
    agents: &mut BTreeMap<AgentName, ResolvedAgent>,
    listed: BTreeMap<AgentName, AgentConfig>,
    file: &Path,
) {
    for (name, config) in listed {
        let source = AgentSource::File(file.to_owned());
        agents
            .entry(name)
            .or_insert(ResolvedAgent { config, source });
    }
}

impl Agents for Registry {
    fn resolve(&self, name: &AgentName) -> ResolvedAgent {
        if let Some(agent) = self.agents.get(name) {
            return agent.clone();
        }
        let config = match self.unlisted {
            Unlisted::Layout => layout_command(),
            Unlisted::Opencode => AgentConfig {
                agent: (name.as_str() != OPENCODE).then(|| name.to_string()),
                ..AgentConfig::opencode()
            },
        };
        ResolvedAgent {
            config,
            source: AgentSource::Unlisted,
        }
    }

    fn driver(&self, kind: DriverKind) -> Arc<dyn Driver> {
        match kind {
            DriverKind::Command => self.command.clone(),
            DriverKind::Opencode => self.opencode.clone(),
        }
    }

    fn listed(&self) -> Vec<(AgentName, ResolvedAgent)> {
        self.agents
            .iter()
            .map(|(name, agent)| (name.clone(), agent.clone()))
            .collect()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
