//! Starts one program: finds it, goes through the shim where there is one, and knows whether it
//! was executed before saying so.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use app::ports::processes::{SESSION_MARKER, SESSION_VARIABLE, SpawnError};
use domain::{id::SessionId, process::ProcessIdentity};
use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{
    handle::Handle,
    host::Machine,
    report::{Listener, Refusal, Step},
    shim::{ARG0, CGROUP, REPORT, SETSID},
    table::Process,
};

/// Where programs are looked for if the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The program that prepares a process and then executes another in its place.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
}

/// One program to start.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// What was asked for.
    pub(crate) name: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [(String, String)],
    pub(crate) directory: Option<&'a Path>,
    /// Whose tree it begins; its marker is added to the environment.
    pub(crate) session: Option<SessionId>,
    /// Leads a session of its own, as far as the shim can do that, instead of a process group.
    pub(crate) detached: bool,
}

/// What the program reads and writes.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

/// A child that has executed its program.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) child: Child,
    pub(crate) handle: Handle,
    pub(crate) identity: ProcessIdentity,
}

/// Why it was not executed.
enum Failure {
    /// The shim could not join the control group; without one it may work.
    Join,
    /// Anything else.
    Final(io::Error),
}

impl Plan<'_> {
    /// Starts it; where the control group cannot be joined, without one, and from then on none is
    /// used any more.
    pub(crate) fn start(
        &self,
        machine: &Machine,
        streams: impl Fn() -> io::Result<Streams>,
    ) -> Result<Started, SpawnError> {
        let program = self.find()?;
        let once = |cgroup: Option<&Path>| {
            let streams = streams().map_err(Failure::Final)?;
            self.start_once(machine, &program, cgroup, streams)
        };
        // A shim that was killed before it reported has executed nothing.
        let run = |cgroup: Option<&Path>| match once(cgroup) {
            Err(Failure::Final(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {
                once(cgroup)
            }
            ended => ended,
        };
        // Another process may have removed the group, empty, between making and joining it.
        for _ in 0..2 {
            let Some(dir) = self.group(machine) else {
                break;
            };
            match run(Some(&dir)) {
                Ok(started) => return Ok(started),
                Err(Failure::Join) => {}
                Err(Failure::Final(source)) => return Err(self.error(source)),
            }
        }
        if self.session.is_some() {
            machine.give_up_cgroups();
        }
        run(None).map_err(|failure| match failure {
            Failure::Final(source) => self.error(source),
            Failure::Join => self.error(io::Error::other("joined no group")),
        })
    }

    /// The control group to begin in: the session's own; for what is to outlive us, one outside the
    /// session that we may be part of.
    fn group(&self, machine: &Machine) -> Option<PathBuf> {
        machine.shim.as_ref()?;
        if self.detached {
            return machine.cgroups()?.way_out().map(Path::to_path_buf);
        }
        let group = machine
            .cgroup_of(self.session?)
            .filter(|_| machine.uses_cgroups())?;
        group.create().ok().map(Path::to_path_buf)
    }

    fn start_once(
        &self,
        machine: &Machine,
        program: &Path,
        cgroup: Option<&Path>,
        streams: Streams,
    ) -> Result<Started, Failure> {
        let listener = machine.shim.as_ref().map(|_| Listener::new()).transpose();
        let listener = listener.map_err(Failure::Final)?;
        let mut command = match (&machine.shim, &listener) {
            (Some(shim), Some(listener)) => self.through(shim, listener, program, cgroup),
            _ => self.directly(program),
        };
        self.prepare(machine, &mut command, streams);
        let child = machine.children.start(self.session, || command.spawn());
        let mut child = child.map_err(Failure::Final)?;
        let handle = Handle::open_unchecked(child.id());
        let outcome = match (handle, listener) {
            (Ok(handle), Some(listener)) => listener.outcome(&handle).map(|()| handle),
            (Ok(handle), None) => Ok(handle),
            (Err(source), _) => Err(Refusal {
                step: Step::Execute,
                source,
            }),
        };
        let identity = Process::read(child.id()).map(|process| process.identity(&machine.boot));
        match (outcome, identity) {
            (Ok(handle), Some(identity)) => Ok(Started {
                child,
                handle,
                identity,
            }),
            (outcome, _) => {
                discard(machine, &mut child);
                Err(match outcome {
                    Err(Refusal {
                        step: Step::Join, ..
                    }) => Failure::Join,
                    Err(Refusal { source, .. }) => Failure::Final(source),
                    Ok(_) => Failure::Final(io::Error::other("the process table is unreadable")),
                })
            }
        }
    }

    fn through(
        &self,
        shim: &Shim,
        listener: &Listener,
        program: &Path,
        cgroup: Option<&Path>,
    ) -> Command {
        let mut command = new_command(&shim.program);
        command.args(&shim.args).arg(REPORT).arg(listener.path());
        if let Some(dir) = cgroup {
            command.arg(CGROUP).arg(dir);
        }
        if self.detached {
            command.arg(SETSID);
        }
        command.arg(ARG0).arg(self.name).arg("--").arg(program);
        command
    }

    fn directly(&self, program: &Path) -> Command {
        let mut command = new_command(program);
        command.arg0(self.name);
        command
    }

    fn prepare(&self, machine: &Machine, command: &mut Command, streams: Streams) {
        command
            .args(self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(session) = self.session {
            command.env(SESSION_VARIABLE, session.to_string());
            command.env(SESSION_MARKER, machine.mark(session));
        }
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        // A group leader cannot become leader of a session.
        let by_shim = self.detached && command.get_args().any(|arg| arg == SETSID);
        if !by_shim {
            command.process_group(0);
        }
        command
            .stdin(streams.stdin)
            .stdout(streams.stdout)
            .stderr(streams.stderr);
    }

    /// The program's file, absolute where the directory is.
    fn find(&self) -> Result<PathBuf, SpawnError> {
        let directory = self.directory.unwrap_or(Path::new("."));
        let program = || self.name.to_owned();
        let is_folder = fs::metadata(directory).and_then(|found| {
            if found.is_dir() {
                Ok(())
            } else {
                Err(Errno::NOTDIR.into())
            }
        });
        is_folder.map_err(|source| SpawnError::Failed {
            program: program(),
            source,
        })?;
        let is_path = |(name, _): &&(String, String)| name == "PATH";
        let path = self
            .env
            .iter()
            .rfind(is_path)
            .map_or(DEFAULT_PATH, |(_, value)| value.as_str());
        find_program(self.name, path, directory).map_err(|errno| SpawnError::NotExecutable {
            program: program(),
            source: errno.into(),
        })
    }

    fn error(&self, source: io::Error) -> SpawnError {
        let program = self.name.to_owned();
        if is_of_the_program(&source) {
            SpawnError::NotExecutable { program, source }
        } else {
            SpawnError::Failed { program, source }
        }
    }
}

/// Looks a name up as `execvp` does, relative to `directory`.
fn find_program(name: &str, path: &str, directory: &Path) -> Result<PathBuf, Errno> {
    if name.contains('/') {
        let file = directory.join(name);
        return check_executable(&file).map(|()| file);
    }
    let mut reason = Errno::NOENT;
    if name.is_empty() {
        return Err(reason);
    }
    for entry in path.split(':') {
        let file = directory.join(entry).join(name);
        match check_executable(&file) {
            Ok(()) => return Ok(file),
            Err(Errno::ACCESS) => reason = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(reason)
}

fn check_executable(file: &Path) -> Result<(), Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT);
    if !fs::metadata(file).map_err(errno)?.is_file() {
        return Err(Errno::ACCESS);
    }
    access(file, Access::EXEC_OK)
}

/// Whether executing failed because of what the file is: of another format, its interpreter
/// missing, or not to be executed after all.
fn is_of_the_program(error: &io::Error) -> bool {
    let of_program = [
        Errno::NOENT,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NOEXEC,
        Errno::NOTDIR,
        Errno::ISDIR,
        Errno::LOOP,
        Errno::LIBBAD,
    ];
    Errno::from_io_error(error).is_some_and(|errno| of_program.contains(&errno))
}

/// Ends a child that has executed nothing.
fn discard(machine: &Machine, child: &mut Child) {
    // It is gone by itself, or at most a shim that hangs; it is ours and not reaped yet.
    drop(child.kill());
    drop(child.wait());
    machine.children.forget(child.id());
}

#[expect(
    clippy::disallowed_methods,
    reason = "this adapter starts the processes"
)]
fn new_command(program: &Path) -> Command {
    Command::new(program)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_are_looked_up_in_the_given_path_and_paths_below_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::create_dir_all(dir.join("a/tool")).unwrap();
        fs::create_dir(dir.join("b")).unwrap();
        fs::write(dir.join("b/tool"), "").unwrap();
        let find = |name: &str| find_program(name, "a:b", dir);

        assert_eq!(find("tool"), Err(Errno::ACCESS));
        fs::set_permissions(dir.join("b/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("tool"), Ok(dir.join("b/tool")));
        assert_eq!(find("b/tool"), Ok(dir.join("b/tool")));
        assert_eq!(find("a/tool"), Err(Errno::ACCESS));
        for name in ["", "other", "b/other"] {
            assert_eq!(find(name), Err(Errno::NOENT), "{name:?}");
        }
    }
}
