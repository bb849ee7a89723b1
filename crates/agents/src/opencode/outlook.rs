//! What a task would get, without starting anything: for whoever checks an installation.

use std::path::{Path, PathBuf};

use domain::agent::{AgentConfig, Isolation};
use serde_json::Value;

use super::{
    config::{Configuration, login_names},
    definition, first_look,
    places::Places,
};
use crate::{assets::CODER, providers};

/// Where `OpenCode` has an agent from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentOrigin {
    /// None is asked for: it is the one that `OpenCode` takes by itself.
    Default,
    /// `OpenCode` brings it along.
    BuiltIn,
    /// Crewboss brings it along.
    Seeded,
    /// A definition in a file.
    File(PathBuf),
    /// A configuration of `OpenCode`.
    Configured,
    /// A configuration of `OpenCode` switches it off.
    Disabled,
    /// Nobody: a task for it fails.
    Unknown,
}

/// What `OpenCode` would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The agent that is asked for, where one is.
    pub agent: Option<String>,
    /// Where that is from.
    pub origin: AgentOrigin,
    /// The model in force, where one is named.
    pub model: Option<String>,
    /// Providers that the user has logged in to.
    pub logins: Vec<String>,
    /// Variables of the user's environment that hold a provider's key and would be passed on.
    pub keys: Vec<String>,
    /// Providers that a configuration of `OpenCode` defines.
    pub providers: Vec<String>,
}

/// What a task for the agent `name` with this configuration would get, in a project as it is now.
#[must_use]
pub fn outlook(
    name: &str,
    config: &AgentConfig,
    environment: &[(String, String)],
    project: &Path,
) -> Outlook {
    let is_shared = config.isolation.unwrap_or_default() == Isolation::Shared;
    let user = first_look(config, environment, is_shared);
    let places = if is_shared {
        Places::of(&user)
    } else {
        Places::default()
    };
    let mut configuration = Configuration::read(&places, project, &[]);
    if let Some(text) = user.get("OPENCODE_CONFIG_CONTENT") {
        // One that cannot be read fails the task, which says so better.
        drop(configuration.add(text));
    }
    let mut folders = vec![project.join(".opencode")];
    folders.extend(places.config_dir.clone());
    folders.extend(places.dot_folder.clone());
    folders.extend(places.global());
    let wanted = config.agent.as_deref();
    let origin = match wanted.map(|wanted| origin(wanted, &configuration, &folders)) {
        Some(origin) => origin,
        None => match origin(name, &configuration, &folders) {
            AgentOrigin::Unknown | AgentOrigin::Disabled => AgentOrigin::Default,
            own => own,
        },
    };
    let agent = wanted.or_else(|| (origin != AgentOrigin::Default).then_some(name));
    let defined = agent.and_then(|agent| definition::find(agent, &folders)?.model);
    let model = config
        .model
        .clone()
        .or_else(|| configuration.model_of_agent(agent?))
        .or(defined)
        .or_else(|| configuration.model());
    let provider = model.as_deref().and_then(|model| model.split('/').next());
    let needed = match provider {
        Some(provider) => providers::variables(provider)
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        None => providers::all_variables(),
    };
    let is_set = |name: &String| {
        environment
            .iter()
            .any(|(known, value)| known == name && !value.is_empty())
    };
    Outlook {
        agent: agent.map(str::to_owned),
        origin,
        model,
        logins: places
            .logins
            .iter()
            .flat_map(|file| login_names(file))
            .collect(),
        keys: needed.into_iter().filter(is_set).collect(),
        providers: configuration.providers(),
    }
}

fn origin(name: &str, configuration: &Configuration, folders: &[PathBuf]) -> AgentOrigin {
    let configured = configuration.agent(name);
    if configured.is_some_and(|agent| agent.get("disable") == Some(&Value::Bool(true))) {
        return AgentOrigin::Disabled;
    }
    if let Some(file) = definition::file(name, folders) {
        return AgentOrigin::File(file);
    }
    if configured.is_some() {
        return AgentOrigin::Configured;
    }
    match name {
        CODER => AgentOrigin::Seeded,
        name if definition::is_built_in(name) => AgentOrigin::BuiltIn,
        _ => AgentOrigin::Unknown,
    }
}

