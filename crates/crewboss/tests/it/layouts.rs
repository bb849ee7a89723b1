//! The Agent Orchestrator layout in place, in both of its folders.

mod clock;
mod crashes;
mod daemon;
mod disks;
mod endings;
mod errors;
mod examples;
mod failures;
mod graph;
mod interop;
mod many;
mod output;
mod processes;
mod protocol;
mod taking_over;
mod templates;
mod upkeep;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use testkit::poll::poll_until;

use crate::place::{Place, Ran};

/// Long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

const AGENTS: &str = r#"{"agents":{
 "coder":{"command":"sh","args":["-c","sleep 0.3; : > B/tasks/{taskId}.done"]},
 "sleeper":{"command":"sleep","args":["600"]},
 "stubborn":{"command":"sh","args":["-c","trap '' TERM; sleep 601 & wait; while :; do sleep 1; done"]},
 "err":{"command":"sh","args":["-c","printf '{\"error\":\"Network timeout\",\"details\":\"stack\",\"timestamp\":\"2025-12-01T10:30:00Z\"}' > B/tasks/{taskId}.error"]},
 "late7":{"command":"sh","args":["-c","sleep 2; exit 7"]},
 "ok0":{"command":"true","args":[]},
 "ok0-exit":{"command":"true","args":[],"completion":"exit-code"},
 "reader":{"command":"sh","args":["-c","cat >/dev/null; : > B/tasks/{taskId}.done"]},
 "flaky":{"command":"sh","args":["-c","n=$(cat n 2>/dev/null||echo 0); echo $((n+1))>n; if [ $n -ge 2 ]; then : > B/tasks/{taskId}.done; else echo Connection failed > B/tasks/{taskId}.error; fi"]},
 "echo":{"command":"printf","args":["[%s]\n","{prompt}"]},
 "told":{"command":"printf","args":["[%s]\n","{prompt}"],"promptTemplate":"{taskId}|{agent}|{{x}}|{userPrompt}"},
 "stray":{"command":"printf","args":["[%s]\n","{prompt}"],"promptTemplate":"a { b {nope}"}
}}"#;

/// A project that is worked on in one of the two folders.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) place: Place,
    pub(crate) base: &'static str,
    config: &'static str,
}

impl Queue {
    pub(crate) fn new(layout: &'static str) -> Self {
        let (base, config) = match layout {
            "gemini" => (".gemini/agents", ".opencode/agent-config.json"),
            _ => (".orchestra", ".orchestra-cli/agent-config.json"),
        };
        let mut place = Place::folder();
        place.set("CREWBOSS_LAYOUT", layout);
        place.set("TZ", "UTC");
        let file = place.project().join(config);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, AGENTS.replace("B/", &format!("{base}/"))).unwrap();
        Self {
            place,
            base,
            config,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.project().join(self.base).join(name)
    }

    pub(crate) fn sentinel(&self, id: &str, ending: &str) -> PathBuf {
        self.path(&format!("tasks/{id}.{ending}"))
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.place.run(args)
    }

    /// Lists one more agent that is a line of shell; `B/` is the layout's folder.
    pub(crate) fn agent(&self, name: &str, script: &str) {
        let script = script.replace("B/", &format!("{}/", self.base));
        self.list(
            name,
            serde_json::json!({ "command": "sh", "args": ["-c", script] }),
        );
    }

    /// Lists one more agent.
    pub(crate) fn list(&self, name: &str, entry: Value) {
        let file = self.place.project().join(self.config);
        let mut config = read_json(&file);
        config["agents"][name] = entry;
        fs::write(file, config.to_string()).unwrap();
    }

    /// A file at the top of the project.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.place.project().join(name)
    }

    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn message(&self, id: &str) -> String {
        let json = self.json(id);
        json["errorMessage"].as_str().unwrap_or_default().to_owned()
    }

    /// A time in the file of a task, in milliseconds.
    pub(crate) fn millis(&self, id: &str, key: &str) -> i64 {
        let json = self.json(id);
        let text = json[key].as_str().expect(key);
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    pub(crate) fn log(&self, id: &str) -> String {
        fs::read_to_string(self.path(&format!("logs/{id}.log"))).unwrap_or_default()
    }

    pub(crate) fn start(&self, args: &[&str]) -> String {
        self.place.start(args)
    }

    /// Queues and launches; answers the id.
    pub(crate) fn launch(&self, args: &[&str]) -> String {
        let id = self.start(args);
        let ran = self.run(&["run", &id]).ok();
        assert!(
            ran.out.contains(&format!("Started task {id} (PID: ")),
            "{ran:#?}"
        );
        id
    }

    pub(crate) fn json(&self, id: &str) -> Value {
        read_json(&self.path(&format!("tasks/{id}.json")))
    }

    pub(crate) fn word(&self, id: &str) -> String {
        self.json(id)["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the file of a task says this, with no command of ours in between.
    #[track_caller]
    pub(crate) fn until(&self, id: &str, word: &str) {
        let held = poll_until(PATIENCE, || self.word(id) == word);
        assert!(held, "{:#}", self.json(id));
    }

    pub(crate) fn pid(&self, id: &str) -> u64 {
        self.json(id)["pid"].as_u64().expect("a pid")
    }

    /// The ids of all task files, oldest first.
    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = fs::read_dir(self.path("tasks"))
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .filter(|name| name.starts_with("task_"))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// A task file as another tool would leave it.
    pub(crate) fn plant(&self, id: &str, more: &str) {
        let text = format!(
            "{{\"taskId\":\"{id}\",\"agent\":\"coder\",\"prompt\":\"planted\",\
             \"createdAt\":\"2025-12-01T00:00:00Z\",{more}}}"
        );
        fs::create_dir_all(self.path("tasks")).unwrap();
        fs::write(self.path(&format!("tasks/{id}.json")), text).unwrap();
    }

    /// The row of `status` for a task.
    pub(crate) fn row(&self, id: &str) -> String {
        let shown = self.run(&["status"]).ok().out;
        let names = [format!("| {id} |"), format!("| ↻ {id} |")];
        let is_of_task = |line: &&str| names.iter().any(|name| line.starts_with(name));
        shown
            .lines()
            .find(is_of_task)
            .unwrap_or_default()
            .to_owned()
    }
}

pub(crate) fn read_json(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

pub(crate) fn is_alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .next();
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Each of these in both folders.
macro_rules! in_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[test]
            fn gemini() {
                super::$name(&crate::layouts::Queue::new("gemini"));
            }

            #[test]
            fn orchestra() {
                super::$name(&crate::layouts::Queue::new("orchestra"));
            }
        }
    )*};
}
pub(crate) use in_both;
