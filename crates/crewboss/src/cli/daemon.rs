//! `daemon`: start tasks as they come.

mod keeping;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use app::{
    command::{Command, Meta, Request},
    event::{Actor, ActorKind, Door},
    nodes::projects_here,
    ports::{
        clock::Clock,
        folders::Folders,
        journal::Journal,
        store::{Effect, Store},
        workspaces::Workspaces,
    },
    purge::{Purger, deleted_before},
    query::{Counts, Query, View},
    resources::Ledger,
};
use domain::{
    id::{NodeId, TaskId},
    plan::Policy,
    process::ProcessIdentity,
    project::Project,
    session::Session,
    task::{Task, TaskStatus},
    time::{Now, Timestamp},
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use store_sqlite::SqliteStore;

use super::serve::Serving;
use crate::{
    config::Config,
    context::Context,
    daemon::{
        Bell, DaemonLock, Hands, Images, Last, LockError, Member, Scheduler, Server, Terms, Told,
        Tools, drain,
    },
    environment::Environment,
    fail::{Exit, Fail, Outcome},
    heads::Signer,
    history,
    launch::Starter,
    output::Output,
    places::Places,
    retention, wiring,
};

/// How often old tasks and leftovers are looked for.
const HOUSEKEEPING_EVERY_MILLIS: u64 = 3_600_000;

/// How often commits of others are looked for, where they are not told of.
const LOOK_FOR_OTHERS: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tasks of a project that run at once; by default `daemon.max_concurrent` of its configuration
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_concurrent: Option<u32>,
    /// Seconds between safety checks; work starts on events, not on this
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    interval: Option<u32>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        run(context, self.max_concurrent, self.interval, None)
    }
}

/// Who speaks.
pub(super) fn meta() -> Meta {
    Meta {
        actor: Actor {
            kind: ActorKind::System,
            id: "daemon".to_owned(),
        },
        door: Door::Daemon,
        idempotency_key: None,
        correlation: None,
    }
}

/// The daemon, from its lock to its end; as a node among others where it is `serving`.
pub(super) fn run(
    context: &Context,
    max_concurrent: Option<u32>,
    interval: Option<u32>,
    serving: Option<Serving>,
) -> Outcome {
    let settings = &context.config()?.settings.daemon;
    let interval = interval.unwrap_or(settings.interval_seconds);
    let lock = DaemonLock::take(&context.places.daemon_lock()).map_err(|error| refused(&error))?;
    let store: Arc<dyn Store> = if context.places.server.is_some() {
        context.direct()?.store()
    } else {
        let file = context.places.store_file();
        Arc::new(SqliteStore::own(&file, context.clock()?)?)
    };
    let clock = context.clock()?;
    let bell = Arc::new(Bell::default());
    let member = match &serving {
        Some(serving) => {
            let of = serving.membership.clone();
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            let joined = Member::join(of, store, clock, Arc::clone(&bell));
            Some(Arc::new(joined.map_err(not_joined)?))
        }
        None => None,
    };
    let server = Server::start(
        &context.places.daemon_socket(),
        Arc::clone(&store),
        Arc::clone(&bell),
    )
    .map_err(|error| Fail::io("the daemon's socket cannot be opened", &error))?;
    let told = Told::default();
    stop_on_signals(&bell, &told, &context.out, member.clone())?;
    // A member hears of others by itself.
    if context.places.server.is_some() && member.is_none() {
        hear_of_others(&store, &bell)?;
    }
    let concurrent = max_concurrent.unwrap_or(settings.max_concurrent);
    banner(context, serving.as_ref(), concurrent, interval)?;
    let signer = match context.places.layout {
        Some(_) => None,
        None => Some(Arc::new(Signer::new(
            context.config()?,
            &context.places,
            context.log_place()?,
            Arc::clone(&clock),
        )?)),
    };
    let making = Making {
        max_concurrent,
        interval,
        serving,
        member: member.clone(),
        signer,
    };
    let store = context.as_node(store)?;
    let (scheduler, crew) = making.scheduler(context, store, clock, Arc::clone(&bell))?;
    let speaking = speak(member.clone(), &crew)?;
    scheduler.run();
    for what in drain(crew.last(), &told) {
        context
            .out
            .warn(format_args!("not done before the end: {what}"));
    }
    if let Some(speaking) = speaking {
        drop(speaking.join());
    }
    if let Some(Err(error)) = member.map(|member| member.leave()) {
        context.out.warn(format_args!(
            "this node has not left, and will be declared lost: {error}"
        ));
    }
    drop(server);
    drop(lock);
    context.out.line("Daemon stopped")?;
    Ok(Exit::Ok)
}

