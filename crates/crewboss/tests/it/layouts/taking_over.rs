//! `import` with everything that a folder holds, and the files that lie beside it.

use std::{fs, path::Path};

use serde_json::Value;
use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both};

in_both![
    an_archive_is_taken_over_once,
    the_users_files_are_used_as_they_are,
    archiving_takes_only_the_layouts_files,
];

/// A project of our own, beside the queue.
struct Elsewhere<'a> {
    queue: &'a Queue,
    folder: std::path::PathBuf,
}

impl<'a> Elsewhere<'a> {
    fn new(queue: &'a Queue) -> Self {
        let folder = queue.place.home().join("elsewhere");
        fs::create_dir_all(&folder).unwrap();
        Self { queue, folder }
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = self.queue.place.command(args);
        command
            .env_remove("CREWBOSS_LAYOUT")
            .current_dir(&self.folder);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[args, &["--json"]].concat())).unwrap()
    }
}

/// Every file below a folder with its content, but what is ours.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            if path.ends_with(".crewboss") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort_unstable();
    found
}

fn an_archive_is_taken_over_once(queue: &Queue) {
    for folder in ["archive", "plans", "logs"] {
        fs::create_dir_all(queue.path(folder)).unwrap();
    }
    queue.plant(
        "task_1",
        "\"status\":\"failed\",\"errorMessage\":\"first\",\"retriedBy\":\"task_2\"",
    );
    queue.plant(
        "task_2",
        "\"status\":\"complete\",\"retryCount\":1,\"parentTaskId\":\"task_1\",\
         \"retryHistory\":[{\"attempt\":1,\"error\":\"first\",\"retriedFrom\":\"task_1\"}]",
    );
    queue.plant("task_3", "\"status\":\"complete\"");
    fs::write(queue.path("plans/task_2_plan.md"), "# the plan").unwrap();
    fs::write(queue.path("logs/task_2.log"), "what it said\n").unwrap();
    fs::write(queue.path("archive/task_3.log"), "old words\n").unwrap();
    fs::rename(
        queue.sentinel("task_3", "json"),
        queue.path("archive/task_3.json"),
    )
    .unwrap();
    let before = content(&queue.path(""));
    let here = Elsewhere::new(queue);
    let folder = queue.path("").display().to_string();
    let said = here.run(&["import", &folder]);
    assert!(
        said.starts_with("Imported 3 new task(s), 0 known"),
        "{said}"
    );
    for named in [folder.as_str(), queue.place.project().to_str().unwrap()] {
        let said = here.run(&["import", named]);
        assert!(
            said.starts_with("Imported 0 new task(s), 3 known"),
            "{said}"
        );
    }
    let archive = queue.path("archive").display().to_string();
    let said = here.run(&["import", &archive]);
    assert!(said.starts_with("Imported 0 new task(s)"), "{said}");
    assert_eq!(content(&queue.path("")), before, "nothing of it is changed");
    let listed = here.json(&["archive", "list"]);
    assert_eq!(listed["tasks"][0]["id"], "task_3", "{listed:#}");
    let retry = here.json(&["show", "task_2"]);
    let links: Vec<_> = retry["chain"].as_array().unwrap().iter().collect();
    assert_eq!(links.len(), 2, "{retry:#}");
    let failed = here.json(&["show", "task_1"]);
    assert_eq!(failed["failure"]["message"], "first", "{failed:#}");
    let logs = here.run(&["logs", "task_2"]);
    assert!(logs.contains("what it said"), "{logs}");
    let plan = here.folder.join(".crewboss/tasks/task_2/plan.md");
    assert_eq!(fs::read_to_string(plan).unwrap(), "# the plan");
    assert!(here.run(&["logs", "task_3"]).contains("old words"));
}

fn the_users_files_are_used_as_they_are(queue: &Queue) {
    let config = fs::read(queue.file(queue.config)).unwrap();
    for (file, text) in [
        (
            ".opencode/agent/reviewer.md",
            "---\ndescription: reviews\nmode: subagent\n---\nBe brief.\n",
        ),
        (
            ".opencode/command/agent-status.md",
            "---\ndescription: status\n---\ncrewboss status\n",
        ),
    ] {
        let file = queue.file(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let before = content(&queue.file(".opencode"));
    let id = queue.launch(&["coder", "x"]);
    queue.until(&id, "complete");
    // An agent that is only such a file is OpenCode's, in the folder where that finds it.
    let bin = queue.place.home().join("bin");
    let body =
        "cat .opencode/agent/reviewer.md >seen.new; echo \"$4\" >>seen.new; mv seen.new seen";
    testkit::fake_agents::script(&bin, "opencode", body);
    queue.start(&["reviewer", "y"]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut run = queue.place.command(["run"]);
    assert!(run.env("PATH", path).output().unwrap().status.success());
    assert!(poll_until(PATIENCE, || queue.file("seen").exists()));
    let seen = fs::read_to_string(queue.file("seen")).unwrap();
    assert!(seen.ends_with("Be brief.\nreviewer\n"), "{seen}");
    assert_eq!(content(&queue.file(".opencode")), before);
    assert_eq!(fs::read(queue.file(queue.config)).unwrap(), config);
}

fn archiving_takes_only_the_layouts_files(queue: &Queue) {
    let victim = queue.file("victim");
    fs::write(&victim, "safe").unwrap();
    queue.plant(
        "task_1",
        "\"status\":\"complete\",\"completedAt\":\"2025-12-01T00:00:05Z\",\
         \"planFile\":\"victim\",\"logFile\":\"../../victim\"",
    );
    queue.run(&["archive", "--force"]).ok();
    assert!(queue.ids().is_empty());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    queue.run(&["archive", "restore", "task_1"]).ok();
    assert_eq!(queue.ids(), ["task_1"]);
    assert_eq!(fs::read_to_string(victim).unwrap(), "safe");
}
