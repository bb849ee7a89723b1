//! Work in a repository: on a branch of its own, until a person merges it.

use std::fs;

use crate::place::Place;

#[test]
fn work_is_on_a_branch_until_it_is_merged() {
    let place = Place::repository();
    let id = place.start(&["writer", "Greet the world"]);
    place.run(&["run", "--wait"]).ok();
    assert!(
        !place.project().join("result.txt").exists(),
        "the checkout is not touched"
    );
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(
        shown["branch"],
        format!("crewboss/{id}-greet-the-world"),
        "{shown:#}"
    );
    let stat = place.run(&["diff", &id, "--stat"]).ok();
    assert_eq!(stat.out, "A result.txt (+1 -0)\n1 file changed\n");
    assert!(
        place
            .run(&["diff", &id])
            .ok()
            .out
            .contains("+Greet the world")
    );
    let merge = place.run(&["merge", &id]).ok();
    assert!(merge.out.contains("into main"), "{merge:#?}");
    let result = fs::read_to_string(place.project().join("result.txt")).unwrap();
    assert_eq!(result, "Greet the world\n");
    assert!(place.run(&["merge", &id]).ok().out.contains("already"));
}

#[test]
fn a_dirty_target_is_refused_and_named() {
    let place = Place::repository();
    let id = place.start(&["writer", "x"]);
    place.run(&["run", "--wait"]).ok();
    place.repo().write("README.md", "changed meanwhile");
    let ran = place.run(&["merge", &id]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.err.contains("README.md"), "{ran:#?}");
}

/// What a failed attempt left is where the retry goes on, if that is wanted.
#[test]
fn a_retry_may_go_on_from_what_the_failed_attempt_left() {
    let place = Place::repository();
    let step =
        "test -e begun.txt && echo more >>begun.txt && exit 0; echo begun >begun.txt; exit 1";
    let id = place.start(&["line", step]);
    place.run(&["run", "--wait"]);
    let anew = place
        .run(&["retry", &id, "--continue", "--json"])
        .ok()
        .json();
    let next = anew["id"].as_str().unwrap().to_owned();
    assert!(anew["continues"]["commit"].is_string(), "{anew:#}");
    place.run(&["run", "--wait"]).ok();
    let shown = place.run(&["show", &next, "--json"]).ok().json();
    assert_eq!(shown["status"], "completed", "{shown:#}");
    let branch = shown["branch"].as_str().unwrap();
    let content = place.repo().git(&["show", &format!("{branch}:begun.txt")]);
    assert_eq!(content, "begun\nmore");
}

/// A new task takes over the finished work of another; one that nobody has worked on has none.
#[test]
fn a_new_task_may_go_on_from_finished_work() {
    let place = Place::repository();
    let id = place.start(&["writer", "First", "--key", "first"]);
    let early = place.run(&["start", "writer", "x", "--continue", "first"]);
    assert_eq!(early.code, 4, "{early:#?}");
    assert!(early.err.contains(&id), "{early:#?}");
    place.run(&["run", "--wait"]).ok();
    let more = place.start(&["line", "cat result.txt >copy.txt", "--continue", "first"]);
    place.run(&["run", "--wait"]).ok();
    let stat = place.run(&["diff", &more, "--stat"]).ok();
    assert_eq!(stat.out, "A copy.txt (+1 -0)\n1 file changed\n");
    place.run(&["merge", &more]).ok();
    for file in ["result.txt", "copy.txt"] {
        let text = fs::read_to_string(place.project().join(file)).unwrap();
        assert_eq!(text, "First\n", "{file}");
    }
}
