//! A command or a runner that dies at any named moment: whoever comes next brings the task to one
//! end.

use app::crash_points::CrashPoint;
use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both, is_alive};

in_both![
    dying_while_it_starts,
    dying_while_it_prepares,
    dying_while_it_settles,
    many_commands_on_one_task,
    many_starts_at_once,
];

/// Says so where two of it are alive at once.
const WORKER: &str = "exec 9>>alone; flock -n 9 || echo overlap >>worked; echo $$ >>pids; \
    echo begun >>worked; sleep 0.1; echo ended >>worked; : > B/tasks/{taskId}.done";

fn survives(queue: &Queue, point: CrashPoint) {
    queue.place.configure("[run]\nrequeues_max = 5\n");
    queue.agent("worker", WORKER);
    for name in ["worked", "pids"] {
        drop(std::fs::remove_file(queue.file(name)));
    }
    let id = queue.start(&["worker", "x"]);
    let mut command = queue.place.command(["run", &id]);
    command.env("CREWBOSS_CRASH_AT", point.as_str());
    command.output().unwrap();
    let ended = poll_until(PATIENCE, || {
        queue.run(&["status"]).ok();
        match queue.word(&id).as_str() {
            "pending" => drop(queue.run(&["run", &id])),
            "running" => {}
            word => {
                assert_eq!(word, "complete", "{point:?}: {:#}", queue.json(&id));
                return true;
            }
        }
        false
    });
    assert!(ended, "{point:?}: {:#}", queue.json(&id));
    let worked = queue.lines("worked");
    assert!(!worked.contains(&"overlap".to_owned()), "{point:?}");
    assert!(
        worked.contains(&"ended".to_owned()),
        "{point:?}: {worked:?}"
    );
    for pid in queue.lines("pids") {
        let pid = pid.parse().unwrap();
        assert!(poll_until(PATIENCE, || !is_alive(pid)), "{point:?}: {pid}");
    }
    queue.run(&["index", "verify"]).ok();
}

fn dying_while_it_starts(queue: &Queue) {
    use CrashPoint::{Begun, Claimed, RunnerStarted};
    for point in [Claimed, RunnerStarted, Begun] {
        survives(queue, point);
    }
}

fn dying_while_it_prepares(queue: &Queue) {
    use CrashPoint::{AgentStarted, Prepared, WorkspaceMade};
    for point in [WorkspaceMade, Prepared, AgentStarted] {
        survives(queue, point);
    }
}

fn dying_while_it_settles(queue: &Queue) {
    use CrashPoint::{AgentEnded, Cleared, Finished, OutcomeWritten, Published};
    for point in [AgentEnded, OutcomeWritten, Published, Cleared, Finished] {
        survives(queue, point);
    }
}

fn many_commands_on_one_task(queue: &Queue) {
    queue.agent("brief", "echo {taskId} >>began; : > B/tasks/{taskId}.done");
    for _ in 0..50 {
        let id = queue.start(&["brief", "x"]);
        let pair = [0, 1].map(|_| queue.place.command(["run"]).spawn().unwrap());
        let said = pair.map(|child| {
            let output = child.wait_with_output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        });
        let started = said.iter().filter(|said| said.contains("Started task"));
        assert_eq!(started.count(), 1, "{said:?}");
        queue.until(&id, "complete");
    }
    let mut began = queue.lines("began");
    assert_eq!(began.len(), 50);
    began.sort_unstable();
    assert_eq!(began, queue.ids());
}

fn many_starts_at_once(queue: &Queue) {
    let children: Vec<_> = (0..200)
        .map(|number| {
            let prompt = format!("number {number}");
            let mut command = queue.place.command(["start", "coder", &prompt]);
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let ids = queue.ids();
    assert_eq!(ids.len(), 200);
    let mut prompts: Vec<String> = ids
        .iter()
        .map(|id| queue.json(id)["prompt"].as_str().unwrap().to_owned())
        .collect();
    prompts.sort_unstable();
    prompts.dedup();
    assert_eq!(prompts.len(), 200);
    queue.run(&["index", "verify"]).ok();
}
