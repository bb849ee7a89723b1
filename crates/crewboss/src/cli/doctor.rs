//! `doctor`: whether everything needed is there, and what a task would get.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use api_types::{CheckVerdict, DoctorCheck, DoctorDocument};
use app::ports::{agents::AgentSource, processes::Containment};
use domain::agent::{AgentName, DriverKind};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    probe,
    render::symbols::Symbol,
    wiring,
};

/// Less free space than this is no longer enough for a few worktrees and logs.
const SPACE_MIN: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent whose way is looked at
    #[arg(long, value_name = "NAME", default_value = "coder")]
    agent: AgentName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Note,
    Bad,
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    text: String,
}

fn good(name: &'static str, text: impl Into<String>) -> Check {
    Check {
        name,
        verdict: Verdict::Good,
        text: text.into(),
    }
}

fn note(name: &'static str, text: impl Into<String>) -> Check {
    Check {
        name,
        verdict: Verdict::Note,
        text: text.into(),
    }
}

fn bad(name: &'static str, text: impl Into<String>) -> Check {
    Check {
        name,
        verdict: Verdict::Bad,
        text: text.into(),
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let mut checks = vec![
            project(context),
            configuration(context),
            store(context),
            git(context),
            containment(context),
            daemon(context),
            space(context),
            search(context),
        ];
        checks.extend(agent(context, &self.agent));
        report(context, &checks)
    }
}

fn report(context: &Context, checks: &[Check]) -> Outcome {
    let out = &context.out;
    let documents = checks.iter().map(|check| DoctorCheck {
        check: check.name.to_owned(),
        verdict: match check.verdict {
            Verdict::Good => CheckVerdict::Ok,
            Verdict::Note => CheckVerdict::Note,
            Verdict::Bad => CheckVerdict::Problem,
        },
        text: check.text.clone(),
    });
    let failed = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Bad)
        .count();
    out.print(&DoctorDocument {
        ok: failed == 0,
        checks: documents.collect(),
    })?;
    for check in checks {
        let symbol = match check.verdict {
            Verdict::Good => Symbol::Check,
            Verdict::Note => Symbol::Warning,
            Verdict::Bad => Symbol::Failed,
        };
        let sign = out.paint(symbol.color(), symbol.text(out.unicode));
        out.line(format_args!("{sign} {:<14} {}", check.name, check.text))?;
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}

fn flat(fail: &Fail) -> String {
    fail.render()
        .trim()
        .trim_start_matches("error: ")
        .replace('\n', "; ")
}

fn project(context: &Context) -> Check {
    let places = &context.places;
    good(
        "project",
        format!(
            "{} ({})",
            places.project.display(),
            places.found_by.describe()
        ),
    )
}

fn configuration(context: &Context) -> Check {
    match context.config() {
        Ok(config) if config.files.is_empty() => good("configuration", "defaults, no file"),
        Ok(config) => {
            let files: Vec<String> = config
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            good("configuration", files.join(", "))
        }
        Err(fail) => bad("configuration", flat(&fail)),
    }
}

fn store(context: &Context) -> Check {
    let file = context.places.store_file();
    if !file.exists() {
        return match existing_parent(&file) {
            Some(parent) if is_writable(&parent) => good(
                "store",
                format!("{} (made with the first task)", file.display()),
            ),
            _ => bad(
                "store",
                format!(
                    "{} cannot be made: its folder is not writable",
                    file.display()
                ),
            ),
        };
    }
    if !is_writable(&file) {
        return bad("store", format!("{} cannot be written to", file.display()));
    }
    match context.store().and_then(|store| Ok(store.generation()?)) {
        Ok(_) => good("store", file.display().to_string()),
        Err(fail) => bad("store", flat(&fail)),
    }
}

fn existing_parent(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .skip(1)
        .find(|parent| parent.exists())
        .map(Path::to_owned)
}

fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

fn git(context: &Context) -> Check {
    let Some(program) = context.find_program("git") else {
        return note(
            "git",
            "not found: tasks can work in-place or in a folder, not in worktrees",
        );
    };
    let version = match probe::version(&program) {
        Ok(version) => version,
        Err(why) => return bad("git", format!("{}: {why}", program.display())),
    };
    let mode = context.workspaces().default_mode(&context.places.project);
    match mode {
        Ok(mode) => good(
            "git",
            format!("{version}; tasks of this project work in: {mode}"),
        ),
        Err(error) => bad("git", format!("{version}; {error}")),
    }
}

fn containment(context: &Context) -> Check {
    match context.processes().map(|processes| processes.containment()) {
        Ok(Containment::Cgroup) => good(
            "containment",
            "a cgroup for each session: nothing that an agent starts escapes",
        ),
        Ok(Containment::Marker) => note(
            "containment",
            "no cgroup may be written: sessions are held by process group, subreaper and a mark in \
             the environment. A process that was re-parented and has cleared its environment after \
             its runner was killed may escape",
        ),
        Err(fail) => bad("containment", flat(&fail)),
    }
}

