//! A PostgreSQL server of a campaign's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{packages::is_root, shell};

/// In a temporary folder, on a socket there.
#[derive(Debug)]
pub(super) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// A fresh one; none where it is not installed.
    pub(super) fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            return Ok(None);
        };
        let folder = PathBuf::from(format!("/tmp/crewboss-chaos-pg-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder)?;
        if is_root() {
            shell::run(shell::program("chown").arg("nobody").arg(&folder))?;
        }
        let mut server = Self {
            folder,
            programs,
            child: None,
        };
        let data = server.folder.join("data");
        let mut make = server.program("initdb");
        make.arg("--pgdata").arg(&data).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        shell::run(make.stdout(Stdio::null()))?;
        server.run()?;
        Ok(Some(server))
    }

    pub(super) fn url(&self) -> String {
        format!(
            "postgres://postgres@/postgres?host={}",
            self.folder.display()
        )
    }

    /// Starts it, and waits until it answers.
    pub(super) fn run(&mut self) -> Result<()> {
        for _ in 0..120 {
            let is_over = match &mut self.child {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            // Right after a kill what is left of the last one may still be in the way.
            if is_over {
                let mut server = self.program("postgres");
                server.arg("-D").arg(self.folder.join("data"));
                server.arg("-k").arg(&self.folder);
                for setting in [
                    "listen_addresses=",
                    "max_connections=200",
                    "shared_buffers=64MB",
                ] {
                    server.args(["-c", setting]);
                }
                let log = fs::File::options()
                    .create(true)
                    .append(true)
                    .open(self.folder.with_extension("log"))?;
                server.stdout(log.try_clone()?).stderr(log);
                self.child = Some(server.spawn().context("cannot start postgres")?);
            }
            if self.ask("SELECT 1").is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(250));
        }
        bail!("the server does not start again")
    }

    /// Ends it by a signal to its first process.
    pub(super) fn stop(&mut self, signal: &str) -> Result<()> {
        let file = self.folder.join("data/postmaster.pid");
        let text = fs::read_to_string(&file).unwrap_or_default();
        if let Some(pid) = text.lines().next().and_then(|line| line.parse().ok()) {
            super::fleet::signal(pid, signal);
        }
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// The lines that a query answers; none where the server does not answer.
    pub(super) fn ask(&self, sql: &str) -> Option<Vec<String>> {
        let mut psql = self.program("psql");
        psql.arg("--host").arg(&self.folder).args([
            "--username=postgres",
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--quiet",
            "--field-separator=\t",
            "--command",
            sql,
        ]);
        let output = psql.stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output
            .status
            .success()
            .then(|| text.lines().map(str::to_owned).collect())
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = shell::program("setpriv");
            command
                .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
                .arg(program);
            command
        } else {
            shell::program(program)
        };
        command.current_dir(&self.folder).stdin(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop("INT"));
        drop(fs::remove_dir_all(&self.folder));
        drop(fs::remove_file(self.folder.with_extension("log")));
    }
}

fn programs() -> Option<PathBuf> {
    let mut known: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|found| {
            found
                .flatten()
                .map(|entry| entry.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    known.sort();
    let on_path = shell::which("initdb").and_then(|file| file.parent().map(Path::to_owned));
    known.extend(on_path);
    known.into_iter().rev().find(|folder| {
        let has = |name: &str| folder.join(name).is_file();
        has("initdb") && has("postgres") && has("psql")
    })
}
