//! Names to agents.

use agents::{Registry, Unlisted};
use app::ports::agents::{AgentSource, Agents};
use domain::agent::{AgentConfig, CompletionRule, DriverKind};

use crate::support::Place;

const FILE: &str = r#"{"agents":{
    "coder":{"command":"sh","args":["-c","sleep 0.3; : > B/tasks/{taskId}.done"],"description":"d"},
    "echo":{"command":"printf","args":["[%s]\n","{prompt}"],"completion":"exit-code","other":1},
    "auggie":{"command":"auggie","args":[],"promptTemplateFile":"p.txt","promptTemplate":"x"}}}"#;

#[test]
fn configuration_goes_before_files_and_files_before_opencode() {
    let place = Place::new();
    place.write("project/a.json", &format!("\u{feff}{FILE}"));
    place.write(
        "project/b.json",
        r#"{"agents":{"coder":{"command":"other"}}}"#,
    );
    place.write("project/broken.json", "{");
    let files = ["a.json", "b.json", "broken.json", "missing.json"];
    let files = files.map(|name| place.path("project").join(name));
    let configured = [(
        "echo".parse().unwrap(),
        AgentConfig::command("mine", vec![]),
    )]
    .into();
    let registry = Registry::new(configured, &files, Unlisted::Opencode);

    let echo = registry.resolve(&"echo".parse().unwrap());
    assert_eq!(
        (echo.config.command.as_deref(), echo.source),
        (Some("mine"), AgentSource::Config)
    );
    let coder = registry.resolve(&"coder".parse().unwrap());
    assert_eq!(coder.config.command.as_deref(), Some("sh"));
    assert_eq!(coder.config.completion_rule(), CompletionRule::Sentinel);
    assert_eq!(coder.source, AgentSource::File(files[0].clone()));
    let auggie = registry.resolve(&"auggie".parse().unwrap()).config;
    assert_eq!(auggie.prompt_template_file, Some("p.txt".into()));

    let foo = registry.resolve(&"foo".parse().unwrap());
    assert_eq!(
        (foo.config.driver, foo.config.agent.as_deref()),
        (DriverKind::Opencode, Some("foo"))
    );
    assert_eq!(foo.source, AgentSource::Unlisted);
    assert_eq!(
        registry.resolve(&"opencode".parse().unwrap()).config.agent,
        None
    );

    assert_eq!(registry.listed().len(), 3);
    assert_eq!(registry.warnings().len(), 2);
    assert!(
        registry.warnings()[0].contains("broken.json"),
        "{:?}",
        registry.warnings()
    );
}

#[test]
fn under_the_layout_an_unlisted_agent_is_its_documented_command_line() {
    let place = Place::new();
    let registry = Registry::new([].into(), &[], Unlisted::Layout);
    let agent = registry.resolve(&"foo".parse().unwrap());
    let driver = registry.driver(agent.config.driver);
    let command = driver
        .prepare(&place.request("foo", agent.config, "do {agent}"))
        .unwrap();
    assert_eq!(command.program, "opencode");
    let prompt = "Your Task ID is task_1795164511000. Task: do {agent}. \
                  Signal completion by creating B/tasks/task_1795164511000.done";
    assert_eq!(command.args, ["run", prompt, "--agent", "foo"]);
}

#[test]
fn tables_are_read_and_unknown_keys_refused() {
    let read = |text: &str| toml::from_str::<AgentConfig>(text);
    let table = r#"
        driver = "opencode"
        agent = "build"
        model = "openai/gpt"
        permission = "reject"
        deny = ["webfetch", "bash:git push*"]
        isolation = "full"
        env = ["MY_KEY"]
        env_set = { A = "b" }
        timeout = 600
        completion = "either"
        max_concurrent = 2
    "#;
    let config = read(table).unwrap();
    assert_eq!(config.validate("x"), Ok(()));
    assert_eq!(config.completion_rule(), CompletionRule::Either);
    let error = read("driver = \"command\"\ncommnad = \"x\"")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("commnad") && error.contains("line 2"),
        "{error}"
    );
    let error = read("driver = \"rocket\"").unwrap_err().to_string();
    assert!(
        error.contains("rocket") && error.contains("opencode"),
        "{error}"
    );
}