/// Lets a node speak for itself, in a thread that nothing else holds up.
fn speak(
    member: Option<Arc<Member>>,
    crew: &Arc<Crew>,
) -> Result<Option<thread::JoinHandle<()>>, Fail> {
    let Some(member) = member else {
        return Ok(None);
    };
    let crew = Arc::clone(crew);
    thread::Builder::new()
        .name("member".to_owned())
        .spawn(move || member.run(&*crew))
        .map(Some)
        .map_err(|error| Fail::io("this node cannot speak", &error))
}

fn not_joined(error: app::error::Error) -> Fail {
    let hint = match error {
        app::error::Error::Exists { .. } => "give this one another name: --name",
        app::error::Error::Rejected(_) => {
            "if this home was copied from another machine, remove its file `node`"
        }
        _ => return error.into(),
    };
    Fail::from(error).hint(hint)
}

/// What a daemon is made from.
struct Making {
    max_concurrent: Option<u32>,
    interval: u32,
    serving: Option<Serving>,
    member: Option<Arc<Member>>,
    signer: Option<Arc<Signer>>,
}

impl Making {
    fn scheduler(
        self,
        context: &Context,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        bell: Arc<Bell>,
    ) -> Result<(Scheduler, Arc<Crew>), Fail> {
        let processes = context.processes()?;
        let meta = meta();
        let mut reconciler = wiring::reconciler(context)?;
        reconciler.store = Arc::clone(&store);
        if self.member.is_some() {
            // Whoever leads sees to them.
            reconciler.patience = Duration::MAX;
        }
        let mut flags = context.flags().to_vec();
        if let Some(serving) = &self.serving {
            let seconds = serving.session_seconds;
            flags.insert(0, format!("run.session_max_seconds={seconds}"));
        }
        let post = match context.places.layout {
            Some(layout) => Some(crate::layout::daemon_post(context, layout, &store)?),
            None => None,
        };
        let mut ledger = wiring::ledger(context)?;
        ledger.store = Arc::clone(&store);
        let crew = Crew {
            starter: Starter {
                program: context.program()?,
                processes: Arc::clone(&processes),
                folders: context.folders(),
                environment: context.runner_environment()?,
                flags,
            },
            store: Arc::clone(&store),
            folders: context.folders(),
            workspaces: context.workspaces(),
            journal: match context.places.layout {
                None => Some(context.journal()?),
                Some(_) => None,
            },
            env: context.env.clone(),
            places: context.places.clone(),
            node: context.node()?,
            concurrent: self.max_concurrent,
            serving: self.serving,
            member: self.member,
            meta: meta.clone(),
            out: context.out.clone(),
            shown: Mutex::new(None),
            images: Mutex::default(),
            kept: Mutex::new(None),
            ledger,
            since: clock.now().wall,
            clock: Arc::clone(&clock),
            signer: self.signer,
            post,
        };
        let crew = Arc::new(crew);
        let hands: Arc<dyn Hands> = Arc::<Crew>::clone(&crew);
        let scheduler = Scheduler {
            store,
            clock,
            processes,
            reconciler,
            hands,
            meta,
            bell,
            interval: Duration::from_secs(u64::from(self.interval)),
        };
        Ok((scheduler, crew))
    }
}

fn refused(error: &LockError) -> Fail {
    match error {
        LockError::Held { .. } => Fail::new(Exit::Conflict, error.to_string())
            .hint("one daemon serves every project of a store"),
        LockError::Io { source, .. } => Fail::io(error.to_string(), source),
    }
}

fn banner(
    context: &Context,
    serving: Option<&Serving>,
    concurrent: u32,
    interval: u32,
) -> Result<(), Fail> {
    let out = &context.out;
    let rule = "=".repeat(60);
    out.line(&rule)?;
    let name = if context.places.layout.is_some() {
        "Agent Orchestrator"
    } else {
        "Crewboss"
    };
    out.line(format_args!("{name} Daemon Started"))?;
    if let Some(serving) = serving {
        let introduction = &serving.membership.introduction;
        let (name, id) = (&introduction.name, serving.membership.node);
        out.line(format_args!("Node: {name} ({id})"))?;
        let (capacity, all) = (introduction.capacity, serving.store_max);
        out.line(format_args!(
            "Sessions at once: {capacity} here, {all} on all nodes"
        ))?;
    } else {
        out.line(format_args!("Max concurrent tasks: {concurrent}"))?;
    }
    out.line(format_args!("Check interval: {interval}s"))?;
    out.line("Press Ctrl+C to stop")?;
    out.line(&rule)
}

