//! What tasks of an agent would be run by.

use agents::{AgentOrigin, Outlook, is_known_agent, known_agents, outlook};
use app::ports::agents::{AgentSource, Agents, ResolvedAgent};
use domain::agent::{AgentName, DriverKind};

use super::{Check, bad, good, note};
use crate::{
    config::nearest,
    context::{Context, is_executable},
    probe, wiring,
};

/// What `OpenCode` is called where nothing says otherwise.
const OPENCODE: &str = "opencode";
const INSTALL: &str = "`npm install --global opencode-ai` installs it";

/// One agent, or every one that is configured and what all other names would get.
pub(super) fn look(context: &Context, name: Option<&AgentName>) -> Vec<Check> {
    let Ok(config) = context.config() else {
        return vec![];
    };
    let agents = wiring::agents(config, &context.places, &context.places.project);
    let warnings = agents.warnings().iter();
    let mut checks: Vec<Check> = warnings.map(|text| note("agents", text.clone())).collect();
    match name {
        Some(name) => checks.extend(one(context, &*agents, name, &agents.resolve(name))),
        None => checks.extend(all(context, &*agents)),
    }
    checks
}

fn all(context: &Context, agents: &dyn Agents) -> Vec<Check> {
    let listed = agents.listed();
    let mut checks: Vec<Check> = listed
        .iter()
        .flat_map(|(name, agent)| one(context, agents, name, agent))
        .collect();
    let has_opencode = listed
        .iter()
        .any(|(_, agent)| agent.config.driver == DriverKind::Opencode);
    if has_opencode {
        return checks;
    }
    // Nothing that is configured needs it, so its absence is no problem yet.
    let Some(path) = context.find_program(OPENCODE) else {
        checks.push(note(
            OPENCODE,
            format!("not installed: only agents that are configured can run ({INSTALL})"),
        ));
        return checks;
    };
    checks.push(match probe::version(&path) {
        Ok(version) => good(
            OPENCODE,
            format!(
                "{} {version}, for every agent that is not configured",
                path.display()
            ),
        ),
        Err(why) => note(OPENCODE, format!("{}: {why}", path.display())),
    });
    if let Ok(name) = OPENCODE.parse::<AgentName>() {
        let agent = agents.resolve(&name);
        if agent.config.driver == DriverKind::Opencode {
            checks.push(provider(&outlook_of(context, &name, &agent)));
        }
    }
    checks
}

/// Why a task for this agent would fail, where that can be told without starting anything: nobody
/// has configured it, and `OpenCode` does not have it.
pub(in crate::cli) fn doubt(context: &Context, name: &AgentName) -> Option<String> {
    let config = context.config().ok()?;
    let agents = wiring::agents(config, &context.places, &context.places.project);
    let agent = agents.resolve(name);
    let wanted = agent.config.agent.as_deref()?;
    let environment = context.child_environment();
    let is_opencode = agent.config.driver == DriverKind::Opencode;
    if agent.source != AgentSource::Unlisted
        || !is_opencode
        || is_known_agent(wanted, &environment, &context.places.project)
    {
        return None;
    }
    let why = origin(&outlook_of(context, name, &agent)).err()?;
    let near = near(context, &*agents, name);
    Some(format!(
        "{name} is not configured: it would be run as {why}{near}"
    ))
}

fn outlook_of(context: &Context, name: &AgentName, agent: &ResolvedAgent) -> Outlook {
    let environment = context.child_environment();
    outlook(
        name.as_str(),
        &agent.config,
        &environment,
        &context.places.project,
    )
}

