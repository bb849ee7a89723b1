//! The `opencode` driver: `opencode run --format json`, the prompt on standard input.
//!
//! The user's own configuration, agents, plugins and logins are seen through read-only views; our
//! settings are laid over them by environment variables; conversation and database are the
//! session's own.

mod config;
mod definition;
mod events;
mod failure;
mod outlook;
mod overlay;
mod places;
mod takeover;
mod view;

use std::{
    fs,
    path::{Path, PathBuf},
};

use app::ports::{
    agents::{AgentCommand, AgentRequest, Driver, OutputParser},
    checkpoints::KeptConversation,
};
use domain::{
    agent::{AgentConfig, Isolation, PermissionMode, PromptBy},
    failure::{Failure, FailureReason},
};
use serde_json::Value;

use self::{
    config::Configuration, definition::Definition, events::Events, places::Places,
    takeover::take_over,
};
use crate::{
    assets::{CODER, CODER_AGENT},
    command::{add_own, arguments, directory},
    environment::Environment,
    prompt, providers,
};

pub use self::outlook::{AgentOrigin, Outlook, is_known_agent, known_agents, outlook};

/// The program, where configuration names none.
const PROGRAM: &str = "opencode";

/// The conversation's database in the session's folder.
const DATABASE: &str = "opencode.db";

/// Drives `OpenCode`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpencodeDriver;

impl Driver for OpencodeDriver {
    fn prepare(&self, request: &AgentRequest) -> Result<AgentCommand, Failure> {
        if let Some(entry) = overlay::bad_entry(&request.config.deny) {
            let agent = &request.agent;
            let message = format!(
                "agents.{agent}.deny: `{entry}` is no permission, or one that takes no pattern"
            );
            return Err(Failure::new(FailureReason::MissingConfig, message));
        }
        let prompt = prompt::of(request);
        let mut forgotten = None;
        let mut begun;
        let mut request = request;
        if let Some(earlier) = &request.continues
            && let Err(why) = take_over(earlier, &request.session_dir, &directory(request))
        {
            let id = &earlier.id;
            forgotten = Some(format!(
                "the conversation {id} does not go on, a new one was begun: {why}"
            ));
            begun = request.clone();
            begun.continues = None;
            request = &begun;
        }
        let session = Session::of(request)?;
        session.make_views()?;
        let args = session.args(request)?;
        let secrets = session.secrets();
        let warnings = prompt
            .warnings
            .into_iter()
            .chain(session.warnings())
            .chain(forgotten)
            .collect();
        Ok(AgentCommand {
            program: request
                .config
                .command
                .clone()
                .unwrap_or_else(|| PROGRAM.to_owned()),
            args,
            env: session.environment()?.into_pairs(),
            stdin: prompt.text.into_bytes(),
            directory: directory(request),
            secrets,
            warnings,
        })
    }

    fn keep_conversation(
        &self,
        session_dir: &Path,
        known: Option<&str>,
        folder: &Path,
    ) -> Result<Option<KeptConversation>, String> {
        takeover::keep(session_dir, known, folder)
    }

    fn resumes(&self, session_dir: &Path, known: Option<&str>) -> Result<(), String> {
        takeover::resumes(session_dir, known)
    }

    fn parser(&self) -> Box<dyn OutputParser> {
        Box::new(Events::default())
    }
}

/// What is found out before anything is written.
struct Session<'a> {
    request: &'a AgentRequest,
    /// What the user has, before our settings.
    user: Environment,
    places: Places,
    configuration: Configuration,
    /// Folders beside the workspace that define agents, commands and plugins.
    untracked: Vec<PathBuf>,
    /// `OPENCODE_CONFIG_CONTENT` of the user.
    content: Value,
    agent: Option<(String, Option<Definition>)>,
    is_shared: bool,
}

impl<'a> Session<'a> {
    fn of(request: &'a AgentRequest) -> Result<Self, Failure> {
        let is_shared = request.config.isolation.unwrap_or_default() == Isolation::Shared;
        let user = first_look(&request.config, &request.environment, is_shared);
        let places = if is_shared {
            Places::of(&user)
        } else {
            Places::default()
        };
        let mut untracked = vec![request.project_root.join(".opencode")];
        untracked.extend(places.config_dir.clone());
        let beside = [
            request.project_root.clone(),
            request.project_root.join(".opencode"),
        ];
        let mut configuration = Configuration::read(&places, &request.workspace, &beside);
        let content = match user.get("OPENCODE_CONFIG_CONTENT") {
            None => Value::Object(serde_json::Map::new()),
            Some(text) => configuration.add(text).map_err(|problem| {
                let message = "OPENCODE_CONFIG_CONTENT cannot be read";
                Failure::new(FailureReason::MissingConfig, message).with_details(problem)
            })?,
        };
        let mut session = Self {
            request,
            user,
            places,
            configuration,
            untracked,
            content,
            agent: None,
            is_shared,
        };
        session.agent = session.choose_agent();
        Ok(session)
    }