fn daemon(context: &Context) -> Check {
    if context.has_daemon() {
        return good(
            "daemon",
            format!("answers at {}", context.places.daemon_socket().display()),
        );
    }
    note(
        "daemon",
        "none: `crewboss run` starts tasks, `crewboss daemon` would as they come",
    )
}

fn space(context: &Context) -> Check {
    let state = &context.places.state;
    let found = existing_parent(&state.join("x")).ok_or_else(|| io::Error::other("no such folder"));
    match found.and_then(|dir| Ok(rustix::fs::statvfs(&dir)?)) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!(
                "{} GiB free for worktrees in {}",
                free >> 30,
                state.display()
            );
            if free < SPACE_MIN {
                bad("disk", text)
            } else {
                good("disk", text)
            }
        }
        Err(error) => note("disk", format!("{}: {error}", state.display())),
    }
}

fn search(context: &Context) -> Check {
    match context.find_program("rg") {
        Some(path) => good("ripgrep", path.display().to_string()),
        None => note(
            "ripgrep",
            "not found: OpenCode downloads its own when an agent first searches",
        ),
    }
}

/// What a task for this agent would be given.
fn agent(context: &Context, name: &AgentName) -> Vec<Check> {
    let Ok(config) = context.config() else {
        return vec![];
    };
    let agents = wiring::agents(config, &context.places, &context.places.project);
    let mut checks: Vec<Check> = agents
        .warnings()
        .iter()
        .map(|warning| note("agents", warning.clone()))
        .collect();
    let resolved = agents.resolve(name);
    let source = match &resolved.source {
        AgentSource::Config => "configured".to_owned(),
        AgentSource::File(file) => format!("from {}", file.display()),
        AgentSource::Unlisted => {
            "not configured, so OpenCode with the agent of that name".to_owned()
        }
    };
    let program = resolved
        .config
        .command
        .clone()
        .unwrap_or_else(|| "opencode".to_owned());
    let found = if program.contains('/') {
        Some(PathBuf::from(&program)).filter(|path| path.exists())
    } else {
        context.find_program(&program)
    };
    let Some(path) = found else {
        checks.push(bad(
            "agent",
            format!("{name}: {source}; `{program}` is not installed"),
        ));
        return checks;
    };
    if resolved.config.driver == DriverKind::Command {
        checks.push(good(
            "agent",
            format!("{name}: {source}; {}", path.display()),
        ));
        return checks;
    }
    match probe::version(&path) {
        Ok(version) => {
            checks.push(good(
                "agent",
                format!("{name}: {source}; {} {version}", path.display()),
            ));
        }
        Err(why) => checks.push(bad("agent", format!("{name}: {}: {why}", path.display()))),
    }
    checks.push(provider(context, resolved.config.model.as_deref()));
    checks
}

/// Which provider and model OpenCode would use, as far as its files and the environment say.
fn provider(context: &Context, model: Option<&str>) -> Check {
    let home = context.env.path("HOME").unwrap_or_default();
    let data = context
        .env
        .path("XDG_DATA_HOME")
        .unwrap_or_else(|| home.join(".local/share"));
    let config = context
        .env
        .path("XDG_CONFIG_HOME")
        .unwrap_or_else(|| home.join(".config"));
    let object = |path: PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).ok()
    };
    let logins: Vec<String> = object(data.join("opencode/auth.json"))
        .map(|auth| auth.keys().cloned().collect())
        .unwrap_or_default();
    let configured = [
        context.places.project.join("opencode.json"),
        config.join("opencode/opencode.json"),
    ]
    .into_iter()
    .filter_map(object)
    .find_map(|config| config.get("model")?.as_str().map(str::to_owned));
    let keys: Vec<String> = context
        .env
        .pairs()
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.ends_with("_API_KEY"))
        .collect();
    let model = model.map(str::to_owned).or(configured);
    let mut parts = vec![match model {
        Some(model) => format!("model {model}"),
        None => {
            "no model configured: OpenCode chooses one of the providers that it finds".to_owned()
        }
    }];
    if !logins.is_empty() {
        parts.push(format!("logins: {}", logins.join(", ")));
    }
    if !keys.is_empty() {
        parts.push(format!("keys: {}", keys.join(", ")));
    }
    let text = parts.join("; ");
    if logins.is_empty() && keys.is_empty() && !text.starts_with("model ") {
        return note(
            "provider",
            format!("{text}; no login and no key found (`opencode auth login`)"),
        );
    }
    good("provider", text)
}
