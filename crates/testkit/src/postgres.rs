//! A PostgreSQL server of a test's own: in a temporary folder, on a socket there and on no port, as
//! a user without rights. It ends with the process that started it, whatever ends that.
//!
//! `DATABASE_URL` names another server instead; each store then gets a schema of its own there.

#![expect(
    clippy::disallowed_methods,
    reason = "starts and times a server, and has no configuration but the environment"
)]

use std::{
    env,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::requirements;

/// The variable that names a server to test with.
pub const VARIABLE: &str = "DATABASE_URL";

/// For so long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether what is committed has to survive a crash of the machine; that of the server it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As a user has it.
    Full,
    /// Not: tests that only look at what is stored run faster.
    None,
}

/// A server of our own.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    port: u16,
    /// The process that ends the server when this one is gone.
    keeper: Option<Child>,
}

/// The folder with the server's programs.
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
    known.reverse();
    known.extend(env::split_paths(&path_variable()));
    known
        .into_iter()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

fn path_variable() -> std::ffi::OsString {
    env::var_os("PATH").unwrap_or_default()
}

fn named() -> Option<String> {
    env::var(VARIABLE).ok().filter(|url| !url.is_empty())
}

/// The address of a server for the tests of this process: what [`VARIABLE`] names, else one of our
/// own, which is started once. A schema is named behind it by `schema=`.
///
/// # Panics
/// If there is none and `CI` is set, or one does not start.
#[must_use = "a test without what it needs must end"]
pub fn shared() -> Option<String> {
    static SHARED: OnceLock<Option<(Mutex<Server>, String)>> = OnceLock::new();
    if let Some(url) = named() {
        return Some(url);
    }
    let shared = SHARED.get_or_init(|| {
        let server = Server::start(Durability::None)?;
        let url = server.url();
        Some((Mutex::new(server), url))
    });
    shared.as_ref().map(|(_, url)| url.clone())
}

/// The address of a store that nobody else has: a schema on the [`shared`] server.
///
/// # Panics
/// As [`shared`].
#[must_use = "a test without what it needs must end"]
pub fn store() -> Option<String> {
    Some(in_schema(&shared()?, &schema()))
}

/// The variable that asks for tests of the whole program with its store on a server.
pub const MODE: &str = "CREWBOSS_TEST_STORE";

/// What the program under test is told of its store: nothing, or where [`MODE`] is `postgres` a store
/// that nobody else has.
///
/// # Panics
/// As [`shared`].
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    if env::var_os(MODE).is_none_or(|mode| mode != "postgres") {
        return vec![];
    }
    let url = store().map(|url| ("CREWBOSS_STORE".to_owned(), url));
    url.into_iter().collect()
}

/// A name that no other test gives its schema.
#[must_use]
pub fn schema() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let random = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let (process, nanos) = (std::process::id(), random.tv_nsec);
    format!("t{process}_{}_{nanos}_{number}", random.tv_sec)
}

/// An address with a schema.
#[must_use]
pub fn in_schema(url: &str, schema: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}schema={schema}")
}

impl Server {
    /// Starts a server; none where the programs are missing, which is said loudly.
    ///
    /// # Panics
    /// If the programs are missing and `CI` is set, or it does not start.
    #[must_use = "a test without what it needs must end"]
    pub fn start(durability: Durability) -> Option<Self> {
        let Some(programs) = programs() else {
            requirements::missing("PostgreSQL (initdb and postgres; Debian's package postgresql)");
            return None;
        };
        let folder = tempfile::Builder::new()
            .prefix("crewboss-pg-")
            .tempdir_in("/tmp")
            .expect("a folder")
            .keep();
        let user = rustix::process::geteuid().is_root().then(unprivileged);
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("it is ours");
        let mut settings = vec![
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={}", folder.display()),
            "unix_socket_permissions=0777".to_owned(),
            "max_connections=100".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "dynamic_shared_memory_type=posix".to_owned(),
            "log_min_messages=warning".to_owned(),
        ];
        if durability == Durability::None {
            settings
                .extend(["fsync=off", "full_page_writes=off", "autovacuum=off"].map(str::to_owned));
        }
        let mut server = Self {
            folder,
            programs,
            user,
            settings,
            port: 5_432,
            keeper: None,
        };
        server.make();
        server.run();
        Some(server)
    }

