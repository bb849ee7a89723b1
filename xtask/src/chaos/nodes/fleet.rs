//! The nodes of a campaign.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::server::Server;
use crate::{
    chaos::{census, dice::Dice},
    model::Model,
    shell,
};

/// How much goes on at once, and how long a session may stay silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) store_max: u32,
    pub(super) capacity: u32,
    pub(super) agent_max: u32,
    pub(super) project_max: u32,
    pub(super) lease_seconds: u64,
}

/// Tells on itself, works for a moment, and leaves what it did.
const AGENT: &str = r#"#!/bin/sh
echo "start $CREWBOSS_TASK $CREWBOSS_SESSION $NODE" >> "$FLEET/log.txt"
sleep 0.$1
echo "$CREWBOSS_SESSION" > result.txt
echo "end $CREWBOSS_TASK $CREWBOSS_SESSION $NODE" >> "$FLEET/log.txt"
"#;

#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) folder: PathBuf,
    pub(super) nodes: Vec<Node>,
    pub(super) scale: Scale,
    server: Mutex<Server>,
    since: Instant,
    /// Whom OpenCode asks on each node, where it takes part.
    models: Vec<Model>,
}

/// One home with its clone.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    root: PathBuf,
    fleet: PathBuf,
    url: String,
    scale: Scale,
    /// Whether its processes get a network of their own.
    is_apart: bool,
    /// What OpenCode has to know.
    more: Vec<(String, String)>,
}

