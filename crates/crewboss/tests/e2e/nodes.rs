//! Several nodes, each with a home and a clone of its own, on one store: work is shared, and what
//! happens to one of them loses nothing.

mod fleet;

use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::fleet::{Fleet, LEASE};
use crate::{arena::ended, census};

/// Notes the node and the session on which it runs, and when it is done; waits for a file.
const PATIENT: &str = "echo begun $NODE $CREWBOSS_TASK $$ >>$FLEET/log; until test -e $FLEET/go; do \
                       sleep 0.05; done; echo $NODE >mine.txt; echo ended $NODE $CREWBOSS_TASK >>$FLEET/log";

#[test]
fn two_nodes_share_the_work_and_push_what_they_finish() {
    share_the_work(&Fleet::new(2));
}

#[test]
fn on_a_server_two_nodes_share_the_work_and_push_what_they_finish() {
    if let Some(fleet) = Fleet::on_a_server(2) {
        share_the_work(&fleet);
    }
}

fn share_the_work(fleet: &Fleet) {
    let serving: Vec<_> = fleet
        .nodes
        .iter()
        .map(|node| node.serve(&["--capacity", "2"]))
        .collect();
    let ids: Vec<String> = (0..4).map(|_| fleet.nodes[0].start(PATIENT)).collect();
    fleet.until("two at work on each", || {
        ["n0", "n1"]
            .iter()
            .all(|name| fleet.count(&format!("begun {name}")) == 2)
    });
    let listed = fleet.nodes[1].json(&["node", "list"]);
    let nodes = listed["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{listed:#}");
    for node in nodes {
        assert_eq!(
            (&node["sessions"], &node["status"]),
            (&2.into(), &"ready".into())
        );
        assert_eq!(node["projects"].as_array().unwrap().len(), 1, "{listed:#}");
    }
    assert_eq!(nodes.iter().filter(|node| node["leads"] == true).count(), 1);
    fleet.go();
    for id in &ids {
        fleet.until_done(id);
        let shown = fleet.nodes[1].json(&["show", id]);
        let branch = shown["branch"].as_str().unwrap();
        let commit = shown["session"]["commit"].as_str().unwrap();
        assert_eq!(fleet.remote(&format!("refs/heads/{branch}")), commit);
    }
    // Each has the folder of its own sessions, and says of the others' where they are.
    let mut refused = 0;
    for id in &ids {
        let logs = fleet.nodes[0].run(&["logs", id]);
        if logs.code != Some(0) {
            assert!(logs.with(5).error().contains("on the node n1, not here"));
            refused += 1;
        }
    }
    assert_eq!(refused, 2);
    for child in serving {
        census::signal(child.id(), Signal::TERM);
        assert_eq!(ended(child).code, Some(0));
    }
    let left = fleet.nodes[0].json(&["node", "list", "--all"]);
    for node in left["nodes"].as_array().unwrap() {
        assert_eq!(node["status"], "left", "{left:#}");
    }
}

#[test]
fn what_a_killed_node_had_is_done_by_another() {
    take_over_from_a_killed_one(&Fleet::new(2));
}

#[test]
fn on_a_server_what_a_killed_node_had_is_done_by_another() {
    if let Some(fleet) = Fleet::on_a_server(2) {
        take_over_from_a_killed_one(&fleet);
    }
}

fn take_over_from_a_killed_one(fleet: &Fleet) {
    let mut first = fleet.nodes[0].serve(&["--capacity", "3"]);
    let ids: Vec<String> = (0..3).map(|_| fleet.nodes[0].start(PATIENT)).collect();
    fleet.until("all at work", || fleet.count("begun n0") == 3);
    let second = fleet.nodes[1].serve(&["--capacity", "3"]);
    let killed = Instant::now();
    fleet.nodes[0].kill_all();
    first.wait().unwrap();
    fleet.until("all at work on the other", || fleet.count("begun n1") == 3);
    let took = killed.elapsed();
    assert!(took <= LEASE + Duration::from_secs(4), "{took:?}");
    let lost = fleet.nodes[1].json(&["node", "show", "n0"]);
    assert_eq!(lost["status"], "lost", "{lost:#}");
    fleet.go();
    for id in &ids {
        fleet.until_done(id);
        let sessions = fleet.nodes[1].json(&["show", id])["sessions"].clone();
        let sessions = sessions.as_array().unwrap().clone();
        assert_eq!(sessions.len(), 2, "{sessions:#?}");
        assert_eq!(sessions[0]["status"], "orphaned");
        assert_ne!(sessions[0]["node"], sessions[1]["node"]);
    }
    assert_eq!(fleet.count("ended n0"), 0);
    // Back again, it looks after what it had left.
    let first = fleet.nodes[0].serve(&[]);
    fleet.until("it is back", || {
        fleet.nodes[1].json(&["node", "show", "n0"])["status"] == "ready"
    });
    fleet.until("its worktrees are gone", || fleet.nodes[0].worktrees() == 0);
    for child in [first, second] {
        census::signal(child.id(), Signal::TERM);
        assert_eq!(ended(child).code, Some(0));
    }
}

