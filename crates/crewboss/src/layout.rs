//! `--layout`: working in place on the Agent Orchestrator layout. The store is the layout's own, in
//! `.crewboss/` inside its folder; task files are shown after every change, and what others did to
//! them is heard before every command.

mod adopt;
mod manners;
mod post;
mod verbs;

use std::{path::Path, sync::Arc, time::Duration};

use app::{
    command::Meta,
    event::Door,
    ports::{clock::Clock, folders::Folders, store::Store},
    query::{Query, TaskDetails, View},
};
use domain::{
    id::{SessionId, TaskId},
    session::{Outcome as SessionOutcome, Session, SessionCommand},
    task::Task,
    time::Now,
};
use layouts::{Layout, LayoutFolders, Source};

use self::adopt::Running;
pub(crate) use self::{
    manners::manners,
    post::Post,
    verbs::{
        config_init, config_set, config_show, index_rebuild, index_stats, index_verify,
        validate_files,
    },
};
use crate::{
    config::Config,
    context::Context,
    environment::Environment,
    fail::{Exit, Fail},
    launch::Launches,
    output::Output,
    places::{FoundBy, Places},
    wiring,
};

/// Carries the layout to runners, and may be set instead of the flag.
pub(crate) const VARIABLE: &str = "CREWBOSS_LAYOUT";

/// Ours, inside the layout's folder.
const HOME: &str = ".crewboss";

/// How long `run` waits until an agent's process exists, or its start has failed.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// The layout that an environment asks for.
pub(crate) fn asked_for(env: &Environment) -> Result<Option<Layout>, Fail> {
    let word = env.text(VARIABLE);
    word.map(str::parse)
        .transpose()
        .map_err(|error: layouts::InvalidLayout| Fail::usage(format!("--layout: {error}")))
}

impl Places {
    /// The same with everything inside the layout's folder of the nearest project that has one.
    pub(crate) fn in_layout(mut self, env: &Environment, layout: Layout) -> Self {
        if self.found_by != FoundBy::Asked
            && let Ok(start) = env.directory().canonicalize()
            && let Some(project) = layout.find_upward(&start)
        {
            self.project = project;
            self.found_by = FoundBy::Marker;
        }
        self.home = self.project.join(layout.base()).join(HOME);
        self.state = self.home.join("state");
        self.layout = Some(layout);
        self
    }
}

/// What the layout settles, whatever the configuration says; `config.json` has the rest.
pub(crate) fn overlay(config: &mut Config, places: &Places) {
    let Some(layout) = places.layout else { return };
    let file = places.project.join(layout.base()).join("config.json");
    let archive = std::fs::read(file)
        .ok()
        .and_then(|bytes| layouts::ArchiveConfig::read(layout, &bytes).ok())
        .unwrap_or_else(|| layouts::ArchiveConfig::new(layout));
    let settings = &mut config.settings;
    settings.workspace.mode = Some(domain::workspace::WorkspaceMode::InPlace);
    settings.limits.queue_refuse = false;
    settings.limits.queue_max = u64::from(archive.max_queue_size);
    settings.archive.enabled = archive.enabled;
    settings.archive.max_completed_age_days = archive.max_completed_age_days;
    settings.archive.max_failed_age_days = archive.max_failed_age_days;
}

/// Answers the layout's files from the store.
#[derive(Debug)]
struct FromStore {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    out: Output,
}