    /// The address of its database, with the user that owns everything.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://postgres@:{}/postgres?host={}",
            self.port,
            self.folder.display()
        )
    }

    /// The folder with its data and its socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Changes a setting for its next start.
    pub fn set(&mut self, setting: &str) {
        self.settings.push(setting.to_owned());
    }

    /// From its next start on it listens on a port of this machine, too.
    pub fn listen_on(&mut self, port: u16) {
        self.port = port;
        self.set("listen_addresses=localhost");
        self.set(&format!("port={port}"));
    }

    /// From its next start on it offers protected connections, with a certificate for this name;
    /// answers its file. None where it cannot be made, which is said loudly.
    ///
    /// # Panics
    /// If `openssl` is missing and `CI` is set, or fails.
    #[must_use = "a test without what it needs must end"]
    pub fn protect(&mut self, name: &str) -> Option<PathBuf> {
        let openssl = requirements::program("openssl")?;
        let data = self.folder.join("data");
        let (key, certificate) = (data.join("server.key"), data.join("server.crt"));
        let output = Command::new(openssl)
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args(["-subj", &format!("/CN={name}")])
            .args(["-addext", &format!("subjectAltName=DNS:{name}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl: {said}");
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
        if let Some((uid, gid)) = self.user {
            chown(&key, Some(uid), Some(gid)).expect("root may give a file away");
        }
        self.set("ssl=on");
        Some(certificate)
    }

    /// Ends every process of it at once, as a lost machine would.
    ///
    /// # Panics
    /// If it does not go.
    pub fn kill(&mut self) {
        self.stop("KILL");
    }

    /// Ends it in order: whoever is connected is told.
    ///
    /// # Panics
    /// If it does not go.
    pub fn stop_in_order(&mut self) {
        self.stop("INT");
    }

    /// Starts it again, where it was ended.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.run();
    }

    /// Runs statements as the user that owns everything; answers what they print.
    ///
    /// # Panics
    /// If they fail.
    pub fn psql(&self, sql: &str) -> String {
        let output = self
            .command("psql")
            .args(["-p", &self.port.to_string(), "-h"])
            .arg(&self.folder)
            .args([
                "-U",
                "postgres",
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                sql,
            ])
            .output()
            .expect("psql");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// One of its programs, as the user that runs it.
    fn command(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        match self.user {
            None => Command::new(program),
            Some((uid, gid)) => {
                let mut command = Command::new("setpriv");
                command
                    .args([format!("--reuid={uid}"), format!("--regid={gid}")])
                    .args(["--clear-groups", "--"])
                    .arg(program);
                command
            }
        }
    }

    fn make(&self) {
        let output = self
            .command("initdb")
            .arg("--pgdata")
            .arg(self.folder.join("data"))
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8"])
            .env("LC_ALL", "C")
            .current_dir("/")
            .output()
            .expect("initdb");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "initdb: {said}");
    }

    /// A shell stands between: it ends the server when its input does, which is when we do.
    fn run(&mut self) {
        let script = "\"$@\" </dev/null & p=$!; read -r how; \
            if [ \"$how\" = KILL ]; then kill -9 $(cat \"$0/data/postmaster.pid\" | head -1) $p; \
            else kill -INT $p; fi; wait $p; [ -n \"$how\" ] || rm -rf \"$0\"";
        let server = self.command("postgres");
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(&self.folder)
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(self.folder.join("data"));
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("a log");
        let keeper = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("a shell");
        self.keeper = Some(keeper);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let ends = deadline();
        loop {
            let asked = self
                .command("psql")
                .args(["-p", &self.port.to_string(), "-h"])
                .arg(&self.folder)
                .args(["-U", "postgres", "-X", "-c", "SELECT 1"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if asked.is_ok_and(|status| status.success()) {
                return;
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(!is_over(ends), "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self, how: &str) {
        let Some(mut keeper) = self.keeper.take() else {
            return;
        };
        if let Some(mut input) = keeper.stdin.take() {
            drop(writeln!(input, "{how}"));
        }
        keeper.wait().expect("the shell ends");
        // The server's children notice that it is gone; their memory is freed with the last.
        let ends = deadline();
        while self.has_processes() {
            assert!(!is_over(ends), "PostgreSQL does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(fs::remove_file(self.folder.join("data/postmaster.pid")));
    }

    fn has_processes(&self) -> bool {
        let data = self.folder.join("data");
        let works_there = |entry: fs::DirEntry| {
            fs::read_link(entry.path().join("cwd")).is_ok_and(|folder| folder == data)
        };
        fs::read_dir("/proc").is_ok_and(|entries| entries.flatten().any(works_there))
    }
}

impl Drop for Server {
    /// Without a word on its input the shell removes the folder, too.
    fn drop(&mut self) {
        match self.keeper.take() {
            Some(mut keeper) => {
                drop(keeper.stdin.take());
                drop(keeper.wait());
            }
            None => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn is_over(ends: Instant) -> bool {
    Instant::now() > ends
}

/// The user and group that own nothing.
fn unprivileged() -> (u32, u32) {
    let of = |name: &str| -> io::Result<Option<(u32, u32)>> {
        let users = fs::read_to_string("/etc/passwd")?;
        Ok(users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next() == Some(name);
            let ids = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            is_it.then_some(ids)
        }))
    };
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| of(name).ok().flatten())
        .unwrap_or((65_534, 65_534))
}