impl Fleet {
    pub(super) fn new(server: Server, count: usize, scale: Scale) -> Result<Self> {
        let folder = shell::target()
            .join("chaos")
            .join(format!("nodes-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let seed = folder.join("seed");
        fs::create_dir_all(seed.join(".crewboss"))?;
        let agent = folder.join("agent.sh");
        fs::write(&agent, AGENT)?;
        fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
        fs::write(seed.join(".crewboss/config.toml"), config(&agent, &scale))?;
        git(
            &folder,
            &["init", "--quiet", "--initial-branch=main", "seed"],
        )?;
        git(&seed, &["add", "--force", "."])?;
        git(&seed, &["commit", "--quiet", "--message=first"])?;
        git(
            &folder,
            &["clone", "--quiet", "--bare", "seed", "origin.git"],
        )?;
        let is_apart = shell::program("unshare")
            .args(["--net", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        let mut nodes = Vec::new();
        for number in 0..count {
            let name = format!("n{number}");
            let root = folder.join(&name);
            for part in ["home", "cb", "tmp"] {
                fs::create_dir_all(root.join(part))?;
            }
            let origin = folder.join("origin.git").display().to_string();
            git(&root, &["clone", "--quiet", &origin, "project"])?;
            nodes.push(Node {
                name,
                root,
                fleet: folder.clone(),
                url: server.url(),
                scale,
                is_apart,
                more: vec![],
            });
        }
        Ok(Self {
            folder,
            nodes,
            scale,
            server: Mutex::new(server),
            since: shell::start_watch(),
            models: vec![],
        })
    }

    /// The same where tasks of the agent `build` are done by this OpenCode, which asks a scripted
    /// model beside each node.
    pub(super) fn with_opencode(mut self, opencode: &Path) -> Result<Self> {
        let scenario = shell::root().join("xtask/demo/scenario.toml");
        let folder = opencode.parent().unwrap_or(opencode).display().to_string();
        let path = shell::variable("PATH").unwrap_or_default();
        for node in &mut self.nodes {
            let (model, environment) = Model::start(&scenario, &node.home())?;
            node.more = environment;
            node.more.retain(|(name, _)| name != "HOME");
            node.more
                .push(("PATH".to_owned(), format!("{folder}:{path}")));
            // The model is on this machine's own network.
            node.is_apart = false;
            self.models.push(model);
        }
        Ok(self)
    }

    /// Writes down what is done to whom, for who looks into what went wrong.
    pub(super) fn note(&self, line: &str) {
        let millis = self.since.elapsed().as_millis();
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("faults.txt"));
        if let Ok(mut file) = file {
            drop(writeln!(file, "{millis} {line}"));
        }
    }

    pub(super) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a query answers, once the server does.
    pub(super) fn ask(&self, sql: &str) -> Option<Vec<String>> {
        self.server().ask(sql)
    }

    /// How many tasks there are of which this holds.
    pub(super) fn count(&self, holds: &str) -> Option<usize> {
        let sql = format!("SELECT count(*) FROM crewboss.tasks WHERE {holds}");
        self.ask(&sql)?.first()?.parse().ok()
    }

    /// How many wait; many where nobody can say it.
    pub(super) fn waiting(&self) -> usize {
        self.count("status = 0").unwrap_or(usize::MAX)
    }

    pub(super) fn tasks(&self) -> Vec<String> {
        let ids = self.ask("SELECT id FROM crewboss.tasks ORDER BY id");
        ids.unwrap_or_default()
    }

    /// Queues a task where that is possible now.
    pub(super) fn create(&self, number: usize) {
        self.start(number, ["quick", "slow"][number % 2], "work");
    }

    /// Queues a task of an agent on one of the nodes; whether that was possible.
    pub(super) fn start(&self, number: usize, agent: &str, prompt: &str) -> bool {
        let node = &self.nodes[number % self.nodes.len()];
        let mut command = node.crewboss(&["start", agent, prompt]);
        let made = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !made {
            thread::sleep(Duration::from_millis(200));
        }
        made
    }

    /// Everything is let alone from now on: nodes that are away come back.
    pub(super) fn calm(&self) -> Result<()> {
        self.server().run()?;
        for node in &self.nodes {
            node.wake();
            if !node.is_served() {
                drop(node.serve()?);
            }
        }
        Ok(())
    }

    /// What the nodes said last, and where tasks stand.
    pub(super) fn said(&self) -> String {
        use std::fmt::Write as _;
        let mut text = self.nodes[0].print(&["status"]).unwrap_or_default();
        text.push_str(&self.nodes[0].print(&["node", "list"]).unwrap_or_default());
        for node in &self.nodes {
            let log = fs::read_to_string(node.root.join("serve.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(12);
            let last = lines[last..].join("\n");
            let _ = writeln!(text, "--- {}\n{last}", node.name);
        }
        text
    }

    /// Nobody outlives a campaign.
    pub(super) fn end(&self) {
        for node in &self.nodes {
            for _ in 0..100 {
                if !node.signal_all("KILL") {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn config(agent: &Path, scale: &Scale) -> String {
    let agent = agent.display();
    let (lease, project_max, agent_max) = (scale.lease_seconds, scale.project_max, scale.agent_max);
    format!(
        r#"[project]
remote = "origin"

[run]
requeues_max = 1000
lease_seconds = {lease}
cancel_grace_seconds = 1

[serve]
lease_seconds = 2
drain_seconds = 5

[daemon]
max_concurrent = {project_max}

[agents.quick]
driver = "command"
command = "{agent}"
args = ["2"]
max_concurrent = {agent_max}
env = ["FLEET", "NODE"]

[agents.slow]
driver = "command"
command = "{agent}"
args = ["8"]
max_concurrent = {agent_max}
env = ["FLEET", "NODE"]
"#
    )
}

pub(super) fn git(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = shell::program("git");
    command
        .args(["-c", "user.name=T", "-c", "user.email=t@localhost"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    Ok(shell::output(&mut command)?.trim().to_owned())
}

/// Sends a signal to a process that may have gone.
pub(super) fn signal(pid: u32, name: &str) {
    let signal = match name {
        "STOP" => Signal::SIGSTOP,
        "CONT" => Signal::SIGCONT,
        "TERM" => Signal::SIGTERM,
        "INT" => Signal::SIGINT,
        _ => Signal::SIGKILL,
    };
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

impl Node {
    pub(super) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The binary as this node, in its own network where that is possible.
    fn crewboss(&self, arguments: &[&str]) -> Command {
        let program = shell::target().join("debug/crewboss");
        let mut command = if self.is_apart {
            let mut command = shell::program("unshare");
            command.args(["--net", "--"]).arg(program);
            command
        } else {
            shell::program(program)
        };
        command
            .args(arguments)
            .current_dir(self.root.join("project"))
            .env_clear()
            .env("PATH", shell::variable("PATH").unwrap_or_default())
            .envs(self.more.iter().map(|(name, value)| (name, value)))
            .env("HOME", self.home())
            .env("TMPDIR", self.root.join("tmp"))
            .env("CREWBOSS_HOME", self.root.join("cb"))
            .env("CREWBOSS_STORE", &self.url)
            .env("NODE", &self.name)
            .env("FLEET", &self.fleet)
            .env("USER", "chaos")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .stdin(Stdio::null());
        command
    }

    fn print(&self, arguments: &[&str]) -> Result<String> {
        shell::output(&mut self.crewboss(arguments))
    }

    /// Starts its daemon. A server that is away is waited for.
    pub(super) fn serve(&self) -> Result<Child> {
        let (capacity, store) = (
            self.scale.capacity.to_string(),
            self.scale.store_max.to_string(),
        );
        for _ in 0..100 {
            let log = fs::File::options()
                .create(true)
                .append(true)
                .open(self.root.join("serve.log"))?;
            let mut command = self.crewboss(&[
                "serve",
                "--name",
                &self.name,
                "--capacity",
                &capacity,
                "--max-sessions",
                &store,
                "--interval",
                "1",
            ]);
            let mut child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
            for _ in 0..60 {
                if self.is_served() {
                    return Ok(child);
                }
                if child.try_wait()?.is_some() {
                    break;
                }
                thread::sleep(Duration::from_millis(100));
            }
            drop(child.kill());
            child.wait()?;
            thread::sleep(Duration::from_millis(300));
        }
        bail!("{} does not serve", self.name)
    }

    fn is_served(&self) -> bool {
        let entries = fs::read_dir(self.root.join("cb")).into_iter().flatten();
        let mut sockets = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "sock"));
        sockets.any(|socket| std::os::unix::net::UnixStream::connect(socket).is_ok())
    }

    /// To everything of this node; whether there was anything.
    pub(super) fn signal_all(&self, name: &str) -> bool {
        let residents = census::residents(&self.home());
        for resident in &residents {
            signal(resident.pid, name);
        }
        !residents.is_empty()
    }

    /// To one of its runners, where it has any.
    pub(super) fn signal_runner(&self, name: &str, dice: &mut Dice) {
        let runners = census::runners(&self.home());
        let chosen = usize::try_from(dice.below(runners.len() as u64)).unwrap_or(0);
        if let Some(runner) = runners.get(chosen) {
            signal(runner.pid, name);
        }
    }

    /// Whoever was stopped goes on.
    pub(super) fn wake(&self) {
        self.signal_all("CONT");
    }
}
