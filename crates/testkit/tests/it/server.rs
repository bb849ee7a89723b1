//! The scripted model on the wire.

use serde_json::{Value, json};
use testkit::scripted_model::{Answer, Scenario, ScriptedModel};

use crate::http::{chat, request};

const SYSTEM: (&str, &str) = ("system", "You are…\n  Working directory: /some/where\n");

fn model(toml: &str) -> ScriptedModel {
    ScriptedModel::start(Scenario::from_toml(toml).unwrap()).unwrap()
}

fn faulty(fault: &str) -> ScriptedModel {
    model(&format!(
        "[[scripts]]\nname='s'\nmatch='go'\n[[scripts.turns]]\n\
         text='a text that is long enough for several pieces'\nfaults=[{fault}]\n"
    ))
}

const WORK: &str = r#"
title = "A title"
record_bodies = true
[[scripts]]
name = "work"
match = ["write", "file"]
[[scripts.turns]]
text = "Now I write what you asked for: {{prompt}}"
reasoning = "A file."
usage = { prompt = 1000, cached = 200, completion = 50, reasoning = 7 }
tools = [{ name = "write", arguments = { filePath = "{{cwd}}/a.txt", content = "A\n" } }]
[[scripts.turns]]
text = "Done."
"#;

#[test]
fn models_are_listed() {
    let model = model(WORK);
    let answer = request(&model.base_url(), "GET", "/v1/models", "", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["data"][0]["id"], "scripted");
    assert_eq!(model.answered(Answer::Models), 1);
}

