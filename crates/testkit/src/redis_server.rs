//! A Redis server for one test alone: on a socket in a folder of its own, gone with it.

#![expect(
    clippy::disallowed_methods,
    reason = "a server of a test is a process like any other, and starts within real time"
)]

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{poll::poll_until, requirements};

/// How long a server may take to answer its first command.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub struct RedisServer {
    folder: tempfile::TempDir,
    program: PathBuf,
    password: Option<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// A server that answers; `None` where there is no program for it
    /// ([`requirements::program`]).
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::with(None)
    }

    /// A server that wants a password.
    #[must_use]
    pub fn with_password(password: &str) -> Option<Self> {
        Self::with(Some(password.to_owned()))
    }

    fn with(password: Option<String>) -> Option<Self> {
        let mut server = Self {
            program: requirements::program("redis-server")?,
            folder: tempfile::Builder::new()
                .prefix("crewboss-redis-")
                .tempdir()
                .expect("a folder"),
            password,
            process: None,
        };
        server.run();
        Some(server)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Where it is, as `REDIS_URL` has it. Without its password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it again after it has ended.
    pub fn run(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--daemonize",
                "no",
            ])
            .arg("--unixsocket")
            .arg(self.socket())
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        self.process = Some(command.spawn().expect("it can be started"));
        let answers = poll_until(STARTS_WITHIN, || self.ask("PING").is_ok());
        assert!(answers, "the server does not answer");
    }

    /// Sends a command of plain words, and answers the first line.
    ///
    /// # Errors
    /// Where the server is not there.
    pub fn ask(&self, command: &str) -> io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        if let Some(password) = &self.password {
            stream.write_all(format!("AUTH {password}\r\n").as_bytes())?;
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line)?;
        }
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        let mut reader = BufReader::new(&stream);
        reader.read_line(&mut line)?;
        if let Some(length) = line.strip_prefix('$') {
            let length = length.trim().parse().unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            line = String::from_utf8_lossy(&body).into_owned();
        }
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Stops it where it is, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let number = self.process.as_ref().map(Child::id);
        let number = number.and_then(|number| i32::try_from(number).ok());
        if let Some(pid) = number.and_then(Pid::from_raw) {
            kill_process(pid, signal).expect("it is there");
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
