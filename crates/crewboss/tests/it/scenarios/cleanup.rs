//! S11: a task is removed with everything that it had.

use crate::place::Place;

#[test]
fn s11_asked_first_and_then_all_is_gone() {
    let place = Place::repository();
    let id = place.start(&["line", "echo x >x.txt; touch ready; exec sleep 600"]);
    place.run(&["run", &id]).ok();
    place.until_at_work(&id);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    let workspace = shown["session"]["workspace"]["path"]
        .as_str()
        .unwrap()
        .to_owned();
    place.run(&["checkpoint", &id]).ok();
    for answer in ["n\n", "\n", "nonsense\n"] {
        let asked = place.feed(&["cleanup-task", &id], Some(answer)).ok();
        assert!(asked.err.contains("(y/N)"), "{asked:#?}");
        assert_eq!(place.status_of(&id), "running");
    }
    assert_eq!(place.run(&["cleanup-task", &id]).code, 2, "nobody answers");
    place.feed(&["cleanup-task", &id], Some("y\n")).ok();
    let pid = shown["pid"].as_u64().unwrap();
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(
        state.is_empty() || state.contains(") Z"),
        "cancelled first: {state}"
    );
    assert_eq!(place.run(&["list-tasks", "--json"]).ok().json()["total"], 0);
    assert_eq!(place.run(&["show", &id]).code, 3);
    assert!(!place.project().join(".crewboss/tasks").join(&id).exists());
    assert!(!std::path::Path::new(&workspace).exists());
    let references = place.repo().git(&[
        "for-each-ref",
        "--format=%(refname)",
        "refs/crewboss/checkpoints",
        "refs/heads/crewboss",
    ]);
    assert_eq!(references, "");
    assert!(!place.repo().git(&["worktree", "list"]).contains(&id));
    place.run(&["doctor", "--resources"]).ok();
    let second = place.start(&["writer", "x"]);
    place
        .run(&["cleanup-task", "--task", &second, "--force"])
        .ok();
    assert_eq!(place.run(&["cleanup-task", &second, "--force"]).code, 3);
    place.run(&["audit", "verify"]).ok();
}