#[test]
fn a_node_that_wakes_up_too_late_changes_nothing_and_keeps_its_work() {
    wake_up_too_late(&Fleet::new(2));
}

#[test]
fn on_a_server_a_node_that_wakes_up_too_late_changes_nothing_and_keeps_its_work() {
    if let Some(fleet) = Fleet::on_a_server(2) {
        wake_up_too_late(&fleet);
    }
}

fn wake_up_too_late(fleet: &Fleet) {
    let first = fleet.nodes[0].serve(&["--capacity", "1"]);
    let script = format!("echo from $NODE >work.txt; {PATIENT}");
    let id = fleet.nodes[0].start(&script);
    fleet.until("it is at work", || fleet.count("begun n0") == 1);
    let second = fleet.nodes[1].serve(&["--capacity", "1"]);
    fleet.nodes[0].signal_all(Signal::STOP);
    fleet.until("it is at work on the other", || {
        fleet.count("begun n1") == 1
    });
    fleet.go();
    fleet.until_done(&id);
    let before = fleet.nodes[1].json(&["show", &id]);
    fleet.nodes[0].signal_all(Signal::CONT);
    let session = before["sessions"][0]["id"].as_str().unwrap().to_owned();
    let salvage = format!("refs/crewboss/salvage/{session}");
    fleet.until("its work is kept", || !fleet.remote(&salvage).is_empty());
    assert_eq!(fleet.show(&salvage, "work.txt"), "from n0");
    fleet.until("nothing of it is at work", || fleet.nodes[0].runners() == 0);
    let after = fleet.nodes[1].json(&["show", &id]);
    assert_eq!(after["status"], "completed");
    assert_eq!(after["branch"], before["branch"]);
    assert_eq!(after["session"], before["session"]);
    let branch = format!("refs/heads/{}", after["branch"].as_str().unwrap());
    assert_eq!(fleet.show(&branch, "mine.txt"), "n1");
    fleet.until("it is back", || {
        fleet.nodes[1].json(&["node", "show", "n0"])["status"] == "ready"
    });
    for child in [first, second] {
        census::signal(child.id(), Signal::TERM);
        assert_eq!(ended(child).code, Some(0));
    }
}

#[test]
fn a_node_is_told_to_take_no_more_and_to_go() {
    let fleet = Fleet::new(2);
    let serving = fleet.nodes[0].serve(&["--capacity", "2"]);
    fleet.nodes[1].run(&["node", "cordon", "n0"]).ok();
    let id = fleet.nodes[0].start(PATIENT);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fleet.nodes[0].status_of(&id), "pending");
    fleet.nodes[1].run(&["node", "uncordon", "n0"]).ok();
    fleet.until("it is at work", || fleet.count("begun n0") == 1);
    fleet.nodes[1].run(&["node", "drain", "n0"]).ok();
    let other = fleet.nodes[0].start(PATIENT);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(fleet.nodes[0].status_of(&other), "pending");
    fleet.go();
    let ended = ended(serving);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(fleet.nodes[0].status_of(&id), "completed");
    let node = fleet.nodes[1].json(&["node", "show", "n0"]);
    assert_eq!(node["status"], "left", "{node:#}");
    fleet.nodes[1].run(&["node", "show", "nobody"]).with(3);
    fleet.nodes[1].run(&["node", "drain", "n0"]).with(4);
}

#[test]
fn no_session_outlives_its_hard_limit_whatever_its_task_says() {
    let fleet = Fleet::new(1);
    let node = fleet.nodes[0].with("SESSION_TIMEOUT_SECONDS", "2");
    let serving = node.serve(&[]);
    let id = node.start_with("sleep 60", &["--timeout", "50"]);
    fleet.until("its time is up", || node.status_of(&id) == "failed");
    let shown = node.json(&["show", &id]);
    assert_eq!(shown["failure"]["reason"], "timeout", "{shown:#}");
    census::signal(serving.id(), Signal::TERM);
    assert_eq!(ended(serving).code, Some(0));
}

#[test]
fn a_name_that_is_taken_and_a_copied_home_are_refused() {
    let fleet = Fleet::new(2);
    let serving = fleet.nodes[0].serve(&[]);
    let taken = fleet.nodes[1].run(&["serve", "--name", "n0"]).with(4);
    assert!(taken.error().contains("n0 exists already"), "{taken:#?}");
    let wrong = fleet.nodes[1].run(&["serve", "--name", "a b"]).with(2);
    assert!(wrong.error().contains("node name"), "{wrong:#?}");
    fleet.nodes[0].run(&["serve"]).with(4);
    std::fs::write(fleet.nodes[1].home().join("node"), "x").unwrap();
    let broken = fleet.nodes[1].run(&["status"]).with(2);
    assert!(
        broken.error().contains("does not name a node"),
        "{broken:#?}"
    );
    census::signal(serving.id(), Signal::TERM);
    assert_eq!(ended(serving).code, Some(0));
}