/// The first signal ends the daemon in order, the second ends it, the third ends it as it is; agents
/// go on. A closed terminal is no reason to end.
///
/// A node takes no more work from the first on, and ends once what it has is done.
fn stop_on_signals(
    bell: &Arc<Bell>,
    told: &Told,
    out: &Output,
    member: Option<Arc<Member>>,
) -> Result<(), Fail> {
    let cannot = |error: &std::io::Error| Fail::io("the daemon cannot listen to signals", error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| cannot(&error))?;
    let (bell, told, out) = (Arc::clone(bell), told.clone(), out.clone());
    let listen = move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                bell.ring();
                continue;
            }
            match told.again() {
                1 => {
                    let text = format!("Received signal {signal}, shutting down gracefully...");
                    drop(out.line(text));
                    match &member {
                        Some(member) => member.drain(),
                        None => bell.close(),
                    }
                }
                2 => {
                    drop(out.line(format!("Received signal {signal} again, ending")));
                    bell.close();
                }
                _ => at_once(),
            }
        }
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .map(drop)
        .map_err(|error| cannot(&error))
}

/// Rings whenever anybody has committed: others may use the store from machines of their own.
fn hear_of_others(store: &Arc<dyn Store>, bell: &Arc<Bell>) -> Result<(), Fail> {
    let (store, bell) = (Arc::clone(store), Arc::clone(bell));
    let listen = move || {
        let mut last = store.generation().ok();
        while !bell.is_closed() {
            thread::sleep(LOOK_FOR_OTHERS);
            match store.generation() {
                Ok(now) if last != Some(now) => {
                    last = Some(now);
                    bell.ring();
                }
                Ok(_) | Err(_) => {}
            }
        }
    };
    thread::Builder::new()
        .name("others".to_owned())
        .spawn(listen)
        .map(drop)
        .map_err(|error| Fail::io("the daemon cannot listen to the store", &error))
}

#[expect(
    clippy::exit,
    reason = "somebody has asked for the third time, and nothing is lost by it"
)]
fn at_once() -> ! {
    std::process::exit(Exit::Interrupted as i32)
}

/// What the scheduler is given of this program.
#[derive(Debug)]
struct Crew {
    starter: Starter,
    store: Arc<dyn Store>,
    folders: Arc<dyn Folders>,
    workspaces: Arc<dyn Workspaces>,
    /// None in a layout.
    journal: Option<Box<dyn Journal>>,
    env: Environment,
    places: Places,
    /// The node that this is.
    node: Option<NodeId>,
    concurrent: Option<u32>,
    serving: Option<Serving>,
    member: Option<Arc<Member>>,
    meta: Meta,
    out: Output,
    shown: Mutex<Option<Counts>>,
    images: Mutex<Images>,
    /// When old tasks and leftovers were last looked for.
    kept: Mutex<Option<Now>>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    /// When this process began.
    since: Timestamp,
    /// None in a layout.
    signer: Option<Arc<Signer>>,
    /// Hears the files of the layout, where it works on one.
    post: Option<crate::layout::Post>,
}

impl Hands for Crew {
    fn terms(&self, project: &Project) -> Result<Terms, String> {
        let config = self.config_of(project)?;
        let lease_millis = config.settings.run.lease_seconds.saturating_mul(1_000);
        if let Some(serving) = &self.serving {
            let starts_max = serving.membership.introduction.capacity;
            let policy = wiring::policy(&config, serving.project_max, starts_max);
            return Ok(Terms {
                policy: Policy {
                    store_max: Some(serving.store_max),
                    ..policy
                },
                lease_millis,
            });
        }
        let max = self
            .concurrent
            .unwrap_or(config.settings.daemon.max_concurrent);
        Ok(Terms {
            policy: wiring::policy(&config, Some(max), max),
            lease_millis,
        })
    }

    fn launch(
        &self,
        project: &Project,
        session: &Session,
        task: &Task,
    ) -> Result<ProcessIdentity, String> {
        // A layout says it when the file of the retry appears.
        let announces = task.limits.auto_retry && self.post.is_none();
        if let (true, Some(of)) = (announces, task.chain.retry_of) {
            let (count, max) = (task.chain.retry_count, task.limits.retries_max);
            self.say(&format!("Auto-retrying {of} (attempt {count}/{max})"));
        }
        self.starter
            .start(Path::new(&project.root), session, &self.out)
    }