#[test]
fn a_turn_is_streamed_in_pieces_with_its_usage_last() {
    let model = model(WORK);
    let answer = chat(
        &model.base_url(),
        "ses_1",
        true,
        &[SYSTEM, ("user", "write a file")],
    );
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("text/event-stream"), "{}", answer.head);
    assert_eq!(
        answer.joined("/content"),
        "Now I write what you asked for: write a file"
    );
    assert_eq!(answer.joined("/reasoning_content"), "A file.");
    assert_eq!(answer.joined("/tool_calls/0/function/name"), "write");
    let arguments: Value =
        serde_json::from_str(&answer.joined("/tool_calls/0/function/arguments")).unwrap();
    assert_eq!(
        arguments,
        json!({"filePath": "/some/where/a.txt", "content": "A
"})
    );
    let events = answer.events();
    let [.., finish, usage] = events.as_slice() else {
        panic!("{answer:?}")
    };
    assert_eq!(finish["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(
        usage["usage"]["prompt_tokens_details"]["cached_tokens"],
        200
    );
    assert_eq!(usage["usage"]["total_tokens"], 1050);
    assert!(answer.body.contains("data: [DONE]") && answer.is_complete());
}

#[test]
fn a_turn_comes_whole_when_no_stream_is_asked_for() {
    let model = model(WORK);
    let messages = [
        SYSTEM,
        ("user", "write a file"),
        ("assistant", "…"),
        ("tool", "ok"),
    ];
    let first = chat(&model.base_url(), "", false, &messages[..2]).json();
    let call = &first["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "write");
    assert_eq!(
        first["usage"]["completion_tokens_details"]["reasoning_tokens"],
        7
    );
    let last = chat(&model.base_url(), "", false, &messages).json();
    assert_eq!(last["choices"][0]["message"]["content"], "Done.");
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    let requests = model.requests();
    let turns: Vec<_> = requests.iter().map(|request| request.turn).collect();
    assert_eq!(turns, [Some(0), Some(1)]);
    assert_eq!(requests[0].conversation, requests[1].conversation);
    assert_eq!(requests[0].directory.as_deref(), Some("/some/where"));
    assert_eq!(
        requests[1].body.as_ref().unwrap()["messages"][3]["content"],
        "ok"
    );
}

#[test]
fn what_cannot_be_answered_says_why_and_is_recorded() {
    let model = model(WORK);
    let url = model.base_url();
    let message = |messages: &[(&str, &str)]| {
        let answer = chat(&url, "", true, messages);
        assert_eq!(answer.status, 400);
        answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        message(&[("user", "sing")]),
        "no script matches the prompt \"sing\"; there are: \"work\" (match \"write\" and \"file\")"
    );
    let answered = ("assistant", "…");
    let over = message(&[("user", "write a file"), answered, answered]);
    assert_eq!(over, "script \"work\" has 2 turns, all played");
    assert!(message(&[("user", "write a file")]).contains("Working directory"));
    assert_eq!(request(&url, "GET", "/v1/nothing", "", "").status, 404);
    assert_eq!(
        request(&url, "GET", "/v1/chat/completions", "", "").status,
        405
    );
    assert_eq!(
        request(&url, "POST", "/v1/chat/completions", "", "{").status,
        400
    );
    assert_eq!(
        request(&url, "POST", "/v1/chat/completions", "", "{}").status,
        400
    );
    assert_eq!(model.answered(Answer::Unmatched), 1);
    assert_eq!(model.answered(Answer::PastEnd), 1);
    assert_eq!(model.answered(Answer::Refused), 4);
}

#[test]
fn a_title_is_answered_without_a_script() {
    let model = model(WORK);
    let body = json!({"model": "scripted-small", "messages": [
        {"role": "system", "content": "You are a title generator. Say nothing else."},
        {"role": "user", "content": "write a file"}]});
    let url = model.base_url();
    let answer = request(&url, "POST", "/v1/chat/completions", "", &body.to_string());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "A title");
    assert_eq!(model.answered(Answer::Title), 1);
    assert_eq!(model.calls_of("work"), 0);
}

#[test]
fn errors_strike_as_often_as_told_in_each_conversation() {
    let model = faulty("{kind='status',status=429,retry_after_s=2,times=2}");
    let url = model.base_url();
    for session in ["ses_1", "ses_2", ""] {
        let statuses: Vec<u16> = (0..4)
            .map(|_| chat(&url, session, true, &[SYSTEM, ("user", "go")]).status)
            .collect();
        assert_eq!(statuses, [429, 429, 200, 200], "{session}");
    }
    let again = [SYSTEM, ("user", "go"), ("assistant", "…"), ("user", "go")];
    let answer = chat(&url, "ses_1", true, &again);
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("retry-after: 2"), "{}", answer.head);
    assert_eq!(model.calls_of("s"), 13);
    assert_eq!(model.answered(Answer::Fault), 7);
}

#[test]
fn a_connection_is_dropped_before_or_in_the_middle() {
    for stream in [true, false] {
        let before = faulty("{kind='drop-before'}");
        let answer = chat(&before.base_url(), "", stream, &[("user", "go")]);
        assert_eq!((answer.status, answer.body.as_str()), (0, ""));
        assert_eq!(
            chat(&before.base_url(), "", stream, &[("user", "go")]).status,
            200
        );

        let middle = faulty("{kind='drop-mid-stream',times='always'}");
        for _ in 0..3 {
            let answer = chat(&middle.base_url(), "", stream, &[("user", "go")]);
            assert_eq!(answer.status, 200);
            assert!(
                !answer.body.is_empty() && !answer.is_complete(),
                "{answer:?}"
            );
        }
    }
}

#[test]
fn a_stream_is_malformed_or_ends_without_a_reason() {
    let malformed = faulty("{kind='malformed'}");
    let answer = chat(&malformed.base_url(), "", true, &[("user", "go")]);
    assert!(answer.body.contains("data: {\"choices\":[{\"delta\":\n") && answer.is_complete());
    let unfinished = faulty("{kind='unfinished'}");
    let answer = chat(&unfinished.base_url(), "", true, &[("user", "go")]);
    assert!(answer.is_complete() && answer.body.contains("[DONE]"));
    assert!(
        answer
            .events()
            .iter()
            .all(|event| event["choices"][0]["finish_reason"].is_null())
    );
}

#[test]
fn a_model_that_is_dropped_cuts_its_connections_and_frees_its_port() {
    let slow = model("[[scripts]]\nname='s'\nmatch='go'\nturns=[{text='x',delay_ms=600000}]\n");
    let url = slow.base_url();
    let waiting = {
        let url = url.clone();
        std::thread::spawn(move || chat(&url, "", true, &[("user", "go")]).status)
    };
    assert!(testkit::poll::poll_until(
        std::time::Duration::from_secs(10),
        || { slow.answered(Answer::Turn) == 1 }
    ));
    drop(slow);
    assert_eq!(waiting.join().unwrap(), 0);
    let port = url
        .trim_end_matches("/v1")
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let scenario = Scenario::from_toml(WORK).unwrap();
    assert_eq!(
        ScriptedModel::start_at(scenario, port).unwrap().base_url(),
        url
    );
}
