//! Hears what others did to the files: each difference is a command, and what the state does not
//! allow is written over and said.

use std::{path::Path, sync::Arc};

use app::{
    command::{
        Command, IMPORT_BATCH_MAX, ImportedTask, Meta, Output as Done, RecoveryPolicy, Request,
    },
    error::Error,
    ports::{
        clock::Clock,
        folders::{FolderError, SessionPlace},
        processes::Processes,
        runners::Runners,
        store::Store,
    },
    query::{Query, View},
};
use domain::{
    id::{ProjectId, TaskId},
    session::StopReason,
    task::{Task, TaskStatus},
};
use layouts::{Document, Edit, Inbox, LayoutFolders, Word, imported};

use super::adopt::{Running, result_of, state_of};
use crate::output::Output;

/// Effects that are carried out in one go.
const EFFECTS_AT_ONCE: usize = 1_000;

/// Between the files of one project and the store.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) folders: LayoutFolders,
    pub(crate) processes: Arc<dyn Processes>,
    pub(crate) runners: Arc<dyn Runners>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) out: Output,
    pub(crate) root: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) meta: Meta,
    pub(crate) recovery: RecoveryPolicy,
}

/// A file that cannot be used, as an error of the store's kind.
pub(super) fn of(error: FolderError) -> Error {
    let FolderError { act, path, source } = error;
    Error::unavailable(format!("cannot {act} {}: {source}", path.display()))
}

impl Post {
    pub(super) fn root_path(&self) -> &Path {
        Path::new(&self.root)
    }

    pub(super) fn execute(&self, command: Command) -> Result<Done, Error> {
        let request = Request {
            meta: self.meta.clone(),
            done: vec![],
            command,
        };
        self.store.execute(request).map(|reply| reply.output)
    }

