//! What `logs` and `attach` show of an agent that speaks a protocol.

use testkit::fake_agents::script;

use crate::place::Place;

const EVENTS: &str = r#"cat >/dev/null
sed "s#PWD#$PWD#" <<'END'
{"type":"step_start","sessionID":"ses_x","part":{}}
{"type":"text","sessionID":"ses_x","part":{"text":"I begin \u001b]0;title\u0007now."}}
{"type":"tool_use","sessionID":"ses_x","part":{"tool":"bash","callID":"1","state":{"status":"completed","input":{"command":"echo x > x.txt"},"output":"done","metadata":{}}}}
{"type":"tool_use","sessionID":"ses_x","part":{"tool":"read","callID":"2","state":{"status":"completed","input":{"filePath":"PWD/notes.txt"},"output":"a","metadata":{}}}}
{"type":"step_finish","sessionID":"ses_x","part":{"reason":"stop","cost":0.25,"tokens":{"input":7,"output":3,"reasoning":0,"cache":{"read":0,"write":0}}}}
END
echo x > x.txt
echo 'spoken on the side' >&2
"#;

fn place() -> (Place, String) {
    let place = Place::folder();
    let program = script(&place.home().join("programs"), "opencode", EVENTS);
    place.configure(&format!(
        "[agents.talker]\ndriver = \"opencode\"\ncommand = \"{}\"\nagent = \"build\"\n",
        program.display()
    ));
    let id = place.start(&["talker", "x"]);
    (place, id)
}

#[test]
fn a_protocol_is_put_in_words_and_kept_in_bytes() {
    let (place, id) = place();
    place.run(&["run", "--wait"]).ok();
    let words = place.run(&["logs", &id]).ok().out;
    for line in [
        "I begin \\u{1b}]0;title\\u{7}now.",
        "✓ bash echo x > x.txt: done",
        "✓ read notes.txt: a",
        "spoken on the side",
        "1 step: 10 tokens (7 in, 3 out, 0 reasoning, 0 cached), $0.2500",
    ] {
        assert!(words.lines().any(|said| said == line), "{line}: {words}");
    }
    assert!(!words.contains("step_start"), "{words}");
    let raw = place.run(&["logs", &id, "--raw"]).ok().out;
    assert!(raw.contains(r#"{"type":"step_start","#), "{raw}");
    let last = place.run(&["logs", &id, "-n", "1"]).ok().out;
    let count = last.lines().count();
    assert_eq!(count, 2, "a line, and what all steps used: {last}");
    let document = place.run(&["logs", &id, "--json"]).ok().json();
    let lines = document["lines"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.as_str().unwrap().starts_with('{')),
        "{document:#}"
    );
    let both = place.run(&["logs", &id, "--raw", "--transcript"]);
    assert_eq!(both.code, 2, "{both:#?}");
}

#[test]
fn whoever_follows_reads_the_same() {
    let (place, id) = place();
    let follower = place.command(["attach", &id]).spawn().unwrap();
    let bytes = place
        .command(["logs", &id, "--follow", "--raw"])
        .spawn()
        .unwrap();
    place.run(&["run", "--wait"]).ok();
    let words = follower.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert_eq!(words, place.run(&["logs", &id]).ok().out);
    assert!(words.contains("✓ bash echo"), "{words}");
    let bytes = bytes.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&bytes.stdout),
        place.run(&["logs", &id, "--raw"]).ok().out
    );
}

#[test]
fn a_plain_command_that_prints_json_is_shown_as_it_is() {
    let place = Place::folder();
    let line = r#"{"type":"text","sessionID":"s","part":{"text":"no protocol"}}"#;
    let id = place.start(&["echo", line]);
    place.run(&["run", "--wait"]).ok();
    assert_eq!(place.run(&["logs", &id]).ok().out, format!("[{line}]\n"));
}
