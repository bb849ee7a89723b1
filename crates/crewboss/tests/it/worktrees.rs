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