    fn keep_house(&self) {
        if let Some(Err(error)) = self.post.as_ref().map(crate::layout::Post::sync) {
            self.warn(&error.to_string());
        }
        let kept = self.show_tasks().and_then(|()| self.show_counts());
        if let Err(error) = kept.and_then(|()| self.keep_hourly()) {
            self.warn(&error.to_string());
        }
        if !self.is_first() {
            return;
        }
        let sign = |signer: &Arc<Signer>| signer.sign_if_due(&*self.store, &self.out);
        if let Some(Err(fail)) = self.signer.as_ref().map(sign) {
            let why = fail.render();
            self.warn(&format!("the log's head was not signed: {}", why.trim()));
        }
    }

    fn finish_checkpoints(&self, project: &Project) -> u32 {
        if self.places.layout.is_some() {
            return 0;
        }
        self.finish_cut_off(project)
    }

    fn tell_project(&self, project: &Project) {
        if self.places.layout.is_some() {
            return;
        }
        let (layers, root) = (wiring::layers(), Path::new(&project.root));
        let told = history::bring_up_project(&*self.store, &*layers, root, project.id);
        if let Err(behind) = told {
            let why = behind.reason();
            self.warn(&format!("the log of {} is behind: {why}", project.root));
        }
    }

    /// With the time, but for the lines of a layout, whose form others know.
    fn say(&self, line: &str) {
        let now = self.clock.now().wall;
        let line = match self.post {
            Some(_) => line.to_owned(),
            None => format!("{now} {line}"),
        };
        drop(self.out.line(line));
    }

    fn warn(&self, line: &str) {
        self.out.warn(line);
    }
}

impl Crew {
    /// What is to be done before the end, the most important first.
    fn last(self: &Arc<Self>) -> Vec<Last> {
        if self.places.layout.is_some() {
            return vec![];
        }
        let (keeping, signing) = (Arc::clone(self), Arc::clone(self));
        let keep = Last {
            what: "checkpoints of all that run",
            act: Box::new(move || keeping.keep_all()),
        };
        let sign = Last {
            what: "the signature of the log's head",
            act: Box::new(move || signing.sign_rest()),
        };
        vec![keep, sign]
    }