impl Source for FromStore {
    fn details(&self, task: TaskId) -> Option<TaskDetails> {
        match self.store.read(&Query::Task { id: task }) {
            Ok(View::Task { details }) => Some(*details),
            Ok(_) | Err(_) => None,
        }
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn revealed(&self, task: &Task) {
        let Some(of) = task.chain.retry_of else {
            return;
        };
        let (count, max) = (task.chain.retry_count, task.limits.retries_max);
        // Whoever has closed our output does not want to hear it.
        drop(
            self.out
                .line(format_args!("Auto-retrying {of} (attempt {count}/{max})")),
        );
    }
}

/// The folders of a layout over a store.
pub(crate) fn folders(
    layout: Layout,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    out: &Output,
) -> LayoutFolders {
    let source = FromStore {
        store,
        clock,
        out: out.clone(),
    };
    LayoutFolders::new(layout, wiring::folders(), Arc::new(source))
}

/// The folders of the command's layout.
pub(crate) fn folders_of(context: &Context, layout: Layout) -> Result<LayoutFolders, Fail> {
    Ok(folders(
        layout,
        context.store()?,
        context.clock()?,
        &context.out,
    ))
}

/// What hears the files of the command's project.
pub(crate) fn post(context: &Context, layout: Layout) -> Result<Post, Fail> {
    Ok(Post {
        store: context.store()?,
        folders: folders_of(context, layout)?,
        processes: context.processes()?,
        runners: wiring::runners(&context.places),
        clock: context.clock()?,
        out: context.out.clone(),
        root: context.places.root()?.to_owned(),
        name: context.places.project_name(),
        owner: context.owner(),
        meta: Meta {
            door: Door::System,
            ..context.meta()
        },
        recovery: context.recovery()?,
    })
}

/// The same for a daemon, which owns the store.
pub(crate) fn daemon_post(
    context: &Context,
    layout: Layout,
    store: &Arc<dyn Store>,
) -> Result<Post, Fail> {
    let folders = folders(layout, Arc::clone(store), context.clock()?, &context.out);
    let meta = Meta {
        door: Door::Daemon,
        ..context.meta()
    };
    Ok(Post {
        store: Arc::clone(store),
        folders,
        meta,
        ..post(context, layout)?
    })
}

/// How a task of another folder stands.
#[derive(Debug)]
pub(crate) enum Stands {
    /// As its file says.
    AsWritten,
    /// Its file calls it running, but its process has ended.
    Ended(domain::task::TaskState),
    /// The process that its file names is at work.
    Running,
}

/// How a task of any folder of the layout stands.
pub(crate) fn stands(
    context: &Context,
    root: &Path,
    layout: Layout,
    document: &layouts::Document,
) -> Result<Stands, Fail> {
    if document.status != layouts::Word::Running {
        return Ok(Stands::AsWritten);
    }
    let root = root
        .to_str()
        .ok_or_else(|| Fail::usage("the folder's path is not UTF-8"))?;
    let post = Post {
        root: root.to_owned(),
        ..post(context, layout)?
    };
    Ok(match post.look_at(document)? {
        Running::Alive(_) | Running::Starting => Stands::Running,
        Running::Ended(result) => {
            Stands::Ended(adopt::state_of(result, context.clock()?.now().wall))
        }
    })
}

/// Hears what others did to the files, before a command.
pub(crate) fn sync(context: &Context) -> Result<(), Fail> {
    match context.places.layout {
        Some(layout) => Ok(post(context, layout)?.sync()?),
        None => Ok(()),
    }
}

/// The claimed tasks with their agents' processes in place of their runners', once those exist.
pub(crate) fn wait_for_agents(context: &Context, launches: &mut Launches) -> Result<(), Fail> {
    let Some(layout) = context.places.layout else {
        return Ok(());
    };
    let folders = folders_of(context, layout)?;
    let clock = context.clock()?;
    let patience = u64::try_from(START_PATIENCE.as_millis()).unwrap_or(u64::MAX);
    let due = clock.now().after_millis(patience);
    for mut one in std::mem::take(&mut launches.started) {
        let session = loop {
            let session = context.session(one.session.id)?;
            let is_over = session.status.is_terminal() || due.has_come(&clock.now());
            if session.process.is_some() || is_over {
                break session;
            }
            std::thread::sleep(LOOK);
        };
        folders.show(&context.places.project, one.task.id, false)?;
        match (&session.process, failure_of(&session)) {
            (None, Some(why)) => {
                launches.running = launches.running.saturating_sub(1);
                launches.failed.push((one.task.id, why));
            }
            (process, _) => {
                one.runner = process.clone().unwrap_or(one.runner);
                launches.started.push(one);
            }
        }
    }
    Ok(())
}

fn failure_of(session: &Session) -> Option<String> {
    use domain::session::SessionResult as R;
    match &session.outcome.as_ref()?.result {
        R::Failed { failure } | R::TimedOut { failure } => Some(failure.message.clone()),
        R::Completed | R::Cancelled | R::Stopped => None,
    }
}

/// Brings a task's files up to date at the end of its runner.
pub(crate) fn show_after(context: &Context, session: SessionId) {
    let Some(layout) = context.places.layout else {
        return;
    };
    let shown = folders_of(context, layout).and_then(|folders| {
        let details = context.details(context.session(session)?.task)?;
        folders.show_task(&context.places.project, &details.view.task)?;
        Ok(())
    });
    if let Err(fail) = shown {
        context.out.warn(fail.render());
    }
}

/// Ends a session whose process another tool started: it has no runner to be told. Says whether
/// it was one.
pub(crate) fn end_foreign(context: &Context, session: &Session) -> Result<bool, Fail> {
    let Some(layout) = context.places.layout else {
        return Ok(false);
    };
    let folders = folders_of(context, layout)?;
    let place = app::ports::folders::SessionPlace {
        root: context.places.project.clone(),
        task: session.task,
        session: session.id,
    };
    let (Some(process), Some(stop)) = (&session.process, session.stop) else {
        return Ok(false);
    };
    if !folders.is_foreign(&place) {
        return Ok(false);
    }
    context.processes()?.kill(process);
    let now = context.clock()?.now().wall;
    context.change(app::command::Command::Session {
        session: session.id,
        fence: session.fence,
        command: SessionCommand::Finish {
            outcome: Box::new(SessionOutcome::bare(stop.result(), now)),
        },
        recovery: context.recovery()?,
    })?;
    Ok(true)
}

/// Brings the file of a stopped task up to date once its runner, which removes sentinel files at
/// its end, is gone.
pub(crate) fn show_stopped(context: &Context, session: &Session) -> Result<(), Fail> {
    let Some(layout) = context.places.layout else {
        return Ok(());
    };
    let processes = context.processes()?;
    if let Some(runner) = session
        .runner
        .as_ref()
        .filter(|runner| processes.is_alive(runner))
    {
        drop(processes.wait_any(std::slice::from_ref(runner), Duration::from_secs(2)));
    }
    folders_of(context, layout)?.show(&context.places.project, session.task, false)?;
    Ok(())
}

/// What `status` shows: a retry that is not due has no row; the task that it retries shows the wait.
pub(crate) fn dress(
    context: &Context,
    tasks: Vec<app::query::TaskView>,
) -> Result<Vec<app::query::TaskView>, Fail> {
    if context.places.layout.is_none() {
        return Ok(tasks);
    }
    let now = context.clock()?.now();
    let is_hidden = |task: &Task| {
        task.chain.retry_of.is_some()
            && task.status() == domain::task::TaskStatus::Pending
            && task
                .not_before
                .as_ref()
                .is_some_and(|due| !due.has_come(&now))
    };
    let (hidden, mut shown): (Vec<_>, Vec<_>) =
        tasks.into_iter().partition(|view| is_hidden(&view.task));
    for waiting in hidden {
        let of = waiting.task.chain.retry_of;
        if let Some(view) = shown.iter_mut().find(|view| Some(view.task.id) == of) {
            let id = view.task.id;
            *view = waiting;
            view.task.id = id;
        }
    }
    Ok(shown)
}

/// A status as the layout calls it, where one is worked on.
pub(crate) fn word(context: &Context, status: domain::task::TaskStatus) -> &'static str {
    match context.places.layout {
        Some(_) => layouts::Word::from(status).as_str(),
        None => status.as_str(),
    }
}

/// The layout's task numbers, in a store that is made now.
pub(crate) fn make_store(places: &Places, clock: &Arc<dyn Clock>) -> Result<(), Fail> {
    if places.layout.is_none() || places.store_file().exists() {
        return Ok(());
    }
    let file = places.store_file();
    make_folder(file.parent().unwrap_or(Path::new(".")))?;
    store_sqlite::SqliteStore::number_in_millis(&file, Arc::clone(clock))?;
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), Fail> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Fail::caused(
            Exit::Unavailable,
            format!("cannot make {}", folder.display()),
            &error,
        )
    })
}
