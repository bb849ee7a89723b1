//! Another tool that works on the Agent Orchestrator layout: a small reader and writer of its
//! files, made from their description alone. It writes local times without an offset, knows no key
//! but its own, and drops those that it does not know.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

/// The keys that every task file has.
const KEYS: [&str; 22] = [
    "taskId",
    "status",
    "agent",
    "prompt",
    "planFile",
    "logFile",
    "createdAt",
    "startedAt",
    "completedAt",
    "timedOutAt",
    "retriedAt",
    "pid",
    "errorMessage",
    "retryCount",
    "maxRetries",
    "autoRetry",
    "retryHistory",
    "parentTaskId",
    "retriedBy",
    "priority",
    "timeout",
    "timeoutWarning",
];

/// The words that it knows.
const STATUSES: [&str; 5] = ["pending", "running", "complete", "failed", "cancelled"];

/// See the module.
#[derive(Debug, Clone)]
pub struct OrchestratorTool {
    project: PathBuf,
    base: String,
}

impl OrchestratorTool {
    /// The tool in a project; `base` is `.gemini/agents` or `.orchestra`. Times are UTC: run what
    /// it is to talk to under `TZ=UTC`.
    #[must_use]
    pub fn new(project: &Path, base: &str) -> Self {
        let tool = Self {
            project: project.to_owned(),
            base: base.to_owned(),
        };
        for folder in ["tasks", "plans", "logs"] {
            fs::create_dir_all(tool.base().join(folder)).expect("the layout's folders can be made");
        }
        tool
    }

    fn base(&self) -> PathBuf {
        self.project.join(&self.base)
    }

    fn file(&self, id: &str, ending: &str) -> PathBuf {
        self.base().join("tasks").join(format!("{id}.{ending}"))
    }

    /// Queues a task and answers its id.
    #[must_use]
    pub fn start(&self, agent: &str, prompt: &str) -> String {
        let mut millis = now().as_millis();
        while self.file(&format!("task_{millis}"), "json").exists() {
            millis += 1;
        }
        let id = format!("task_{millis}");
        let task = json!({
            "taskId": id, "status": "pending", "agent": agent, "prompt": prompt,
            "planFile": format!("{}/plans/{id}_plan.md", self.base),
            "logFile": format!("{}/logs/{id}.log", self.base),
            "createdAt": local_time(), "startedAt": null, "completedAt": null, "timedOutAt": null,
            "retriedAt": null, "pid": null, "errorMessage": null, "retryCount": 0,
            "maxRetries": 3, "autoRetry": false, "retryHistory": [], "parentTaskId": null,
            "retriedBy": null, "priority": 5, "timeout": null, "timeoutWarning": null,
        });
        self.save(&id, task.as_object().expect("it is an object"));
        id
    }

    /// Starts the process of a task: one line of shell.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "it is another tool, and starts what it runs"
    )]
    pub fn run(&self, id: &str, shell: &str) -> Child {
        let child = Command::new("sh")
            .args(["-c", shell])
            .current_dir(&self.project)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be started");
        let mut task = self.load(id).expect("the task can be read");
        task.insert("status".to_owned(), "running".into());
        task.insert("startedAt".to_owned(), local_time().into());
        task.insert("pid".to_owned(), child.id().into());
        self.save(id, &task);
        child
    }

    /// Settles running tasks by their sentinel files, and lists all: id and status.
    ///
    /// # Errors
    /// The first file that it could not read: it would have warned of it.
    pub fn status(&self) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        for id in self.ids() {
            let mut task = self.load(&id)?;
            if task["status"] == "running" {
                self.settle(&id, &mut task);
            }
            found.push((id, task["status"].as_str().unwrap_or_default().to_owned()));
        }
        Ok(found)
    }

    fn ids(&self) -> Vec<String> {
        let entries = fs::read_dir(self.base().join("tasks")).expect("the tasks can be listed");
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .filter(|id| id.starts_with("task_"))
            .collect();
        ids.sort_unstable();
        ids
    }

    fn settle(&self, id: &str, task: &mut Map<String, Value>) {
        let exists = |ending: &str| self.file(id, ending).exists();
        let word = if exists("done") {
            "complete"
        } else if exists("error") {
            let text = fs::read_to_string(self.file(id, "error")).unwrap_or_default();
            task.insert("errorMessage".to_owned(), text.trim().into());
            "failed"
        } else if exists("cancelled") {
            "cancelled"
        } else {
            return;
        };
        task.insert("status".to_owned(), word.into());
        task.insert("completedAt".to_owned(), local_time().into());
        self.save(id, task);
        for ending in ["done", "error"] {
            drop(fs::remove_file(self.file(id, ending)));
        }
    }

    /// A task file, strictly.
    fn load(&self, id: &str) -> Result<Map<String, Value>, String> {
        let text = fs::read_to_string(self.file(id, "json")).map_err(|error| error.to_string())?;
        let mut task: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| format!("{id}: {error}"))?;
        for key in KEYS {
            if !task.contains_key(key) {
                return Err(format!("{id}: `{key}` is missing"));
            }
        }
        let status = task["status"].as_str().unwrap_or_default();
        if !STATUSES.contains(&status) || !(task["pid"].is_null() || task["pid"].is_u64()) {
            return Err(format!("{id}: status {status}, pid {}", task["pid"]));
        }
        task.retain(|key, _| KEYS.contains(&key.as_str()));
        Ok(task)
    }

    fn save(&self, id: &str, task: &Map<String, Value>) {
        let text = serde_json::to_string_pretty(task).expect("it is plain");
        let temporary = self.file(id, "tmp");
        fs::write(&temporary, text).expect("the file can be written");
        fs::rename(temporary, self.file(id, "json")).expect("the file can be renamed");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is another tool, with a clock of its own"
)]
fn now() -> std::time::Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Microseconds, no offset.
fn local_time() -> String {
    let seconds = now().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, in years of 365.2425 days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    let (year, micros) = (era * 400 + year + carry, now().subsec_micros());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}")
}
