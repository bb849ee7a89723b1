//! `config`: look at the configuration, or change it.

use std::{collections::BTreeMap, path::PathBuf};

use api_types::{
    ConfigDocument, ConfigEntry, ConfigInitDocument, ConfigPathDocument, ConfigValueDocument,
};
use serde_json::Value;

use crate::{
    config::{
        Config, KEYS, Key, Raw, STORE_URL, commented_default, find_key, replace, set_value, shown,
    },
    context::Context,
    fail::{Exit, Fail, Outcome},
    workplace,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a commented configuration
    Init {
        #[command(flatten)]
        file: WhichFile,
        /// Replace the file that is there, without asking
        #[arg(long, short)]
        yes: bool,
    },
    /// Print every value and where it comes from
    Show,
    /// Print one value
    Get {
        /// The key, as run.parallel
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Set one value in a file; its comments stay
    Set {
        /// The key, as run.parallel
        #[arg(value_name = "KEY")]
        key: String,
        /// The value
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
        #[command(flatten)]
        file: WhichFile,
    },
    /// Print where the files are
    Path,
    /// Print the table of all keys as Markdown, for the reference
    #[command(hide = true)]
    Reference,
}

#[derive(Debug, clap::Args)]
struct WhichFile {
    /// The user's own file rather than the project's
    #[arg(long)]
    user: bool,
}

impl WhichFile {
    fn path(&self, context: &Context) -> PathBuf {
        if self.user {
            context.places.user_config.clone()
        } else {
            context.places.project_config()
        }
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if let Some(layout) = context.places.layout {
            match &self.verb {
                Verb::Init { yes, .. } => return crate::layout::config_init(context, layout, *yes),
                Verb::Show => return crate::layout::config_show(context, layout),
                Verb::Set { key, value, .. } => {
                    return crate::layout::config_set(context, layout, key, value);
                }
                Verb::Get { .. } | Verb::Path | Verb::Reference => {}
            }
        }
        match self.verb {
            Verb::Init { file, yes } => init(context, &file, yes),
            Verb::Show => show(context),
            Verb::Get { key } => get(context, &key),
            Verb::Set { key, value, file } => set(context, &file, &key, &value),
            Verb::Path => path(context),
            Verb::Reference => reference(context),
        }
    }
}

fn init(context: &Context, file: &WhichFile, yes: bool) -> Outcome {
    let path = file.path(context);
    let shown = path.display();
    if path.exists() && !yes {
        let question = format!("Config file already exists at {shown}. Overwrite?");
        if !super::confirm(&context.out, &question)? {
            context.out.line("Cancelled.")?;
            return Ok(Exit::Ok);
        }
    }
    if !file.user {
        workplace::prepare(&context.places)?;
    }
    replace(&path, commented_default().as_bytes())?;
    context
        .out
        .line(format_args!("Created default configuration at {shown}"))?;
    context.out.print(&ConfigInitDocument { file: path })?;
    Ok(Exit::Ok)
}

fn as_json(value: Option<Raw>) -> Value {
    match value {
        Some(Raw::Bool(value)) => value.into(),
        Some(Raw::Int(value)) => value.into(),
        Some(Raw::Text(value)) => value.into(),
        Some(Raw::Other(_)) | None => Value::Null,
    }
}

/// A value as it may be shown, and where it comes from. A store can be named in several ways.
fn in_force(context: &Context, config: &Config, key: &Key) -> (Option<Raw>, String) {
    match &context.places.server {
        Some(server) if key.name == STORE_URL => (
            Some(Raw::Text(server.target.to_string())),
            server.origin.to_string(),
        ),
        _ => (
            shown(key, config.settings.value(key.name)),
            config.origin(key.name).to_string(),
        ),
    }
}

fn show(context: &Context) -> Outcome {
    let config = context.config()?;
    let out = &context.out;
    let mut values = BTreeMap::new();
    out.line("Current Configuration:")?;
    for key in KEYS {
        let (value, origin) = in_force(context, config, key);
        let text = value
            .as_ref()
            .map_or_else(|| "not set".to_owned(), ToString::to_string);
        out.line(format_args!("  {}: {text}  ({origin})", key.name))?;
        values.insert(
            key.name.to_owned(),
            ConfigEntry {
                value: as_json(value),
                origin,
            },
        );
    }
    let mut agents = BTreeMap::new();
    for (name, agent) in &config.agents {
        let origin = config.origin(&format!("agents.{name}")).to_string();
        let driver = serde_json::to_value(agent.driver).unwrap_or_default();
        let driver = driver.as_str().unwrap_or_default();
        let command = agent.command.as_deref().unwrap_or_default();
        out.line(format_args!(
            "  agents.{name}: {driver} {command}  ({origin})"
        ))?;
        agents.insert(
            name.to_string(),
            ConfigEntry {
                value: masked(agent),
                origin,
            },
        );
    }
    let mut gates = Vec::new();
    for gate in &config.gates {
        let origin = config.origin(&format!("gates.{}", gate.name)).to_string();
        let line = gate
            .run
            .clone()
            .or_else(|| gate.command.as_ref().map(|c| c.join(" ")));
        out.line(format_args!(
            "  gates.{}: {}  ({origin})",
            gate.name,
            line.unwrap_or_default()
        ))?;
        gates.push(ConfigEntry {
            value: serde_json::to_value(gate).unwrap_or_default(),
            origin,
        });
    }
    out.print(&ConfigDocument {
        files: config.files.clone(),
        values,
        agents,
        gates,
    })?;
    Ok(Exit::Ok)
}

/// Values that an agent's table sets for its environment may be credentials.
fn masked(agent: &domain::agent::AgentConfig) -> Value {
    let mut agent = agent.clone();
    for value in agent.env_set.values_mut() {
        domain::redact::MASK.clone_into(value);
    }
    serde_json::to_value(agent).unwrap_or_default()
}

fn get(context: &Context, name: &str) -> Outcome {
    let key = find_key(name)?;
    let config = context.config()?;
    let (value, origin) = in_force(context, config, key);
    let text = match &value {
        Some(Raw::Text(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    context.out.line(text)?;
    context.out.print(&ConfigValueDocument {
        key: key.name.to_owned(),
        value: as_json(value),
        origin: Some(origin),
        file: None,
    })?;
    Ok(Exit::Ok)
}

fn set(context: &Context, file: &WhichFile, key: &str, value: &str) -> Outcome {
    find_key(key)?;
    let path = file.path(context);
    let written = set_value(&path, key, value)?;
    if key == STORE_URL {
        // It may hold a password.
        let only_mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, only_mine)
            .map_err(|error| Fail::io(format!("cannot protect {}", path.display()), &error))?;
    }
    let written = shown(find_key(key)?, Some(written.clone())).unwrap_or(written);
    if !file.user {
        workplace::prepare(&context.places)?;
    }
    context.out.line(format_args!("Set {key} = {written}"))?;
    context
        .out
        .line(format_args!("Configuration saved to {}", path.display()))?;
    context.out.print(&ConfigValueDocument {
        key: key.to_owned(),
        value: as_json(Some(written)),
        origin: None,
        file: Some(path),
    })?;
    Ok(Exit::Ok)
}

fn path(context: &Context) -> Outcome {
    let places = &context.places;
    let (user, project) = (places.user_config.clone(), places.project_config());
    context.out.line(user.display())?;
    context.out.line(project.display())?;
    context.out.print(&ConfigPathDocument {
        user,
        project,
        store: places.store_file(),
        state: places.state.clone(),
    })?;
    Ok(Exit::Ok)
}

fn reference(context: &Context) -> Outcome {
    let defaults = crate::config::Settings::default();
    context
        .out
        .line("| key | default | meaning |\n|---|---|---|")?;
    for key in KEYS {
        let default = defaults
            .value(key.name)
            .map_or_else(String::new, |value| format!("`{value}`"));
        context.out.line(format_args!(
            "| `{}` | {default} | {} |",
            key.name, key.meaning
        ))?;
    }
    Ok(Exit::Ok)
}
