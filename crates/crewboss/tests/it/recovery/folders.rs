//! Folders from the store.

use std::fs;

use super::{World, files, repair};

#[test]
fn folders_are_made_again_from_the_store_as_they_were() {
    let world = World::new();
    let before = world.digest();
    let (code, quiet) = repair(&world, &[]);
    assert_eq!(
        (code, quiet.checked, quiet.rows.len()),
        (0, 7, 0),
        "{quiet:#?}"
    );
    let there = files(&world);
    assert_eq!(there.len(), 7 * 2 + 3 + 1, "{:?}", there.keys());
    fs::remove_dir_all(world.place.project().join(".crewboss/tasks")).unwrap();
    fs::remove_file(world.place.project().join(".crewboss/project.jsonl")).unwrap();
    let (code, repaired) = repair(&world, &[]);
    assert_eq!((code, repaired.rows.len()), (0, 7), "{repaired:#?}");
    let done = repaired
        .rows
        .iter()
        .find(|row| row.task.unwrap().to_string() == world.done);
    let missing = &done.unwrap().missing;
    assert_eq!(missing.len(), 2, "{missing:?}");
    let again = files(&world);
    for (name, content) in &there {
        assert!(
            again.get(name) == Some(content),
            "{} differs",
            name.display()
        );
    }
    assert_eq!(again.len(), there.len());
    assert_eq!(world.digest(), before);
    assert!(
        world
            .place
            .project()
            .join(".crewboss/project.jsonl")
            .is_file()
    );
    let listed = world.place.run(&["decision", "list", "done"]).ok().out;
    assert!(
        listed.contains("use files") && listed.contains("no more"),
        "{listed}"
    );
}
