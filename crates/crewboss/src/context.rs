//! What a verb works with: made once per process, each part when it is first needed.

mod queries;
mod requests;

pub(crate) use self::queries::Newest;

use std::{
    cell::OnceCell,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use app::nodes::OfNode;
use app::ports::{
    clock::Clock, folders::Folders, journal::Journal, processes::Processes, store::Store,
    workspaces::Workspaces,
};
use domain::{id::NodeId, project::Project};
use store_postgres::PostgresStore;
use store_sqlite::SqliteStore;

use crate::{
    config::Config,
    connection::{Connection, connect, connect_to},
    environment::Environment,
    fail::{Exit, Fail},
    output::Output,
    places::Places,
    stores::{self, Direct, LogPlace},
    wiring,
};

/// The parts of the program, for one command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) env: Environment,
    pub(crate) out: Output,
    pub(crate) places: Places,
    flags: Vec<String>,
    config: OnceCell<Arc<Config>>,
    clock: OnceCell<Arc<dyn Clock>>,
    store: OnceCell<Arc<Connection>>,
    node: OnceCell<Option<NodeId>>,
    server: OnceCell<Arc<PostgresStore>>,
    processes: OnceCell<Arc<dyn Processes>>,
    project: OnceCell<Project>,
}

impl Context {
    /// Nothing is opened or read yet.
    pub(crate) fn new(
        mut env: Environment,
        out: Output,
        project: Option<&Path>,
        flags: Vec<String>,
    ) -> Result<Self, Fail> {
        let mut places = Places::find(&env, project)?;
        if let Some(layout) = crate::layout::asked_for(&env)? {
            places = places.in_layout(&env, layout);
        }
        // What is wrong with it is said by whoever needs it.
        let loaded = Config::load(&env, &places, &flags).ok();
        places.server = stores::find(&mut env, &places, loaded.as_ref())?;
        out.debug(format_args!(
            "project {} ({}), store {}",
            places.project.display(),
            places.found_by.describe(),
            places.store_name()
        ));
        let context = Self {
            env,
            out,
            places,
            flags,
            config: OnceCell::new(),
            clock: OnceCell::new(),
            store: OnceCell::new(),
            node: OnceCell::new(),
            server: OnceCell::new(),
            processes: OnceCell::new(),
            project: OnceCell::new(),
        };
        if let Some(config) = loaded {
            context.keep_config(config);
        }
        Ok(context)
    }

    fn keep_config(&self, mut config: Config) -> &Arc<Config> {
        crate::layout::overlay(&mut config, &self.places);
        config.report(&self.out);
        self.config.get_or_init(|| Arc::new(config))
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Result<&Arc<Config>, Fail> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = Config::load(&self.env, &self.places, &self.flags)?;
        Ok(self.keep_config(config))
    }

    /// The store's clock: that of this machine, or of the server that holds the store.
    pub(crate) fn clock(&self) -> Result<Arc<dyn Clock>, Fail> {
        match self.server_store(false)? {
            Some(store) => Ok(store.clock()),
            None => self.local_clock(),
        }
    }

    pub(crate) fn local_clock(&self) -> Result<Arc<dyn Clock>, Fail> {
        if self.clock.get().is_none() {
            let clock = sandbox_host::SystemClock::new()
                .map_err(|error| Fail::io("the clock cannot be read", &error))?;
            drop(self.clock.set(Arc::new(clock)));
        }
        Ok(Arc::clone(self.clock.get().expect("it was just set")))
    }

    /// The store on the server that holds it, opened once; `None` where a file does, or where there
    /// is none yet and none is to be made.
    fn server_store(&self, make: bool) -> Result<Option<&Arc<PostgresStore>>, Fail> {
        let Some(server) = &self.places.server else {
            return Ok(None);
        };
        if self.server.get().is_none()
            && let Some(store) = stores::open_server(server, self.local_clock()?, make)?
        {
            drop(self.server.set(store));
        }
        Ok(self.server.get())
    }

    /// The store itself, made where it is missing, with no daemon between.
    pub(crate) fn direct(&self) -> Result<Direct, Fail> {
        if let Some(store) = self.server_store(true)? {
            return Ok(Direct::Postgres(Arc::clone(store)));
        }
        let store = SqliteStore::open(&self.places.store_file(), self.clock()?)?;
        Ok(Direct::Sqlite(Arc::new(store)))
    }

    /// Where the log of everything is.
    pub(crate) fn log_place(&self) -> Result<LogPlace, Fail> {
        Ok(match self.server_store(true)? {
            Some(store) => LogPlace::Server(Arc::clone(store)),
            None => LogPlace::File(self.places.store_file()),
        })
    }

