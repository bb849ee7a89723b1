//! Wrong requests: one error, the right code, and nothing touched that is not the layout's.

use std::fs;

use super::{Queue, in_both};

in_both![every_error_is_one, hostile_ids_open_nothing];

fn every_error_is_one(queue: &Queue) {
    let pending = queue.start(&["coder", "x"]);
    let done = queue.launch(&["coder", "y"]);
    queue.until(&done, "complete");
    let failed = queue.launch(&["err", "z", "--max-retries", "0"]);
    queue.until(&failed, "failed");
    let missing = "Error: Task task_1 not found";
    let (p, d, f) = (pending.as_str(), done.as_str(), failed.as_str());
    let depends = "Error: Dependency task task_1 not found";
    for (args, says) in [
        (&["cancel", "task_1"][..], missing),
        (&["retry", "task_1"], missing),
        (&["timeout", "task_1"], missing),
        (&["timeout", "extend", "task_1", "5"], missing),
        (&["run", "task_1"], missing),
        (&["deps", "show", "task_1"], missing),
        (&["archive", "restore", "task_1"], missing),
        (&["clean", "task_1"], missing),
        (&["start", "coder", "x", "--depends-on", "task_1"], depends),
        (&["cancel", d], "cannot be cancelled"),
        (&["retry", p], "is not in failed state (current: pending)."),
        (&["retry", f], "has reached max retries (0/0)"),
        (&["timeout", p], "is not running (current status: pending)."),
        (&["clean", "bogus"], "Error: Invalid filter type 'bogus'."),
        (
            &["config", "set", "bogus", "1"],
            "Error: Invalid key 'bogus'",
        ),
        (
            &["config", "set", "archive.enabled", "maybe"],
            "Error: Invalid boolean value",
        ),
        (
            &["config", "set", "archive.max_queue_size", "many"],
            "Error: Invalid integer value",
        ),
        (&["archive"], "Auto-archival is disabled."),
        (&["start", "coder", ""], "prompt"),
        (&["start", "coder", "x", "--priority", "11"], "1 to 10"),
        (&["daemon", "-c", "0"], "max-concurrent"),
        (&["import", "/nowhere"], "/nowhere"),
    ] {
        let ran = queue.run(args);
        assert_eq!(ran.code, 1, "{args:?}: {ran:#?}");
        assert!(ran.err.contains(says), "{says}: {ran:#?}");
        let errors = ran.err.lines().filter(|line| {
            let line = line.to_lowercase();
            !line.is_empty() && !line.starts_with("hint: ") && !line.starts_with("caused by: ")
        });
        let errors: Vec<&str> = errors
            .filter(|line| !line.starts_with("For more"))
            .collect();
        assert_eq!(errors.len(), 1, "{args:?}: {ran:#?}");
        assert!(errors[0].to_lowercase().starts_with("error: "), "{ran:#?}");
        assert!(!ran.err.contains("panicked") && !ran.err.contains("backtrace"));
        assert_eq!(ran.out, "", "{args:?}");
    }
    let unknown = queue.run(&["frobnicate"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
}

/// What a line of the trace opens, makes or removes.
fn path_of(line: &str) -> Option<&str> {
    line.split('"').nth(1)
}

fn hostile_ids_open_nothing(queue: &Queue) {
    if testkit::requirements::program("strace").is_none() {
        return;
    }
    queue.start(&["coder", "x"]);
    let root = queue.place.project().canonicalize().unwrap();
    let victim = root.join("victim.json");
    let outside = queue.place.home().join("victim.json");
    fs::create_dir_all(queue.path("tasks/task_")).unwrap();
    let long = "9".repeat(300);
    let task = "{\"taskId\":\"victim\",\"status\":\"complete\",\"agent\":\"a\",\"prompt\":\"p\"}";
    for file in [&victim, &outside] {
        fs::write(file, task).unwrap();
    }
    let up = "../".repeat(queue.base.split('/').count() + 1);
    for id in [
        format!("{up}victim"),
        format!("task_/../{up}victim"),
        "task_1\n".to_owned(),
        String::new(),
        format!("task_{long}"),
        outside.with_extension("").display().to_string(),
    ] {
        for verb in ["clean", "cancel", "retry", "timeout", "run", "show"] {
            let trace = queue.place.home().join("trace");
            let own = queue.place.command([verb, id.as_str()]);
            let mut command = std::process::Command::new("strace");
            command.args(["-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o"]);
            command
                .arg(&trace)
                .arg(own.get_program())
                .args(own.get_args());
            command.env_clear().current_dir(queue.place.project());
            for (name, value) in own.get_envs() {
                command.env(name, value.unwrap());
            }
            let output = command.output().unwrap();
            assert!(!output.status.success(), "{verb} {id:?}");
            let trace = fs::read_to_string(&trace).unwrap();
            assert!(trace.contains("openat("), "{trace}");
            for line in trace.lines().filter(|line| !line.contains("execve(")) {
                assert!(!line.contains("victim"), "{verb} {id:?}: {line}");
                let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "unlink", "rename", "mkdir"];
                let path = path_of(line).unwrap_or_default();
                let is_elsewhere = path.starts_with('/')
                    && !path.starts_with(root.join(queue.base).to_str().unwrap())
                    && !path.starts_with("/dev/")
                    && !path.starts_with("/proc/");
                if is_elsewhere && writes.iter().any(|word| line.contains(word)) {
                    let ours = path.contains("crewboss");
                    assert!(ours && !line.contains("unlink"), "{verb} {id:?}: {line}");
                }
            }
        }
    }
    assert!(victim.exists() && outside.exists());
}
