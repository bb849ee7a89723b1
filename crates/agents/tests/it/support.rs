//! A project and a session's folder in a temporary directory.

use std::{fs, path::PathBuf};

use app::ports::agents::{AgentRequest, SentinelPaths};
use domain::agent::AgentConfig;
use tempfile::TempDir;

/// A temporary home, project, workspace and session.
pub(crate) struct Place {
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = TempDir::new().unwrap();
        for folder in ["home/.config", "project", "workspace", "session"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Self { root }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub(crate) fn write(&self, below: &str, content: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    pub(crate) fn request(&self, agent: &str, config: AgentConfig, prompt: &str) -> AgentRequest {
        let task = self.path("session");
        AgentRequest {
            task: "task_1795164511000".parse().unwrap(),
            session: "ses_7".parse().unwrap(),
            prompt: prompt.to_owned(),
            agent: agent.parse().unwrap(),
            config,
            workspace: self.path("workspace"),
            session_dir: self.path("session"),
            project_root: self.path("project"),
            plan_file: task.join("plan.md"),
            log_file: task.join("agent.log"),
            sentinels: SentinelPaths {
                done: "B/tasks/task_1795164511000.done".into(),
                error: "B/tasks/task_1795164511000.error".into(),
                cancelled: "B/tasks/task_1795164511000.cancelled".into(),
                timeout: "B/tasks/task_1795164511000.timeout".into(),
            },
            environment: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                (
                    "HOME".to_owned(),
                    self.path("home").to_string_lossy().into_owned(),
                ),
            ],
            continues: None,
        }
    }
}

pub(crate) fn value<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}
