//! Reads the log of a campaign from its beginning and holds it against what must be true at every
//! entry.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::fleet::{Fleet, Scale, git};

/// What was seen on the way.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) events: usize,
    pub(super) sessions: usize,
    pub(super) orphaned: usize,
    /// The most sessions that were at work at any entry.
    pub(super) most: usize,
}

#[derive(Debug)]
struct Session {
    task: String,
    fence: u64,
    node: String,
    agent: String,
    end: Option<String>,
    commit: Option<String>,
}

#[derive(Debug, Default)]
struct Task {
    fence: u64,
    holder: Option<String>,
    /// The session whose outcome was accepted.
    completed_by: Option<String>,
    branch: Option<String>,
}

#[derive(Debug)]
struct History {
    scale: Scale,
    sessions: BTreeMap<String, Session>,
    tasks: BTreeMap<String, Task>,
    seen: Seen,
}

/// # Errors
/// The first thing that must not be, with its place in the log.
pub(super) fn check(fleet: &Fleet, tasks: &[String]) -> Result<Seen> {
    let sql = "SELECT position, stream_kind, stream_id, convert_from(header, 'UTF8'),
               convert_from(payload, 'UTF8') FROM crewboss.events ORDER BY position";
    let lines = fleet.ask(sql).context("the log cannot be read")?;
    let mut history = History {
        scale: fleet.scale,
        sessions: BTreeMap::new(),
        tasks: BTreeMap::new(),
        seen: Seen::default(),
    };
    for (next, line) in (1_u64..).zip(&lines) {
        let mut fields = line.splitn(5, '\t');
        let mut field = || fields.next().unwrap_or_default();
        let (position, kind, id) = (field(), field(), field());
        let header: Value = serde_json::from_str(field())?;
        let payload: Value = serde_json::from_str(field())?;
        ensure!(position.parse() == Ok(next), "entry {next} is missing");
        history
            .take(kind, id, &header, &payload)
            .with_context(|| format!("at entry {position}: {header} {payload}"))?;
    }
    history.seen.events = lines.len();
    history.end(fleet, tasks)?;
    Ok(history.seen)
}

impl History {
    fn take(&mut self, kind: &str, id: &str, header: &Value, payload: &Value) -> Result<()> {
        let name = header["type"].as_str().unwrap_or_default();
        let fence = header["fence"].as_str().and_then(|text| text.parse().ok());
        match kind {
            "1" => self.task(id, name, fence.unwrap_or(0), payload),
            "2" => self.session(id, name, fence.unwrap_or(0), payload),
            _ => Ok(()),
        }
    }

    fn task(&mut self, id: &str, name: &str, fence: u64, payload: &Value) -> Result<()> {
        let task = self.tasks.entry(id.to_owned()).or_default();
        ensure!(fence >= task.fence, "its fence went back");
        task.fence = fence;
        match name {
            "task.claimed" => {
                ensure!(
                    task.holder.is_none(),
                    "claimed while {:?} had it",
                    task.holder
                );
                ensure!(
                    task.completed_by.is_none(),
                    "claimed after it was completed"
                );
                let session = payload["session"].as_str().unwrap_or_default();
                task.holder = Some(session.trim_start_matches("ses_").to_owned());
            }
            "task.requeued" => {
                let holder = task.holder.take().context("nobody had it")?;
                let end = self.sessions.get(&holder).and_then(|of| of.end.as_deref());
                ensure!(
                    end == Some("orphaned"),
                    "its session had not ended: {end:?}"
                );
            }
            "task.completed" => {
                let holder = task.holder.take().context("completed by nobody")?;
                let of = self.sessions.get(&holder).context("an unknown session")?;
                ensure!(
                    of.end.as_deref() == Some("completed"),
                    "its session was not"
                );
                ensure!(of.fence == fence, "under another fence than its session's");
                ensure!(task.completed_by.is_none(), "completed twice");
                task.completed_by = Some(holder);
            }
            "task.failed" | "task.cancelled" => bail!("nobody wanted that"),
            _ => {}
        }
        Ok(())
    }