    /// Whether this is the one, among many nodes, that does what one alone is to do.
    fn is_first(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.leads())
    }

    fn sign_rest(&self) {
        if !self.is_first() {
            return;
        }
        let sign = |signer: &Arc<Signer>| signer.sign_rest(&*self.store, &self.out);
        if let Some(Err(fail)) = self.signer.as_ref().map(sign) {
            self.warn(fail.render().trim());
        }
    }

    /// The configuration of a project, as it is now.
    fn config_of(&self, project: &Project) -> Result<Config, String> {
        let places = Places {
            project: PathBuf::from(&project.root),
            ..self.places.clone()
        };
        Config::load(&self.env, &places, &self.starter.flags)
            .map_err(|fail| fail.render().trim().to_owned())
    }

    /// What is due at the start and then once an hour.
    fn keep_hourly(&self) -> Result<(), app::error::Error> {
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let since = kept
            .as_ref()
            .and_then(|last| now.millis_since(&last.moment));
        if since.is_some_and(|millis| millis < HOUSEKEEPING_EVERY_MILLIS) {
            return Ok(());
        }
        *kept = Some(now.clone());
        drop(kept);
        self.sweep()?;
        if !self.is_first() {
            return Ok(());
        }
        self.purge_old(&now)?;
        self.archive_old(&now)
    }

    /// Removes what ended sessions left behind, beside the daemon's work. What cannot be looked at
    /// now is at the next hour.
    fn sweep(&self) -> Result<(), app::error::Error> {
        let mut ledgers = Vec::new();
        for project in self.projects()? {
            if let Ok(config) = self.config_of(&project) {
                let mut ledger = self.ledger.clone();
                ledger.keeps_worktrees = config.settings.workspace.keep;
                ledgers.push((project, ledger));
            }
        }
        let out = self.out.clone();
        let sweep = move || {
            for (project, ledger) in ledgers {
                for one in ledger.sweep(&project).iter().flatten() {
                    drop(out.line(super::doctor::said(one)));
                }
            }
        };
        // Without a thread to be had there is another hour.
        drop(thread::Builder::new().name("sweep".to_owned()).spawn(sweep));
        Ok(())
    }

    /// Purges what was deleted long enough ago, beside the daemon's work.
    fn purge_old(&self, now: &Now) -> Result<(), app::error::Error> {
        let mut due = Vec::new();
        for project in self.projects()? {
            let Ok(config) = self.config_of(&project) else {
                continue;
            };
            let rules = &config.settings.deletion;
            if !rules.purge {
                continue;
            }
            let before = retention::days_before(now.wall, rules.keep_days);
            let tasks = deleted_before(&*self.store, project.id, before)?;
            let purger = Purger {
                store: Arc::clone(&self.store),
                workspaces: Arc::clone(&self.ledger.workspaces),
                folders: Arc::clone(&self.folders),
                layers: self.journal.is_some().then(wiring::layers),
                project,
                meta: self.meta.clone(),
            };
            due.push((purger, tasks));
        }
        let out = self.out.clone();
        let purge = move || {
            for (purger, tasks) in due {
                if let Err(error) = purger.finish() {
                    out.warn(format_args!("checkpoints of purged tasks stay: {error}"));
                }
                for task in tasks {
                    match purger.purge(task.id) {
                        Ok(_) => drop(out.line(format_args!("Purged {}", task.id))),
                        Err(error) => out.warn(format_args!("{} is not purged: {error}", task.id)),
                    }
                }
            }
        };
        // Without a thread to be had there is another hour.
        drop(thread::Builder::new().name("purge".to_owned()).spawn(purge));
        Ok(())
    }

    /// Archives what is old enough, in projects that want it.
    fn archive_old(&self, now: &Now) -> Result<(), app::error::Error> {
        for project in self.projects()? {
            // A configuration that cannot be read archives nothing; starting tasks reports it.
            let Ok(config) = self.config_of(&project) else {
                continue;
            };
            if !config.settings.archive.enabled {
                continue;
            }
            let old = retention::eligible(&*self.store, project.id, &config.settings, now.wall)?;
            if old.is_empty() {
                continue;
            }
            let tasks: Vec<TaskId> = old.iter().map(|task| task.id).collect();
            let count = tasks.len();
            self.execute(
                Command::ArchiveTasks {
                    tasks,
                    archived: true,
                },
                vec![],
            )?;
            self.say(&format!("Archived {count} task(s) of {}", project.root));
        }
        Ok(())
    }

    fn execute(&self, command: Command, done: Vec<Effect>) -> Result<(), app::error::Error> {
        let meta = self.meta.clone();
        self.store
            .execute(Request {
                meta,
                done,
                command,
            })
            .map(drop)
    }

    /// Brings the images of changed tasks up to date, and forgets that they were behind.
    fn show_tasks(&self) -> Result<(), app::error::Error> {
        let projects = self.projects()?;
        let tools = Tools {
            store: &*self.store,
            folders: &*self.folders,
            journal: self.journal.as_deref(),
            projects: &projects,
            now: &self.clock.now().moment,
            since: self.since,
            node: self.node,
        };
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let look = images.catch_up(tools)?;
        drop(images);
        for warning in look.warnings {
            self.warn(&warning);
        }
        if self.post.is_none() {
            for task in &look.ended {
                self.say(&super::wait::ending(task));
            }
        }
        self.forget(look.done, &projects)
    }

    /// Effects are forgotten with a command; asking for what is there already changes nothing else.
    fn forget(&self, done: Vec<Effect>, projects: &[Project]) -> Result<(), app::error::Error> {
        let Some(project) = projects.first().filter(|_| !done.is_empty()) else {
            return Ok(());
        };
        let (root, name) = (project.root.clone(), project.name.clone());
        self.execute(Command::RegisterProject { root, name }, done)
    }

    fn projects(&self) -> Result<Vec<Project>, app::error::Error> {
        projects_here(&*self.store, self.node)
    }

    /// The line of counts, where they have changed.
    fn show_counts(&self) -> Result<(), app::error::Error> {
        let mut total = Counts::new();
        for project in self.projects()? {
            let query = Query::Counts {
                project: project.id,
            };
            let View::Counts { counts } = self.store.read(&query)? else {
                continue;
            };
            for (status, number) in counts {
                *total.entry(status).or_default() += number;
            }
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref() == Some(&total) {
            return Ok(());
        }
        let number = |status| total.get(&status).copied().unwrap_or(0);
        self.say(&format!(
            "Status: {} running, {} pending, {} completed, {} failed",
            number(TaskStatus::Running),
            number(TaskStatus::Pending),
            number(TaskStatus::Completed),
            number(TaskStatus::Failed)
        ));
        *shown = Some(total);
        Ok(())
    }
}