/// What a task for this agent would be given.
fn one(
    context: &Context,
    agents: &dyn Agents,
    name: &AgentName,
    agent: &ResolvedAgent,
) -> Vec<Check> {
    let is_opencode = agent.config.driver == DriverKind::Opencode;
    let program = agent.config.command.as_deref().unwrap_or(OPENCODE);
    let found = if program.contains('/') {
        Some(context.places.project.join(program)).filter(|path| is_executable(path))
    } else {
        context.find_program(program)
    };
    let source = match &agent.source {
        AgentSource::Config => "configured",
        AgentSource::File(file) => &format!("from {}", file.display()),
        AgentSource::Unlisted => "not configured",
    };
    let outlook = is_opencode.then(|| outlook_of(context, name, agent));
    let what = match &outlook {
        Some(outlook) => origin(outlook),
        None => Ok(format!("the command `{program}`")),
    };
    let check = match (what, found) {
        (Err(why), _) if agent.source == AgentSource::Unlisted => {
            let near = near(context, agents, name);
            bad(
                "agent",
                format!("{name}: not known: would be run as {why}{near}"),
            )
        }
        (Err(why), _) => bad("agent", format!("{name}: {source}, as {why}")),
        (Ok(what), None) => {
            let hint = if is_opencode {
                INSTALL.to_owned()
            } else {
                format!("agents.{name}.command says what to run")
            };
            let is_there = context.places.project.join(program).exists();
            let missing = if program.contains('/') && is_there {
                format!("`{program}` is not executable (`chmod +x {program}`)")
            } else {
                format!("`{program}` is not installed ({hint})")
            };
            bad("agent", format!("{name}: {source}: {what}; {missing}"))
        }
        (Ok(what), Some(path)) => {
            let check = installed(name, &format!("{source}: {what}"), &path, is_opencode);
            return [check]
                .into_iter()
                .chain(outlook.as_ref().map(provider))
                .collect();
        }
    };
    vec![check]
}

fn installed(name: &AgentName, what: &str, path: &std::path::Path, is_opencode: bool) -> Check {
    let path_shown = path.display();
    if !is_opencode {
        return good("agent", format!("{name}: {what}; {path_shown}"));
    }
    match probe::version(path) {
        Ok(version) => good("agent", format!("{name}: {what}; {path_shown} {version}")),
        Err(why) => bad("agent", format!("{name}: {what}; {path_shown}: {why}")),
    }
}

/// What of `OpenCode` it is, or why it is nothing.
fn origin(outlook: &Outlook) -> Result<String, String> {
    let agent = outlook.agent.as_deref().unwrap_or_default();
    match &outlook.origin {
        AgentOrigin::Default => Ok("OpenCode with the agent that it takes by itself".to_owned()),
        AgentOrigin::BuiltIn => Ok(format!("OpenCode's own agent {agent}")),
        AgentOrigin::Seeded => Ok(format!(
            "OpenCode with the agent {agent} that comes with Crewboss"
        )),
        AgentOrigin::File(file) => Ok(format!("OpenCode with the agent of {}", file.display())),
        AgentOrigin::Configured => Ok(format!(
            "OpenCode with the agent {agent} of its configuration"
        )),
        AgentOrigin::Disabled => Err(format!(
            "OpenCode agent {agent}, which OpenCode's configuration disables"
        )),
        AgentOrigin::Unknown => Err(format!(
            "OpenCode agent {agent}, which OpenCode does not have"
        )),
    }
}

/// A name that may have been meant.
fn near(context: &Context, agents: &dyn Agents, name: &AgentName) -> String {
    let mut names = known_agents(&context.child_environment(), &context.places.project);
    names.extend(
        agents
            .listed()
            .into_iter()
            .map(|(name, _)| name.to_string()),
    );
    names.push(OPENCODE.to_owned());
    nearest(name.as_str(), names.iter().map(String::as_str))
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

/// Which provider and model `OpenCode` would use, as far as its files and the environment say.
fn provider(outlook: &Outlook) -> Check {
    let mut parts = vec![match &outlook.model {
        Some(model) => format!("model {model}"),
        None => "no model is configured, so OpenCode chooses one".to_owned(),
    }];
    for (what, names) in [
        ("configured", &outlook.providers),
        ("logins", &outlook.logins),
        ("keys", &outlook.keys),
    ] {
        if !names.is_empty() {
            parts.push(format!("{what}: {}", names.join(", ")));
        }
    }
    let own = outlook
        .model
        .as_deref()
        .and_then(|model| model.split('/').next());
    let has_any = !outlook.logins.is_empty() || !outlook.keys.is_empty();
    let is_served = match own {
        // A provider of the configuration may need no key.
        Some(own) => {
            outlook
                .providers
                .iter()
                .chain(&outlook.logins)
                .any(|name| name == own)
                || !outlook.keys.is_empty()
        }
        None => has_any || !outlook.providers.is_empty(),
    };
    if is_served {
        return good("provider", parts.join("; "));
    }
    parts.push(match own {
        Some(own) => format!(
            "neither login nor key for {own} was found, so a task may fail (`opencode auth login`)"
        ),
        None => "neither login nor key was found, so a task gets what OpenCode offers without, or \
                 fails (`opencode auth login`)"
            .to_owned(),
    });
    note("provider", parts.join("; "))
}