    fn session(&mut self, id: &str, name: &str, fence: u64, payload: &Value) -> Result<()> {
        if name == "session.created" {
            let said = &payload["session"];
            let text = |field: &str| said[field].as_str().unwrap_or_default().to_owned();
            let task = text("task").trim_start_matches("task_").to_owned();
            let other = self
                .sessions
                .values()
                .find(|of| of.task == task && of.end.is_none());
            ensure!(
                other.is_none(),
                "another session of its task is at work: {other:?}"
            );
            let session = Session {
                task,
                fence,
                node: text("node"),
                agent: text("agent"),
                end: None,
                commit: None,
            };
            ensure!(!session.node.is_empty(), "on no node");
            self.sessions.insert(id.to_owned(), session);
            self.seen.sessions += 1;
            return self.within_caps();
        }
        let session = self.sessions.get_mut(id).context("it was never made")?;
        ensure!(
            session.end.is_none(),
            "said after its end ({:?})",
            session.end
        );
        ensure!(session.fence == fence, "said under another fence");
        let task = self.tasks.get(&session.task).context("of no task")?;
        ensure!(task.fence == fence, "said under a fence that was void");
        match name {
            "session.orphaned" => {
                session.end = Some("orphaned".to_owned());
                self.seen.orphaned += 1;
            }
            "session.finished" => {
                let outcome = &payload["outcome"];
                let result = outcome["result"]["result"].as_str();
                session.end = Some(result.unwrap_or("unreadable").to_owned());
                session.commit = outcome["commit"].as_str().map(str::to_owned);
                let branch = outcome["branch"].as_str().map(str::to_owned);
                let task = session.task.clone();
                if let Some(task) = self.tasks.get_mut(&task) {
                    task.branch = branch;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn within_caps(&mut self) -> Result<()> {
        let live: Vec<&Session> = self
            .sessions
            .values()
            .filter(|session| session.end.is_none())
            .collect();
        self.seen.most = self.seen.most.max(live.len());
        let store_max = usize::try_from(self.scale.store_max.min(self.scale.project_max))?;
        ensure!(live.len() <= store_max, "{} at once", live.len());
        for (what, max) in [
            ("node", self.scale.capacity),
            ("agent", self.scale.agent_max),
        ] {
            let mut counted: BTreeMap<&str, u32> = BTreeMap::new();
            for session in &live {
                let of = if what == "node" {
                    &session.node
                } else {
                    &session.agent
                };
                *counted.entry(of).or_default() += 1;
            }
            let over = counted.iter().find(|(_, count)| **count > max);
            ensure!(over.is_none(), "more at once than the {what} may: {over:?}");
        }
        Ok(())
    }

    /// Every task is done, by work that is on the shared repository, and its agent did not begin
    /// again afterwards.
    fn end(&self, fleet: &Fleet, tasks: &[String]) -> Result<()> {
        let shared = fleet.folder.join("origin.git");
        let references = git(
            &shared,
            &["for-each-ref", "--format=%(refname) %(objectname)"],
        )?;
        let references: BTreeMap<&str, &str> = references
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        for id in tasks {
            let task = self.tasks.get(id).context("a task without a history")?;
            let by = task.completed_by.as_ref();
            let by = by.with_context(|| format!("task_{id} is not completed"))?;
            let session = &self.sessions[by];
            let branch = task.branch.as_ref().context("completed without a branch")?;
            let there = references.get(format!("refs/heads/{branch}").as_str());
            ensure!(
                there.map(|commit| (*commit).to_owned()) == session.commit,
                "{branch} is at {there:?} on the shared repository, and {:?} was accepted",
                session.commit
            );
        }
        let log = std::fs::read_to_string(fleet.folder.join("log.txt")).unwrap_or_default();
        for (number, line) in log.lines().enumerate() {
            let words: Vec<&str> = line.split(' ').collect();
            let ["start", task, session, _] = words.as_slice() else {
                continue;
            };
            let task = task.trim_start_matches("task_");
            let session = session.trim_start_matches("ses_");
            let known = self
                .sessions
                .get(session)
                .context("an agent of no session")?;
            ensure!(
                known.task == task,
                "line {}: an agent of another task",
                number + 1
            );
        }
        Ok(())
    }
}
