//! Puts adapters behind ports. The only place that knows which adapter is used for what.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use agents::{Registry, Unlisted};
use app::{
    checkpoints::Checkpointer,
    ports::{
        agents::Agents,
        checkpoints::Checkpoints,
        folders::{Folders, LogLimits},
        journal::JournalLimits,
        layers::Layers,
        processes::Processes,
        runners::Runners,
        workspaces::Workspaces,
    },
    reconcile::Reconciler,
    resources::Ledger,
};
use domain::plan::Policy;
use runner::{Deps, Interrupt, RunnerConfig, RunnerSockets, Timings};
use sandbox_host::{HostOptions, HostProcesses};
use task_folder::{CheckpointFolders, ProjectFolders, ProjectJournal, ProjectLayers};
use workspace_git::GitWorkspaces;

use crate::{
    config::Config,
    context::Context,
    environment::Environment,
    fail::{Exit, Fail},
    places::Places,
};

/// The first argument of the program that stands between fork and exec.
pub(crate) const EXEC_SHIM: &str = "exec-shim";

/// Files that list agents besides the configuration, as older tools have them.
const AGENT_FILES: [&str; 3] = [
    ".crewboss/agent-config.json",
    ".opencode/agent-config.json",
    ".orchestra-cli/agent-config.json",
];

/// Processes of this machine, started through `program exec-shim`.
pub(crate) fn host(program: &Path, places: &Places) -> Result<HostProcesses, Fail> {
    let shim = Some((program.to_owned(), vec![EXEC_SHIM.to_owned()]));
    #[cfg(debug_assertions)]
    let cgroup_root = crate::test_switches::cgroup_root();
    #[cfg(not(debug_assertions))]
    let cgroup_root = sandbox_host::CgroupRoot::default();
    let options = HostOptions {
        shim,
        cgroup_root,
        realm: places.realm(),
    };
    HostProcesses::new(options).map_err(|error| {
        Fail::caused(
            Exit::Unavailable,
            "processes cannot be watched here",
            &error,
        )
    })
}

pub(crate) fn processes(program: &Path, places: &Places) -> Result<Arc<dyn Processes>, Fail> {
    Ok(Arc::new(host(program, places)?))
}

pub(crate) fn folders() -> Arc<dyn Folders> {
    Arc::new(ProjectFolders::new())
}

/// What holds the folders of tasks against themselves.
pub(crate) fn layers() -> Arc<dyn Layers> {
    Arc::new(ProjectLayers)
}

/// What writes and reads the logs and decisions of tasks.
pub(crate) fn journal(config: &Config) -> ProjectJournal {
    let limits = &config.settings.limits;
    ProjectJournal::new(JournalLimits {
        file_bytes: limits.history_file_bytes,
        file_hours: limits.history_file_hours,
        file_entries: limits.history_file_entries,
        files_kept: limits.history_files_kept,
    })
}

pub(crate) fn checkpoints() -> Arc<dyn Checkpoints> {
    Arc::new(CheckpointFolders::new())
}

/// What makes and deletes the project's checkpoints.
pub(crate) fn checkpointer(context: &Context) -> Result<Checkpointer, Fail> {
    let root = context.places.project.clone();
    Ok(Checkpointer {
        store: context.store()?,
        clock: context.clock()?,
        folders: context.folders(),
        checkpoints: checkpoints(),
        workspaces: context.workspaces(),
        agents: agents(context.config()?, &context.places, &root),
        root,
        meta: context.meta(),
    })
}

pub(crate) fn workspaces(env: &Environment, places: &Places) -> Arc<dyn Workspaces> {
    let pairs = env.pairs();
    let environment = pairs
        .into_iter()
        .map(|(k, v)| (OsString::from(k), OsString::from(v)));
    let settings = workspace_git::Settings::new(places.state.clone(), environment.collect());
    Arc::new(GitWorkspaces::new(settings))
}

pub(crate) fn runners(places: &Places) -> Arc<dyn Runners> {
    Arc::new(RunnerSockets::new(places.run_directory()))
}

/// The agents of the project: its configuration first, then files of older tools.
pub(crate) fn agents(config: &Config, places: &Places, project: &Path) -> Arc<dyn Agents> {
    let listed = places
        .layout
        .map_or([""; 2], layouts::Layout::agent_configs);
    let (names, unlisted) = match places.layout {
        Some(_) => (&listed[..], Unlisted::Layout),
        None => (&AGENT_FILES[..], Unlisted::Opencode),
    };
    let files: Vec<PathBuf> = names
        .iter()
        .map(|file| project.join(file))
        .filter(|file| file.exists())
        .collect();
    let mut configured = config.agents.clone();
    if places.layout.is_some() {
        // There its own file is what every other tool goes by.
        for (name, _) in Registry::new(BTreeMap::new(), &files, unlisted).listed() {
            configured.remove(&name);
        }
    }
    Arc::new(Registry::new(configured, &files, unlisted))
}

/// How long after the end of its lease another node's session is let go by whoever comes by: longer
/// than it takes another leader to be there.
const OTHERS_PATIENCE: Duration = Duration::from_secs(30);

/// What recovers lost sessions.
pub(crate) fn reconciler(context: &Context) -> Result<Reconciler, Fail> {
    let run = &context.config()?.settings.run;
    Ok(Reconciler {
        store: context.store()?,
        clock: context.clock()?,
        node: context.node()?,
        patience: OTHERS_PATIENCE,
        processes: context.processes()?,
        runners: runners(&context.places),
        folders: context.folders(),
        workspaces: context.workspaces(),
        meta: app::command::Meta {
            door: app::event::Door::System,
            ..context.meta()
        },
        recovery: context.recovery()?,
        grace: Duration::from_secs(u64::from(run.cancel_grace_seconds)),
    })
}

