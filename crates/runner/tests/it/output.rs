//! What is kept of an agent's output.

use std::fs;

use domain::{
    agent::CompletionRule::{ExitCode, Sentinel},
    task::TaskStatus,
};

use testkit::fake_agents;

use crate::bench::Bench;

#[test]
fn a_flood_is_rotated_and_cut_and_stops_nobody() {
    let mut bench = Bench::with_script(
        "i=0; while [ $i -lt 400 ]; do printf '%01000d\\n' $i; i=$((i+1)); done; echo end >&2",
        ExitCode,
    );
    bench.config.log.file_bytes = 50_000;
    bench.config.log.files_kept = 2;
    bench.config.log.total_bytes = 300_000;
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed);
    let folder = bench.folder(&ran.session);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    assert!(read("agent.log").contains("output was cut here"));
    assert!(read("agent.log.1").len() <= 51_001);
    assert!(read("agent.log.2").len() <= 51_001 && !read("agent.log.2").is_empty());
    assert_eq!(read("agent.log.3"), "");
}

#[test]
fn a_line_without_end_is_cut() {
    let mut bench = Bench::with_script(
        "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end",
        ExitCode,
    );
    bench.config.line_bytes_max = 100_000;
    let ran = bench.run(|_| {});
    let log = bench.log_text(&ran.session);
    assert!(log.len() < 110_000, "{}", log.len());
    assert!(log.contains(" bytes cut]\nend\n"));
}

#[test]
fn secrets_are_masked_before_they_are_written() {
    let mut bench = Bench::with_script(
        "echo \"token $TOKEN\"; echo own-password-1 >&2; echo sk-abcdefghij0123456789",
        ExitCode,
    );
    bench.config.secrets = vec!["own-password-1".to_owned(), "tok-3f9a17c2d8".to_owned()];
    let ran = bench.run(|_| {});
    let log = bench.log_text(&ran.session);
    assert!(log.contains("token ***\n"), "{log}");
    for secret in ["tok-3f9a17c2d8", "own-password-1", "sk-abcdefghij"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn what_a_sentinel_file_says_is_masked_in_the_outcome_and_the_store() {
    let mut bench = Bench::with_script(
        "printf '{\"error\":\"no login with own-password-1\",\"details\":\"own-password-1\"}' \
         >\"$CREWBOSS_ERROR_FILE\"",
        Sentinel,
    );
    bench.config.secrets = vec!["own-password-1".to_owned()];
    let ran = bench.run(|_| {});
    let failure = ran.task.failure().expect("a failure");
    assert_eq!(failure.message, "no login with ***");
    assert_eq!(failure.details.as_deref(), Some("***"));
    let written = fs::read_to_string(bench.folder(&ran.session).join("outcome.json"));
    assert!(!written.unwrap().contains("own-password-1"));
}

#[test]
fn the_prompt_arrives_byte_for_byte() {
    let prompt = "literal {agent} $(id) \"q\" \\n 'x' é\n-- second";
    let bench = Bench::with_script("printf '[%s]\\n' \"$1\"", ExitCode);
    let ran = bench.run(|task| prompt.clone_into(&mut task.prompt));
    assert!(
        bench
            .log_text(&ran.session)
            .contains(&format!("[{prompt}]\n"))
    );
}

#[test]
fn an_agent_knows_its_task_and_session() {
    let bench = Bench::with_script(
        "echo \"$CREWBOSS_TASK $CREWBOSS_SESSION $CREWBOSS_PROJECT\"",
        ExitCode,
    );
    let ran = bench.run(|_| {});
    let root = bench.config.project_root.display();
    let expected = format!("{} {} {root}\n", ran.task.id, ran.session.id);
    assert!(bench.log_text(&ran.session).contains(&expected));
}

/// The lines of a short `opencode run --format json` that says one thing and stops.
fn one_answer(text: &str) -> String {
    let part = |kind: &str, more: &str| {
        format!(r#"{{"id":"prt_1","messageID":"msg_1","sessionID":"ses_x","type":"{kind}"{more}}}"#)
    };
    let line = |kind: &str, part: &str| {
        format!(r#"{{"type":"{kind}","timestamp":1,"sessionID":"ses_x","part":{part}}}"#) + "\n"
    };
    let usage = r#","reason":"stop","cost":0.25,"tokens":{"input":10,"output":5,"reasoning":0,"cache":{"read":0,"write":0}}"#;
    [
        line("step_start", &part("step-start", "")),
        line(
            "text",
            &part(
                "text",
                &format!(r#","text":"{text}","time":{{"start":1,"end":2}}"#),
            ),
        ),
        line("step_finish", &part("step-finish", usage)),
    ]
    .concat()
}

#[test]
fn a_protocol_agent_has_a_transcript_without_secrets_and_must_do_something() {
    let mut bench = Bench::new();
    let answer = one_answer("the token is tok-3f9a17c2d8, so I did nothing");
    let fake = fake_agents::opencode(&bench.repo.beside("bin"), "1.18.33", &answer, 0);
    let path = fake.program.parent().unwrap().display().to_string();
    for (name, value) in &mut bench.config.environment {
        if name == "PATH" {
            *value = format!("{path}:{value}");
        }
    }
    bench.config.secrets = vec!["tok-3f9a17c2d8".to_owned()];
    let ran = bench.run(|task| task.agent = "opencode".parse().unwrap());
    assert_eq!(ran.failure().0, "no_effect", "{ran:?}");
    let outcome = ran.outcome();
    assert_eq!(outcome.agent_session.as_deref(), Some("ses_x"));
    assert_eq!(
        (outcome.usage.input, outcome.usage.cost_micro_usd),
        (10, 250_000)
    );
    let said = outcome.summary.as_deref().unwrap();
    assert_eq!(said, "the token is ***, so I did nothing");
    let folder = bench.folder(&ran.session);
    let transcript = fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
    assert!(transcript.contains("the token is ***, so"), "{transcript}");
    for text in [transcript, bench.log_text(&ran.session)] {
        assert!(!text.contains("tok-3f9a17c2d8"), "{text}");
    }
}
