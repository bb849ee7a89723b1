//! Layers of configuration, and changing it.

use std::fs;

use crate::place::Place;

#[test]
fn each_layer_wins_over_the_one_before_and_is_named() {
    let mut place = Place::folder();
    let value = |place: &Place, args: &[&str]| {
        let args: Vec<&str> = args
            .iter()
            .chain(&["config", "get", "run.parallel", "--json"])
            .copied()
            .collect();
        let shown = place.run(&args).ok().json();
        (
            shown["value"].clone(),
            place.plain(shown["origin"].as_str().unwrap()),
        )
    };
    assert_eq!(value(&place, &[]), (3.into(), "default".to_owned()));
    place.configure("[run]\nparallel = 4\n");
    let (number, origin) = value(&place, &[]);
    assert_eq!(number, 4);
    assert!(
        origin.starts_with("HOME/config/crewboss/config.toml:"),
        "{origin}"
    );
    place.run(&["config", "set", "run.parallel", "5"]).ok();
    assert_eq!(
        value(&place, &[]),
        (5.into(), "PROJECT/.crewboss/config.toml:2".to_owned())
    );
    place.set("CREWBOSS_RUN_PARALLEL", "6");
    assert_eq!(
        value(&place, &[]),
        (6.into(), "environment CREWBOSS_RUN_PARALLEL".to_owned())
    );
    assert_eq!(
        value(&place, &["--config", "run.parallel=7"]),
        (7.into(), "flag".to_owned())
    );
}

#[test]
fn init_writes_a_commented_file_once() {
    let place = Place::folder();
    let ran = place.run(&["init"]).ok();
    assert!(ran.out.contains("Wrote "), "{ran:#?}");
    let config = place.project().join(".crewboss/config.toml");
    insta::assert_snapshot!("commented_config", fs::read_to_string(&config).unwrap());
    let ignore = fs::read_to_string(place.project().join(".crewboss/.gitignore")).unwrap();
    assert!(ignore.contains("!/config.toml"), "{ignore}");
    place
        .run(&["config", "set", "archive.enabled", "true"])
        .ok();
    let text = fs::read_to_string(&config).unwrap();
    assert!(
        text.contains("enabled = true") && text.contains("# Days after which"),
        "{text}"
    );
    assert!(place.run(&["init"]).ok().out.contains("Kept "));
    assert_eq!(
        fs::read_to_string(&config).unwrap(),
        text,
        "a second init changes nothing"
    );
}

#[test]
fn init_for_opencode_writes_its_commands_and_the_coder() {
    let place = Place::folder();
    place.run(&["init", "--opencode", "-y"]).ok();
    let commands = fs::read_dir(place.project().join(".opencode/command"))
        .unwrap()
        .count();
    assert_eq!(commands, 8);
    let coder = place.project().join(".opencode/agent/coder.md");
    fs::write(&coder, "mine").unwrap();
    let again = place.run(&["init", "--opencode", "-y"]).ok();
    assert!(again.err.contains("it is not ours"), "{again:#?}");
    assert_eq!(fs::read_to_string(&coder).unwrap(), "mine");
}

#[test]
fn the_reference_of_keys() {
    let place = Place::folder();
    insta::assert_snapshot!(
        "config_reference",
        place.run(&["config", "reference"]).ok().out
    );
}