/// What looks after resources.
pub(crate) fn ledger(context: &Context) -> Result<Ledger, Fail> {
    let settings = &context.config()?.settings;
    Ok(Ledger {
        store: context.store()?,
        workspaces: context.workspaces(),
        processes: context.processes()?,
        runners: runners(&context.places),
        keeps_worktrees: settings.workspace.keep,
        grace: Duration::from_secs(u64::from(settings.run.cancel_grace_seconds)),
    })
}

/// The limits under which tasks are claimed.
pub(crate) fn policy(config: &Config, running_max: Option<u32>, starts_max: u32) -> Policy {
    let per_agent_max = config
        .agents
        .iter()
        .filter_map(|(name, agent)| Some((name.clone(), agent.max_concurrent?)))
        .collect();
    Policy {
        running_max,
        starts_max,
        per_agent_max,
        store_max: None,
        ageing_millis: config.settings.run.ageing_seconds.saturating_mul(1_000),
    }
}

/// What the name of a variable that holds a credential has in it. `AUTH` and `KEY` stand alone
/// there: `GIT_AUTHOR_NAME` and `KEYMAP` are none.
const SECRET_PARTS: [&str; 5] = ["TOKEN", "SECRET", "PASSW", "CREDENTIAL", "APIKEY"];
const SECRET_WORDS: [&str; 4] = ["AUTH", "KEY", "KEYS", "PASS"];

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_PARTS.iter().any(|part| name.contains(part))
        || name.split('_').any(|word| SECRET_WORDS.contains(&word))
}

/// Gates need the user's tools, and run what agents have written: they see everything but what is
/// a credential by its name.
fn gate_environment(env: &Environment) -> Vec<(String, String)> {
    let mut pairs = env.pairs();
    pairs.retain(|(name, _)| !looks_secret(name));
    pairs
}

/// What a runner of the project goes by.
pub(crate) fn runner_config(
    env: &Environment,
    places: &Places,
    config: &Config,
    root: PathBuf,
) -> RunnerConfig {
    let (run, limits) = (&config.settings.run, &config.settings.limits);
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    RunnerConfig {
        workspace: config.settings.workspace.mode,
        target: config.settings.workspace.target.clone(),
        session_max: run.session_max_seconds.map(seconds),
        keep_worktrees: config.settings.workspace.keep,
        gates: config.gates.clone(),
        gate_environment: gate_environment(env),
        sentinel_directory: places
            .layout
            .map(|layout| Path::new(layout.base()).join("tasks")),
        environment: env.pairs(),
        recovery: app::command::RecoveryPolicy {
            requeues_max: run.requeues_max,
            backoff: run.backoff(),
        },
        timings: Timings {
            cancel_grace: seconds(run.cancel_grace_seconds),
            timeout_grace: seconds(run.timeout_grace_seconds),
            sentinel_grace: seconds(run.sentinel_grace_seconds),
            lease: Duration::from_secs(run.lease_seconds),
        },
        log: LogLimits {
            file_bytes: limits.log_file_bytes,
            files_kept: limits.log_files_kept,
            total_bytes: limits.log_bytes_max,
            transcript_bytes: limits.transcript_bytes_max,
        },
        line_bytes_max: usize::try_from(limits.line_bytes_max).unwrap_or(usize::MAX),
        checkpoints: config.settings.checkpoint.times(),
        retention: config.settings.checkpoint.retention(),
        ..RunnerConfig::new(root, places.run_directory())
    }
}

/// Everything that carries a session of the project, in this process.
pub(crate) fn deps(
    context: &Context,
    processes: Arc<dyn Processes>,
    root: PathBuf,
    interrupt: Interrupt,
) -> Result<Deps, Fail> {
    let config = context.config()?;
    let clock = context.clock()?;
    let agents = agents(config, &context.places, &root);
    for warning in agents.warnings() {
        context.out.warn(warning);
    }
    Ok(Deps {
        store: context.store()?,
        clock: Arc::clone(&clock),
        processes: Arc::clone(&processes),
        workspaces: context.workspaces(),
        gates: Arc::new(verify::CommandGates::new(processes, clock)),
        folders: context.folders(),
        checkpoints: checkpoints(),
        agents,
        config: RunnerConfig {
            remote: match context.node()? {
                Some(_) => context.remote()?,
                None => None,
            },
            ..runner_config(&context.env, &context.places, config, root)
        },
        interrupt,
        on_launched: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_see_the_tools_and_no_credentials() {
        let env = Environment::read().unwrap();
        let directory = env.directory().clone();
        let pairs: [(&str, &std::ffi::OsStr); 5] = [
            ("CARGO_HOME", "/c".as_ref()),
            ("GIT_AUTHOR_NAME", "me".as_ref()),
            ("OPENAI_API_KEY", "sk-1".as_ref()),
            ("GITHUB_TOKEN", "ghp".as_ref()),
            ("SSH_AUTH_SOCK", "/s".as_ref()),
        ];
        let seen = gate_environment(&env.with(directory, &pairs));
        let has = |name: &str| seen.iter().any(|(known, _)| known == name);
        assert!(has("CARGO_HOME") && has("GIT_AUTHOR_NAME"));
        assert!(!has("OPENAI_API_KEY") && !has("GITHUB_TOKEN") && !has("SSH_AUTH_SOCK"));
    }
}
