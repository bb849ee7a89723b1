//! Every documented command is run, in the order of its page, and does what the page shows.

use std::path::PathBuf;

use testkit::{
    requirements,
    scripted_model::{Scenario, ScriptedModel},
};

use crate::{
    page::{Page, is_shown},
    paths,
    stage::Stage,
};

/// What the model says to the prompts of the pages.
const SCENARIO: &str = include_str!("scenario.toml");

#[track_caller]
fn hold(name: &str) {
    let page = Page::parse(name, &paths::read(name));
    assert!(page.commands().next().is_some(), "{name} has no commands");
    let model = ScriptedModel::start(Scenario::from_toml(SCENARIO).unwrap()).unwrap();
    let opencode: Option<PathBuf> = if page.needs_opencode {
        let Some(found) = requirements::opencode() else {
            return;
        };
        Some(found)
    } else {
        None
    };
    let mut stage = Stage::new(&model.base_url(), opencode.as_deref());
    if page.needs_postgres {
        for name in ["ADDRESS", "EMPTY"] {
            let Some(address) = testkit::postgres::store() else {
                return;
            };
            stage.know(name, &address);
        }
    }
    let ran = stage.follow(&page);
    for (number, command) in page.commands().enumerate() {
        let place = format!("{}:{}: $ {}", command.page, command.line, command.text);
        let Some(ran) = ran.get(number) else {
            panic!("{place}\nwas not reached");
        };
        assert_eq!(
            ran.exit,
            Some(command.exit),
            "{place}\nprinted\n{}",
            ran.output
        );
        let lines: Vec<&str> = ran.output.lines().collect();
        let is_good = command.expected.is_empty() || is_shown(&command.expected, &lines);
        assert!(
            is_good,
            "{place}\nprinted\n{}\nthe page shows\n{}",
            ran.output,
            command.expected.join("\n")
        );
    }
}

macro_rules! pages {
    ($($test:ident: $page:literal;)*) => {
        $(#[test]
        fn $test() {
            hold($page);
        })*

        /// The pages whose commands are run.
        const HELD: &[&str] = &[$($page),*];
    };
}

pages! {
    readme: "README.md";
    first_task: "docs/src/guide/first-task.md";
    agents: "docs/src/guide/agents.md";
    opencode: "docs/src/guide/opencode.md";
    workspaces: "docs/src/guide/workspaces.md";
    checkpoints: "docs/src/guide/checkpoints.md";
    gates: "docs/src/guide/gates.md";
    dependencies: "docs/src/guide/dependencies.md";
    daemon: "docs/src/guide/daemon.md";
    nodes: "docs/src/guide/nodes.md";
    limits: "docs/src/guide/limits.md";
    external: "docs/src/guide/external.md";
    locks: "docs/src/guide/locks.md";
    sharing: "docs/src/guide/sharing.md";
    layouts: "docs/src/guide/layouts.md";
    cleaning: "docs/src/guide/cleaning.md";
    audit: "docs/src/guide/audit.md";
    history: "docs/src/guide/history.md";
    store: "docs/src/guide/store.md";
    postgresql: "docs/src/guide/postgresql.md";
    recovery: "docs/src/guide/recovery.md";
    configuration: "docs/src/reference/configuration.md";
    files: "docs/src/reference/files.md";
    json: "docs/src/reference/json.md";
    other_names: "docs/src/reference/other-names.md";
    troubleshooting: "docs/src/troubleshooting.md";
}

#[test]
fn every_page_with_commands_is_held() {
    for name in paths::pages() {
        let page = Page::parse(&name, &paths::read(&name));
        let has_steps = !page.steps.is_empty();
        assert_eq!(
            has_steps,
            HELD.contains(&name.as_str()),
            "{name}: pages with commands are listed in this file, and no others"
        );
    }
}

/// What the pages show in blocks `sh`, and what holds it instead.
const RUN_ELSEWHERE: &[(&str, &str)] = &[
    (
        "cargo xtask demo",
        "a chore that builds and installs; its own exit code is its test",
    ),
    (
        "cargo xtask model",
        "opens a shell; the demo starts its model in the same way",
    ),
    ("cargo xtask test", "runs this test"),
    ("cargo xtask codegen", "runs the generated pages' tests"),
    (
        "cargo install --path crates/crewboss",
        "would build a release into the user's home",
    ),
    (
        "mdbook serve docs",
        "needs mdbook, which nothing else here does",
    ),
];

#[test]
fn what_is_not_run_is_known() {
    for name in paths::pages() {
        for line in Page::parse(&name, &paths::read(&name)).unrun {
            let command = line.split('#').next().unwrap_or_default().trim();
            let known = RUN_ELSEWHERE.iter().any(|(known, _)| *known == command);
            assert!(
                known || command.is_empty(),
                "{name}: `{command}` is run by no test"
            );
        }
    }
    let chores = paths::read("xtask/src/main.rs");
    for (command, _) in RUN_ELSEWHERE {
        if let Some(chore) = command.strip_prefix("cargo xtask ") {
            let variant = format!("{}{}", chore[..1].to_uppercase(), &chore[1..]);
            assert!(
                chores.contains(&format!("    {variant}")),
                "no chore `{chore}`"
            );
        }
    }
}
