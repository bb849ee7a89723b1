//! The `command` driver: what a program is given.

use agents::CommandDriver;
use app::ports::agents::{AgentCommand, AgentRequest, Driver};
use domain::{
    agent::{AgentConfig, CompletionRule, PromptBy},
    failure::FailureReason,
};

use crate::support::{Place, value};

fn prepare(request: &AgentRequest) -> AgentCommand {
    CommandDriver.prepare(request).unwrap()
}

fn echo(args: &[&str]) -> AgentConfig {
    AgentConfig::command("echo", args.iter().map(|arg| (*arg).to_owned()).collect())
}

const DONE: &str = "B/tasks/task_1795164511000.done";

#[test]
fn the_users_text_arrives_as_it_is() {
    let place = Place::new();
    for prompt in [
        "literal {agent} $(id) \"q\" \\n",
        "--version",
        "-x",
        "{prompt}{taskId}",
        "a\nb\t",
    ] {
        let by_placeholder =
            prepare(&place.request("e", echo(&["[%s]", "{prompt}", "x={prompt}"]), prompt));
        assert_eq!(
            by_placeholder.args,
            ["[%s]".to_owned(), prompt.to_owned(), format!("x={prompt}")]
        );
        assert_eq!(
            prepare(&place.request("e", echo(&["-n"]), prompt)).args,
            ["-n", prompt]
        );
        let stdin = AgentConfig {
            prompt: Some(PromptBy::Stdin),
            ..echo(&["{taskId}"])
        };
        let by_stdin = prepare(&place.request("e", stdin, prompt));
        assert_eq!(by_stdin.args, ["task_1795164511000"]);
        assert_eq!(by_stdin.stdin, prompt.as_bytes());
        let file = AgentConfig {
            prompt: Some(PromptBy::File),
            ..echo(&["--in={promptFile}"])
        };
        let by_file = prepare(&place.request("e", file, prompt));
        let path = place.path("session/prompt.txt");
        assert_eq!(by_file.args, [format!("--in={}", path.display())]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), prompt);
    }
}

#[test]
fn what_cannot_be_an_argument_is_refused_with_the_remedy() {
    let place = Place::new();
    for prompt in ["x".repeat(128 * 1024), "a\0b".to_owned()] {
        let failure = CommandDriver
            .prepare(&place.request("e", echo(&["{prompt}"]), &prompt))
            .unwrap_err();
        assert_eq!(failure.reason, FailureReason::MissingConfig);
        assert!(
            failure.message.contains("prompt = \"stdin\""),
            "{}",
            failure.message
        );
        let stdin = AgentConfig {
            prompt: Some(PromptBy::Stdin),
            ..echo(&[])
        };
        assert_eq!(
            prepare(&place.request("e", stdin, &prompt)).stdin,
            prompt.as_bytes()
        );
    }
    let longest = "x".repeat(128 * 1024 - 1);
    assert_eq!(
        prepare(&place.request("e", echo(&["{prompt}"]), &longest)).args,
        [longest]
    );
    let joined = place.request("e", echo(&["--p={prompt}"]), &"x".repeat(128 * 1024 - 1));
    assert!(
        CommandDriver.prepare(&joined).is_err(),
        "the whole argument counts"
    );
}

#[test]
fn sentinels_are_told_in_the_basic_prompt() {
    let place = Place::new();
    for rule in [CompletionRule::Sentinel, CompletionRule::Either] {
        let config = AgentConfig {
            completion: Some(rule),
            ..echo(&[])
        };
        let command = prepare(&place.request("e", config, "Say {agent} hello."));
        let expected = format!(
            "Your Task ID is task_1795164511000. Task: Say {{agent}} hello.. Signal completion by creating {DONE}"
        );
        assert_eq!(command.args, [expected]);
    }
}

#[test]
fn a_template_replaces_the_basic_prompt_or_warns() {
    let place = Place::new();
    let good = "{agent}|{taskId}|{userPrompt}|{planFile}|{logFile}|{{x}}";
    place.write("project/t/good.txt", good);
    place.write("project/t/unknown.txt", "{nope}");
    place.write("project/t/stray.txt", "a { b");
    let run = |file: Option<&str>, text: Option<&str>| {
        let config = AgentConfig {
            completion: Some(CompletionRule::Sentinel),
            prompt_template_file: file.map(Into::into),
            prompt_template: text.map(str::to_owned),
            ..echo(&[])
        };
        let command = prepare(&place.request("e", config, "do {taskId}"));
        (command.args[0].clone(), command.warnings)
    };
    let session = place.path("session");
    let rendered = format!(
        "e|task_1795164511000|do {{taskId}}|{0}/plan.md|{0}/agent.log|{{x}}",
        session.display()
    );
    assert_eq!(
        run(Some("t/good.txt"), Some("not this")),
        (rendered.clone(), vec![])
    );
    assert_eq!(run(None, Some(good)), (rendered, vec![]));
    for (file, text) in [
        (Some("t/unknown.txt"), None),
        (Some("t/stray.txt"), None),
        (Some("t/missing.txt"), Some(good)),
        (None, Some("a } b")),
    ] {
        let (prompt, warnings) = run(file, text);
        assert!(prompt.starts_with("Your Task ID is "), "{prompt}");
        assert_eq!(warnings.len(), 1, "{file:?} {text:?}");
        assert!(
            warnings[0].contains("agent e: prompt template"),
            "{}",
            warnings[0]
        );
    }
}

#[test]
fn the_environment_is_an_allow_list_with_credentials_marked() {
    let place = Place::new();
    let config = AgentConfig {
        env: vec!["MY_TOKEN".to_owned()],
        env_set: [("MODE".to_owned(), "fast".to_owned())].into(),
        directory: Some("sub".into()),
        ..echo(&[])
    };
    let mut request = place.request("e", config, "x");
    for name in ["MY_TOKEN", "OTHER_TOKEN", "LANG"] {
        request
            .environment
            .push((name.to_owned(), format!("value of {name}")));
    }
    let command = prepare(&request);
    assert_eq!(value(&command.env, "MY_TOKEN"), Some("value of MY_TOKEN"));
    assert_eq!(value(&command.env, "OTHER_TOKEN"), None);
    assert_eq!(value(&command.env, "LANG"), Some("value of LANG"));
    assert_eq!(value(&command.env, "MODE"), Some("fast"));
    assert_eq!(
        value(&command.env, "CREWBOSS_TASK"),
        Some("task_1795164511000")
    );
    assert_eq!(command.secrets, ["value of MY_TOKEN"]);
    assert_eq!(command.directory, place.path("workspace/sub"));
    let shown = format!("{command:?}");
    assert!(!shown.contains("value of"), "{shown}");
}