/// Whether anybody has an agent of this name, by as few looks at the disk as that takes.
#[must_use]
pub fn is_known_agent(name: &str, environment: &[(String, String)], project: &Path) -> bool {
    if name == CODER || definition::is_built_in(name) {
        return true;
    }
    let user = first_look(&AgentConfig::opencode(), environment, true);
    let places = Places::of(&user);
    let mut folders = vec![project.join(".opencode")];
    folders.extend(places.config_dir.clone());
    folders.extend(places.dot_folder.clone());
    folders.extend(places.global());
    if definition::file(name, &folders).is_some() {
        return true;
    }
    let mut configuration = Configuration::read(&places, project, &[]);
    if let Some(text) = user.get("OPENCODE_CONFIG_CONTENT") {
        drop(configuration.add(text));
    }
    configuration.agent(name).is_some()
}

/// The agents that a project and its user have defined, and those that are always there, for
/// whoever has misspelt one.
#[must_use]
pub fn known_agents(environment: &[(String, String)], project: &Path) -> Vec<String> {
    let user = first_look(&AgentConfig::opencode(), environment, true);
    let places = Places::of(&user);
    let mut folders = vec![project.join(".opencode")];
    folders.extend(places.config_dir.clone());
    folders.extend(places.dot_folder.clone());
    folders.extend(places.global());
    let mut names = definition::names(&folders);
    names.extend(Configuration::read(&places, project, &[]).agents());
    names.push(CODER.to_owned());
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn look(name: &str, environment: &[(&str, &str)], project: &Path) -> Outlook {
        let config = AgentConfig {
            agent: (name != "opencode").then(|| name.to_owned()),
            ..AgentConfig::opencode()
        };
        let environment: Vec<(String, String)> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        outlook(name, &config, &environment, project)
    }

    #[test]
    fn every_name_has_an_origin() {
        let dir = tempfile::tempdir().unwrap();
        let agents = dir.path().join(".opencode/agent");
        fs::create_dir_all(&agents).unwrap();
        let reviewer = agents.join("reviewer.md");
        fs::write(&reviewer, "---\nmode: subagent\nmodel: p/small\n---\nx\n").unwrap();
        let config = r#"{"model": "p/large", "agent": {"lead": {"model": "q/m"}, "plan": {"disable": true}}}"#;
        fs::write(dir.path().join("opencode.json"), config).unwrap();
        let origin = |name| look(name, &[], dir.path()).origin;
        assert_eq!(origin("opencode"), AgentOrigin::Default);
        assert_eq!(origin("coder"), AgentOrigin::Seeded);
        assert_eq!(origin("build"), AgentOrigin::BuiltIn);
        assert_eq!(origin("plan"), AgentOrigin::Disabled);
        assert_eq!(origin("lead"), AgentOrigin::Configured);
        assert_eq!(origin("reviewer"), AgentOrigin::File(reviewer));
        assert_eq!(origin("reviewr"), AgentOrigin::Unknown);
        let model = |name| look(name, &[], dir.path()).model.unwrap();
        assert_eq!(model("lead"), "q/m");
        assert_eq!(model("reviewer"), "p/small");
        assert_eq!(model("opencode"), "p/large");
        let known = known_agents(&[], dir.path());
        assert!(!is_known_agent("reviewr", &[], dir.path()));
        for name in ["build", "coder", "lead", "reviewer"] {
            assert!(is_known_agent(name, &[], dir.path()), "{name}");
            assert!(known.iter().any(|known| known == name), "{known:?}");
        }
    }

    #[test]
    fn only_keys_that_the_model_in_force_reads_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let environment = [
            ("OPENAI_API_KEY", "k"),
            ("FOREIGN_API_KEY", "k"),
            ("XAI_API_KEY", ""),
        ];
        assert_eq!(
            look("opencode", &environment, dir.path()).keys,
            ["OPENAI_API_KEY"]
        );
        fs::write(dir.path().join("opencode.json"), r#"{"model": "xai/grok"}"#).unwrap();
        let found = look("opencode", &environment, dir.path());
        assert!(found.keys.is_empty(), "{found:?}");
    }
}