    /// Hears everything once, and brings the files up to date.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.folders.make(self.root_path()).map_err(of)?;
        let mut inbox = self.folders.inbox(self.root_path()).map_err(of)?;
        // What somebody else hears at the same moment is heard once.
        let _hearing = if inbox.is_empty() {
            None
        } else {
            let hearing = self.folders.hearing(self.root_path()).map_err(of)?;
            inbox = self.folders.inbox(self.root_path()).map_err(of)?;
            Some(hearing)
        };
        for warning in &inbox.warnings {
            self.out.warn(warning);
        }
        let Some(project) = self.project(!inbox.is_empty())? else {
            return Ok(());
        };
        self.hear(project, &inbox)?;
        self.watch_foreign(project)?;
        self.reveal()?;
        while self.carry_out_effects()? {}
        Ok(())
    }

    fn project(&self, register: bool) -> Result<Option<ProjectId>, Error> {
        let known = match self.store.read(&Query::ProjectAt {
            root: self.root.clone(),
            node: None,
        })? {
            View::Project { project } => project,
            other => return Err(unexpected(&other)),
        };
        match known {
            Some(project) => Ok(Some(project.id)),
            None if register => self.register().map(Some),
            None => Ok(None),
        }
    }

    fn register(&self) -> Result<ProjectId, Error> {
        let (root, name) = (self.root.clone(), self.name.clone());
        match self.execute(Command::RegisterProject { root, name })? {
            Done::Project { project } => Ok(project.id),
            other => Err(unexpected(&other)),
        }
    }

    fn hear(&self, project: ProjectId, inbox: &Inbox) -> Result<(), Error> {
        for edit in &inbox.edited {
            let id = edit.after.id;
            if let Err(why) = self.hear_edit(project, edit) {
                self.reject(id, &why);
            }
            self.show(id)?;
        }
        self.hear_fresh(project, &inbox.fresh)?;
        for id in &inbox.gone {
            if let Err(why) = self.hear_gone(*id) {
                self.reject(*id, &format!("its file was removed, but {why}"));
            }
            self.show(*id)?;
        }
        for id in &inbox.archived {
            let archive = Command::ArchiveTasks {
                tasks: vec![*id],
                archived: true,
            };
            if let Err(error) = self.execute(archive) {
                self.reject(*id, &error.to_string());
            }
            self.show(*id)?;
        }
        for (id, why) in &inbox.broken {
            self.reject(*id, why);
            self.show(*id)?;
        }
        Ok(())
    }

    fn reject(&self, id: TaskId, why: &str) {
        self.out.warn(format_args!(
            "{id}.json was changed by another program, and is put right: {why}"
        ));
    }

    fn show(&self, id: TaskId) -> Result<(), Error> {
        self.folders
            .show(self.root_path(), id, true)
            .map(drop)
            .map_err(of)
    }

    fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        match self.store.read(&Query::Task { id }) {
            Ok(View::Task { details }) => Ok(Some(details.view.task)),
            Ok(other) => Err(unexpected(&other)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Carries out what a changed file asks for, or says why that cannot be.
    fn hear_edit(&self, project: ProjectId, edit: &Edit) -> Result<(), String> {
        let text = |error: Error| error.to_string();
        let (before, after) = (&edit.before, &edit.after);
        let Some(task) = self.task(after.id).map_err(text)? else {
            return Ok(());
        };
        if before.status != after.status && Word::from(task.status()) != after.status {
            self.hear_status(project, &task, after)?;
        }
        if let (Some(old), Some(new)) = (before.timeout, after.timeout)
            && new > old
        {
            let extend = Command::SetTimeout {
                task: task.id,
                extend_seconds: new - old,
            };
            self.execute(extend).map_err(text)?;
        } else if before.timeout != after.timeout {
            return Err("a time limit can only be extended".to_owned());
        }
        let fixed = [
            ("prompt", before.prompt != after.prompt),
            ("agent", before.agent != after.agent),
            ("priority", before.priority != after.priority),
            ("maxRetries", before.retries_max != after.retries_max),
            ("autoRetry", before.auto_retry != after.auto_retry),
            (
                "dependsOn",
                before.depends_on != after.depends_on && !after.depends_on.is_empty(),
            ),
        ];
        match fixed.iter().find(|(_, changed)| *changed) {
            Some((key, _)) => Err(format!("`{key}` cannot be changed once a task exists")),
            None => Ok(()),
        }
    }

    fn hear_status(&self, project: ProjectId, task: &Task, after: &Document) -> Result<(), String> {
        let text = |error: Error| error.to_string();
        match (task.status(), after.status) {
            (TaskStatus::Pending | TaskStatus::Running, Word::Cancelled) => {
                self.cancel(task.id).map_err(text)
            }
            (TaskStatus::Pending, Word::Running) => match self.look_at(after).map_err(text)? {
                Running::Alive(process) => self
                    .adopt(project, task.id, &process)
                    .map(drop)
                    .map_err(text),
                Running::Ended(result) => self.adopt_ended(project, task.id, result).map_err(text),
                Running::Starting => Ok(()),
            },
            (TaskStatus::Pending, Word::Complete | Word::Failed) => match result_of(after) {
                Some(result) => self.adopt_ended(project, task.id, result).map_err(text),
                None => Ok(()),
            },
            (TaskStatus::Running, Word::Complete | Word::Failed) => self.hear_end(task, after),
            (now, _) => Err(format!("it is {}", now.as_str())),
        }
    }

    /// Only a process that another tool started is judged by another tool.
    fn hear_end(&self, task: &Task, after: &Document) -> Result<(), String> {
        let text = |error: Error| error.to_string();
        let Some(id) = task.sessions().last().copied() else {
            return Ok(());
        };
        let place = SessionPlace {
            root: self.root_path().to_owned(),
            task: task.id,
            session: id,
        };
        if !self.folders.is_foreign(&place) {
            return Err("its own runner says how it ends".to_owned());
        }
        let View::Session { session } = self.store.read(&Query::Session { id }).map_err(text)?
        else {
            return Ok(());
        };
        match result_of(after) {
            Some(result) => self.finish(&session, result).map_err(text),
            None => Ok(()),
        }
    }

    fn cancel(&self, task: TaskId) -> Result<(), Error> {
        let stop = Command::StopTask {
            task,
            reason: StopReason::Cancel,
        };
        let Done::Stopping {
            session: Some(session),
            ..
        } = self.execute(stop)?
        else {
            return Ok(());
        };
        let place = SessionPlace {
            root: self.root_path().to_owned(),
            task,
            session: session.id,
        };
        if self.folders.is_foreign(&place) {
            return self.finish(&session, StopReason::Cancel.result());
        }
        // A runner that does not answer hears of it with its next renewal.
        drop(self.runners.poke(session.id));
        Ok(())
    }

    fn hear_gone(&self, id: TaskId) -> Result<(), String> {
        let text = |error: Error| error.to_string();
        let Some(task) = self.task(id).map_err(text)? else {
            return Ok(());
        };
        match task.status() {
            _ if task.deleted_at.is_some() || task.archived_at.is_some() => Ok(()),
            TaskStatus::Running => Err("it is running: cancel it first".to_owned()),
            TaskStatus::Pending => {
                self.cancel(id).map_err(text)?;
                self.delete(id).map_err(text)
            }
            TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled => {
                self.delete(id).map_err(text)
            }
        }
    }

    fn delete(&self, id: TaskId) -> Result<(), Error> {
        self.execute(Command::DeleteTasks { tasks: vec![id] })
            .map(drop)
    }

    /// Takes over tasks that somebody else queued, ran or ended.
    fn hear_fresh(&self, project: ProjectId, fresh: &[Document]) -> Result<(), Error> {
        let mut tasks: Vec<ImportedTask> = Vec::new();
        let mut alive = Vec::new();
        for document in fresh {
            let mut waiting = document.clone();
            let mut state = None;
            if document.status == Word::Running {
                waiting.status = Word::Pending;
                match self.look_at(document)? {
                    Running::Alive(process) => alive.push((document.id, process)),
                    Running::Ended(result) => {
                        state = Some(state_of(result, self.clock.now().wall));
                    }
                    Running::Starting => continue,
                }
            }
            match imported(&waiting, &self.owner, self.folders.layout().base(), false) {
                Ok(task) => tasks.push(ImportedTask {
                    state: state.unwrap_or(task.state),
                    ..task
                }),
                Err(why) => self.refuse(document.id, &why.to_string()),
            }
        }
        for batch in tasks.chunks(IMPORT_BATCH_MAX) {
            self.take_over(project, batch)?;
        }
        for (id, process) in alive {
            if let Err(error) = self.adopt(project, id, &process) {
                self.refuse(id, &error.to_string());
            }
        }
        Ok(())
    }

    fn take_over(&self, project: ProjectId, batch: &[ImportedTask]) -> Result<(), Error> {
        let tasks = batch.to_vec();
        let import = Command::ImportTasks {
            project,
            tasks,
            keep_ids: true,
        };
        let Done::Imported {
            imported,
            known,
            refused,
        } = self.execute(import)?
        else {
            return Err(Error::corrupt("unexpected answer to an import"));
        };
        let here = imported.into_iter().map(|(_, id)| id).chain(known);
        let here: Vec<TaskId> = here.collect();
        self.folders
            .show_all(self.root_path(), &here, true)
            .map_err(of)?;
        for one in refused {
            self.refuse(one.source, &one.why);
        }
        Ok(())
    }

    fn refuse(&self, id: TaskId, why: &str) {
        self.out
            .warn(format_args!("{id}.json is not taken over: {why}"));
    }

    /// Ends sessions of other tools' processes whose sentinel files say so, and shows the
    /// processes of all.
    fn watch_foreign(&self, project: ProjectId) -> Result<(), Error> {
        let View::Sessions { sessions } = self.store.read(&Query::LiveSessions {
            project: Some(project),
        })?
        else {
            return Ok(());
        };
        for session in sessions {
            let place = SessionPlace {
                root: self.root_path().to_owned(),
                task: session.task,
                session: session.id,
            };
            if self.folders.is_foreign(&place) {
                let found = self
                    .folders
                    .sentinels(self.root_path(), session.task)
                    .map_err(of)?;
                let is_gone = session
                    .process
                    .as_ref()
                    .is_none_or(|process| !self.processes.is_alive(process));
                if found.ends_it() || is_gone {
                    self.finish(&session, found.outcome(self.clock.now().wall).result)?;
                }
            }
            self.folders
                .show(self.root_path(), session.task, false)
                .map_err(of)?;
        }
        Ok(())
    }

    /// Shows retries that have become due.
    fn reveal(&self) -> Result<(), Error> {
        let waiting = self.folders.waiting(self.root_path()).map_err(of)?;
        if waiting.is_empty() {
            return Ok(());
        }
        self.folders
            .show_all(self.root_path(), &waiting, false)
            .map_err(of)
    }

    /// Shows what changed without anybody showing it, and forgets that it was due. Says whether
    /// there may be more.
    fn carry_out_effects(&self) -> Result<bool, Error> {
        let View::Effects { effects } = self.store.read(&Query::Effects {
            after: None,
            limit: EFFECTS_AT_ONCE,
        })?
        else {
            return Ok(false);
        };
        if effects.is_empty() {
            return Ok(false);
        }
        let is_full = effects.len() == EFFECTS_AT_ONCE;
        let mut tasks = Vec::new();
        for effect in &effects {
            tasks.extend(self.task(effect.task)?);
        }
        self.folders
            .show_tasks(self.root_path(), &tasks)
            .map_err(of)?;
        let (root, name) = (self.root.clone(), self.name.clone());
        let command = Command::RegisterProject { root, name };
        self.store
            .execute(Request {
                meta: self.meta.clone(),
                done: effects,
                command,
            })
            .map(|_| is_full)
    }
}

fn unexpected(answer: &dyn std::fmt::Debug) -> Error {
    Error::corrupt(format!("unexpected answer {answer:?}"))
}