    /// The store, made where it is missing.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Fail> {
        if self.store.get().is_none() {
            let store = if let Some(store) = self.server_store(true)? {
                let direct = Direct::Postgres(Arc::clone(store));
                connect_to(&self.places, store.clock(), &direct)
            } else {
                crate::layout::make_store(&self.places, &self.clock()?)?;
                connect(&self.places, self.clock()?)
            };
            drop(self.store.set(Arc::new(store)));
        }
        let store = Arc::clone(self.store.get().expect("it was just set")) as Arc<dyn Store>;
        self.as_node(store)
    }

    /// A store as the node that this home is sees it.
    pub(crate) fn as_node(&self, store: Arc<dyn Store>) -> Result<Arc<dyn Store>, Fail> {
        Ok(match self.node()? {
            Some(node) => Arc::new(OfNode::new(store, node)),
            None => store,
        })
    }

    /// The node that this home is; none where it never took part with others.
    pub(crate) fn node(&self) -> Result<Option<NodeId>, Fail> {
        if let Some(node) = self.node.get() {
            return Ok(*node);
        }
        // Others share a store on a server: whoever writes there is one of its nodes.
        let node = if self.places.server.is_some() && self.places.layout.is_none() {
            Some(crate::node::ensure(
                &self.places,
                self.local_clock()?.now().wall,
            )?)
        } else {
            crate::node::known(&self.places)?
        };
        Ok(*self.node.get_or_init(|| node))
    }

    /// The node that this home is from now on. Before the store is first asked.
    pub(crate) fn become_node(&self) -> Result<NodeId, Fail> {
        let node = crate::node::ensure(&self.places, self.local_clock()?.now().wall)?;
        // Whoever was here first has read the same file.
        let _ = self.node.set(Some(node));
        Ok(node)
    }

    /// The repository that joins this project's checkouts, as pushes name it.
    pub(crate) fn remote(&self) -> Result<Option<String>, Fail> {
        let Some(configured) = &self.config()?.settings.project.remote else {
            return Ok(None);
        };
        let address = self
            .workspaces()
            .address(&self.places.project, configured)?;
        Ok(Some(address))
    }

    /// Whether the daemon answered last: it carries out what commits owe, and signs.
    pub(crate) fn is_served(&self) -> bool {
        self.store.get().is_some_and(|store| store.is_served())
    }

    /// Whether there is anything to read: looking does not make a store.
    pub(crate) fn has_store(&self) -> Result<bool, Fail> {
        if self.places.server.is_some() {
            return Ok(self.server_store(false)?.is_some());
        }
        let file = self.places.store_file();
        file.try_exists().map_err(|error| {
            Fail::io(
                format!("the store {} cannot be reached", file.display()),
                &error,
            )
            .hint("CREWBOSS_HOME says where it is; it has to be a folder of your own")
        })
    }

    pub(crate) fn processes(&self) -> Result<Arc<dyn Processes>, Fail> {
        if self.processes.get().is_none() {
            drop(
                self.processes
                    .set(wiring::processes(&self.program()?, &self.places)?),
            );
        }
        Ok(Arc::clone(self.processes.get().expect("it was just set")))
    }

    pub(crate) fn folders(&self) -> Arc<dyn Folders> {
        let of_layout = self
            .places
            .layout
            .and_then(|layout| crate::layout::folders_of(self, layout).ok());
        match of_layout {
            Some(folders) => Arc::new(folders),
            None => wiring::folders(),
        }
    }

    pub(crate) fn journal(&self) -> Result<Box<dyn Journal>, Fail> {
        Ok(Box::new(wiring::journal(self.config()?)))
    }

    pub(crate) fn workspaces(&self) -> Arc<dyn Workspaces> {
        wiring::workspaces(&self.env, &self.places)
    }

    /// This program's own file, as runners are started from it.
    #[expect(clippy::unused_self, reason = "a part of the context like every other")]
    pub(crate) fn program(&self) -> Result<PathBuf, Fail> {
        std::env::current_exe().map_err(|error| Fail::io("this program's file is gone", &error))
    }

    /// Arguments that make another process of ours mean the same project and configuration.
    pub(crate) fn flags(&self) -> &[String] {
        &self.flags
    }

    /// The environment that children of ours get.
    pub(crate) fn child_environment(&self) -> Vec<(String, String)> {
        self.env.pairs()
    }

    /// The same, and what a runner has to know: where the store is.
    pub(crate) fn runner_environment(&self) -> Result<Vec<(String, String)>, Fail> {
        let mut environment = self.env.pairs();
        environment.extend(stores::variable_for_children(&self.places)?);
        Ok(environment)
    }

    /// The owner of new tasks.
    pub(crate) fn owner(&self) -> String {
        ["CREWBOSS_OWNER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| self.env.text(name))
            .unwrap_or("local")
            .to_owned()
    }

    /// Whether a daemon answers for this store.
    pub(crate) fn has_daemon(&self) -> bool {
        self.is_served() || crate::connection::dial(&self.places.daemon_socket()).is_some()
    }

    /// A program in the user's `PATH`.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        let path = self.env.get("PATH")?.to_owned();
        std::env::split_paths(&path)
            .map(|dir| dir.join(OsString::from(name)))
            .find(|file| is_executable(file))
    }
}

/// Whether a file may be executed by somebody.
pub(crate) fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The answer to a query was of another kind: a daemon of another version, or a broken store.
pub(crate) fn unexpected(what: &str) -> Fail {
    Fail::new(
        Exit::Failed,
        format!("the store gave another answer than was asked for ({what})"),
    )
    .hint("restart the daemon if it is of another version")
}