    /// The agent to ask for. A table of its own without the key `agent` may name an agent that
    /// `OpenCode` does not know: that is its default agent with these settings.
    fn choose_agent(&self) -> Option<(String, Option<Definition>)> {
        let wanted = self.request.config.agent.as_deref();
        let name = wanted.unwrap_or(self.request.agent.as_str());
        let definition = self.definition(name);
        (wanted.is_some() || definition.is_some()).then(|| (name.to_owned(), definition))
    }

    fn definition(&self, name: &str) -> Option<Definition> {
        let mut folders = vec![self.request.workspace.join(".opencode")];
        folders.extend(self.untracked.iter().cloned());
        folders.extend(self.places.dot_folder.clone());
        folders.extend(self.places.global());
        let found = definition::find(name, &folders);
        let configured = self.configuration.agent(name).map(|agent| Definition {
            mode: match agent.get("mode").and_then(Value::as_str) {
                Some("primary" | "all") => definition::Mode::Primary,
                _ => found
                    .as_ref()
                    .map_or(definition::Mode::Other, |found| found.mode),
            },
            model: agent
                .get("model")
                .and_then(Value::as_str)
                .map(str::to_owned),
        });
        configured.or(found).or_else(|| {
            (name == CODER).then_some(Definition {
                mode: definition::Mode::Primary,
                model: None,
            })
        })
    }

    fn folder(&self) -> PathBuf {
        self.request.session_dir.join("opencode")
    }

    /// The folders that `OpenCode` reads, and writes to, in place of the user's.
    fn make_views(&self) -> Result<(), Failure> {
        let request = self.request;
        let present = request.workspace.join(".opencode");
        let config_dir = self.folder().join("untracked");
        let source = self.places.config_home.as_deref();
        let made = view::of_config_home(source, &self.config_home())
            .and_then(|()| view::of_untracked(&self.untracked, &present, &config_dir))
            .and_then(|()| {
                let files = view::untracked_configs(&request.project_root, &request.workspace);
                let own = self.places.config_dir.iter().flat_map(|folder| {
                    config::CONFIG_NAMES
                        .iter()
                        .map(move |name| folder.join(name))
                });
                let all: Vec<PathBuf> = files.into_iter().chain(own).collect();
                view::write_untracked_config(&all, &config_dir)
            })
            .and_then(|()| self.seed_coder(&config_dir));
        made.map_err(|error| {
            let message = "cannot prepare OpenCode's configuration in the session's folder";
            Failure::new(FailureReason::WorkspaceFailed, message).with_details(error.to_string())
        })
    }

    /// The `coder` agent, where the user has none of that name.
    fn seed_coder(&self, config_dir: &Path) -> std::io::Result<()> {
        let mut folders = vec![self.request.workspace.join(".opencode")];
        folders.extend(self.untracked.iter().cloned());
        folders.extend(self.places.dot_folder.clone());
        folders.extend(self.places.global());
        let has_own = definition::find(CODER, &folders).is_some()
            || self.configuration.agent(CODER).is_some();
        if has_own {
            return Ok(());
        }
        fs::create_dir_all(config_dir.join("agent"))?;
        fs::write(config_dir.join("agent").join("coder.md"), CODER_AGENT)
    }

    fn config_home(&self) -> PathBuf {
        if self.is_shared {
            self.folder().join("config")
        } else {
            self.home().join(".config")
        }
    }

    fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    fn args(&self, request: &AgentRequest) -> Result<Vec<String>, Failure> {
        let mut args: Vec<String> = [
            "run",
            "--format",
            "json",
            "--print-logs",
            "--log-level",
            "ERROR",
            "--title",
        ]
        .map(str::to_owned)
        .to_vec();
        args.push(request.task.to_string());
        let mut option = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                args.extend([name.to_owned(), value.to_owned()]);
            }
        };
        option(
            "--agent",
            self.agent.as_ref().map(|(name, _)| name.as_str()),
        );
        option("--model", request.config.model.as_deref());
        option(
            "--session",
            request
                .continues
                .as_ref()
                .map(|earlier| earlier.id.as_str()),
        );
        if request.config.permission.unwrap_or_default() == PermissionMode::Auto {
            args.push("--auto".to_owned());
        }
        args.extend(arguments(request, PromptBy::Stdin, "", "")?);
        Ok(args)
    }

    /// Names of the variables that the models in force need.
    fn needed_variables(&self) -> Vec<String> {
        let agent = self.agent.as_ref();
        let mut models = self
            .configuration
            .models(agent.map(|(name, _)| name.as_str()));
        models.extend(self.request.config.model.clone());
        models.extend(agent.and_then(|(_, definition)| definition.as_ref()?.model.clone()));
        let mut names: Vec<String> = self.configuration.variables().into_iter().collect();
        if models.is_empty() {
            names.extend(providers::all_variables());
        }
        for model in models {
            let provider = model.split('/').next().unwrap_or_default();
            names.extend(
                providers::variables(provider)
                    .iter()
                    .map(|name| (*name).to_owned()),
            );
        }
        names
    }

    fn environment(&self) -> Result<Environment, Failure> {
        let request = self.request;
        let needed = self.needed_variables();
        let named = request.config.env.iter().chain(&needed).map(String::as_str);
        let mut environment = Environment::allowed(&request.environment, named);
        if !self.is_shared {
            self.hide_user(&mut environment);
        }
        add_own(&mut environment, request);
        for (name, value) in &request.config.env_set {
            environment.set(name, value);
        }
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        environment.remove_all(|name| name == "OPENCODE_CONFIG_DIR");
        environment.set("XDG_CONFIG_HOME", text(self.config_home()));
        environment.set("OPENCODE_CONFIG_DIR", text(self.folder().join("untracked")));
        environment.set("OPENCODE_DB", text(request.session_dir.join(DATABASE)));
        environment.set("OPENCODE_DISABLE_AUTOUPDATE", "1");
        let permission = overlay::permission(request);
        let known = self.agent.as_ref().and_then(|(name, definition)| {
            definition
                .as_ref()
                .map(|definition| (name.as_str(), definition))
        });
        let mut content = self.content.clone();
        config::merge(&mut content, overlay::content(known, &permission));
        environment.set("OPENCODE_CONFIG_CONTENT", content.to_string());
        let rules = overlay::over(self.user_permission()?, &permission);
        environment.set("OPENCODE_PERMISSION", rules.to_string());
        Ok(environment)
    }

    /// `OPENCODE_PERMISSION` of the user: rules, or one word for everything.
    fn user_permission(&self) -> Result<Value, Failure> {
        let Some(text) = self.user.get("OPENCODE_PERMISSION") else {
            return Ok(Value::Null);
        };
        if let Ok(rules @ (Value::String(_) | Value::Object(_))) = serde_json::from_str(text) {
            return Ok(rules);
        }
        let message = "OPENCODE_PERMISSION is neither a JSON object nor a JSON string";
        Err(Failure::new(FailureReason::MissingConfig, message))
    }

    /// Home and XDG folders of the session's own, and no request that nobody asked for.
    fn hide_user(&self, environment: &mut Environment) {
        let named = &self.request.config.env;
        environment.remove_all(|name| {
            let is_user = name.starts_with("OPENCODE_") || name.starts_with("XDG_");
            is_user && !named.iter().any(|kept| kept == name)
        });
        let home = self.home();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        environment.set("XDG_DATA_HOME", text(home.join(".local/share")));
        environment.set("XDG_STATE_HOME", text(home.join(".local/state")));
        environment.set("XDG_CACHE_HOME", text(home.join(".cache")));
        environment.set("OPENCODE_TEST_HOME", text(home.clone()));
        environment.set("HOME", text(home));
        for flag in [
            "MODELS_FETCH",
            "LSP_DOWNLOAD",
            "DEFAULT_PLUGINS",
            "CLAUDE_CODE",
        ] {
            environment.set(format!("OPENCODE_DISABLE_{flag}"), "1");
        }
    }

    fn secrets(&self) -> Vec<String> {
        let needed = self.needed_variables();
        let named = self
            .request
            .config
            .env
            .iter()
            .chain(&needed)
            .map(String::as_str);
        let mut environment = Environment::allowed(&self.request.environment, named);
        for (name, value) in &self.request.config.env_set {
            environment.set(name, value);
        }
        let mut secrets = environment.secrets();
        secrets.extend(self.configuration.literal_keys());
        secrets.extend(
            self.places
                .logins
                .iter()
                .flat_map(|file| config::login_secrets(file)),
        );
        secrets
    }

    fn warnings(&self) -> Vec<String> {
        let Some(global) = self.places.global() else {
            return Vec::new();
        };
        let has_plugins = ["plugin", "plugins", "tool", "tools"]
            .iter()
            .any(|kind| global.join(kind).is_dir());
        if has_plugins && !global.join("node_modules").is_dir() {
            let folder = global.display();
            return vec![format!(
                "the packages of {folder} are not installed, so plugins that import them fail; start `opencode` once"
            )];
        }
        Vec::new()
    }
}

/// The user's environment with everything of `OpenCode`'s own, to find its configuration by.
fn first_look(config: &AgentConfig, all: &[(String, String)], is_shared: bool) -> Environment {
    let named = config.env.iter().map(String::as_str);
    let mut environment = Environment::allowed(all, named);
    if !is_shared {
        let kept = &config.env;
        environment.remove_all(|name| !kept.iter().any(|named| named == name));
    }
    for (name, value) in &config.env_set {
        environment.set(name, value);
    }
    environment
}
