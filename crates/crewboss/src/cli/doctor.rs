//! `doctor`: whether everything needed is there, and what a task would get.

mod agents;
mod resources;

pub(super) use self::{agents::doubt, resources::said};

use std::{
    io,
    path::{Path, PathBuf},
};

use api_types::{CheckVerdict, DoctorCheck, DoctorDocument};
use app::{
    ports::processes::Containment,
    query::{Query, View},
};
use domain::{agent::AgentName, workspace::WorkspaceMode};

use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    probe,
    render::symbols::Symbol,
};

/// Less free space than this is no longer enough for a few worktrees and logs.
const SPACE_MIN: u64 = 1 << 30;

/// From so many that write at once, or so many bytes, on PostgreSQL is advised.
const WRITERS_MAX: usize = 20;
const BYTES_MAX: u64 = 10_000_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent whose way is looked at; every one that is configured where none is named
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// List what exists because of tasks and whose it is; ends in 1 if anything is nobody's
    #[arg(long, conflicts_with = "agent")]
    resources: bool,
    /// First remove what ended sessions left, and keep its work
    #[arg(long, requires = "resources")]
    sweep: bool,
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
        if self.resources {
            return resources::show(context, self.sweep);
        }
        let mut checks = vec![
            project(context),
            configuration(context),
            store(context),
            git(context),
        ];
        checks.extend(author(context));
        checks.extend([
            containment(context),
            daemon(context),
            audit(context),
            space(context),
            search(context),
        ]);
        checks.extend(agents::look(context, self.agent.as_ref()));
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
    if context.places.server.is_some() {
        return server(context);
    }
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
    let live = context.store().and_then(|store| {
        match store.read(&Query::LiveSessions { project: None })? {
            View::Sessions { sessions } => Ok(sessions.len()),
            _ => Err(unexpected("sessions")),
        }
    });
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    match live.map(|live| outgrown(bytes, live)) {
        Ok(None) => good("store", file.display().to_string()),
        Ok(Some(why)) => note("store", format!("{}: {why}", file.display())),
        Err(fail) => bad("store", flat(&fail)),
    }
}

/// What speaks for a store on a server, where anything does: more than 20 that write at once, or
/// more than 10 GB.
fn outgrown(bytes: u64, live_sessions: usize) -> Option<String> {
    let why = if live_sessions > WRITERS_MAX {
        format!("{live_sessions} sessions write to it at once")
    } else if bytes > BYTES_MAX {
        format!("it has {} GB", bytes / 1_000_000_000)
    } else {
        return None;
    };
    Some(format!(
        "{why}: PostgreSQL suits that better (`crewboss store migrate`)"
    ))
}

fn server(context: &Context) -> Check {
    let name = context.places.store_name();
    let answered = context.has_store().and_then(|there| match there {
        true => Ok(context.store()?.generation().map(|_| true)?),
        false => Ok(false),
    });
    match answered {
        Ok(true) => good("store", name),
        Ok(false) => good("store", format!("{name} (made with the first task)")),
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
        Ok(WorkspaceMode::Folder) => good(
            "git",
            format!(
                "{version}; this is no repository, so each task works in a folder of its own, which \
                 `crewboss show` names"
            ),
        ),
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
            "no cgroup may be written, so the processes of a task are found by their group, their \
             parents and a mark in their environment: one that has cleared its environment may \
             escape if its runner is killed",
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

/// Where the log's heads are.
fn audit(context: &Context) -> Check {
    let heads = match context
        .config()
        .and_then(|config| crate::heads::of(config, &context.places))
    {
        Ok(heads) => heads,
        Err(fail) => return bad("audit", flat(&fail)),
    };
    let last = heads.current_key().and_then(|_| heads.last());
    let last = match last {
        Ok(Some(last)) => format!("signed up to position {}", last.head.position),
        Ok(None) => "no head was signed yet".to_owned(),
        Err(error) => return bad("audit", flat(&error.into())),
    };
    let Some(second) = heads.second() else {
        return note(
            "audit",
            format!(
                "{last}; heads have no second place, so whoever may write here could write the \
                 whole log anew and not be found out (`crewboss config set --user audit.heads FILE`)"
            ),
        );
    };
    let is_reached = if second.exists() {
        is_writable(second)
    } else {
        existing_parent(second).is_some_and(|parent| parent.is_dir() && is_writable(&parent))
    };
    let text = format!("{last}; second place {}", second.display());
    if is_reached {
        good("audit", text)
    } else {
        bad("audit", format!("{text} cannot be written to"))
    }
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

/// Who the commits of finished work are by.
fn author(context: &Context) -> Option<Check> {
    let project = &context.places.project;
    let program = context.find_program("git")?;
    probe::first_line(&program, &["rev-parse", "--git-dir"], project).ok()?;
    let get = |key| probe::first_line(&program, &["config", "--get", key], project).ok();
    Some(match (get("user.name"), get("user.email")) {
        (Some(name), Some(email)) => good("author", format!("{name} <{email}>")),
        (name, email) => note(
            "author",
            format!(
                "git has no user.{}: work is committed as {} <{}> (`git config --global user.name NAME`, and user.email)",
                if name.is_none() { "name" } else { "email" },
                name.as_deref().unwrap_or("Crewboss"),
                email.as_deref().unwrap_or("crewboss@localhost"),
            ),
        ),
    })
}

#[test]
fn a_store_that_is_outgrown_is_said_to_be() {
    assert_eq!(outgrown(BYTES_MAX, WRITERS_MAX), None);
    let of = |bytes, live| outgrown(bytes, live).unwrap_or_default();
    assert!(of(0, 21).starts_with("21 sessions write to it at once: PostgreSQL"));
    assert!(of(BYTES_MAX + 1, 0).starts_with("it has 10 GB: PostgreSQL"));
}
