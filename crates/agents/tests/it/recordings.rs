//! Every recording of a real run, with the exit code it had, as report and transcript.

use std::{fmt::Write as _, fs, path::Path};

use agents::OpencodeDriver;
use app::ports::agents::{Driver, EntryBody, Stream};
use domain::process::Exit;

/// The runs that ended with another code than 0.
const EXIT_ONE: &[&str] = &[
    "401",
    "badconfig",
    "badmodel",
    "badmodel_logged",
    "badsession",
    "doom3",
    "doom_denied",
    "dropmid2",
    "malformed",
    "overflow",
    "rlforever",
];

fn brief(body: &EntryBody) -> String {
    let text = serde_json::to_string(body).unwrap();
    if text.chars().count() > 220 {
        let cut: String = text.chars().take(220).collect();
        format!("{cut}…")
    } else {
        text
    }
}

fn play(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opencode");
    let mut parser = OpencodeDriver.parser();
    let mut out = String::new();
    for (stream, kind) in [(Stream::Stderr, "stderr"), (Stream::Stdout, "jsonl")] {
        let Ok(text) = fs::read_to_string(folder.join(format!("run-{name}.{kind}"))) else {
            continue;
        };
        for line in text.lines() {
            let entries = parser.line(stream, line.as_bytes());
            assert_eq!(entries[0].raw.as_deref(), Some(line), "the line is kept");
            for entry in entries {
                writeln!(out, "{} {}", entry.turn, brief(&entry.body)).unwrap();
            }
        }
    }
    if let Some(failure) = parser.must_stop() {
        writeln!(out, "must stop: {}", failure.message).unwrap();
    }
    let report = parser.finish(Some(Exit::Code(i32::from(EXIT_ONE.contains(&name)))));
    writeln!(out, "{report:#?}").unwrap();
    out
}

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opencode");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            Some(
                name.strip_prefix("run-")?
                    .strip_suffix(".jsonl")?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_recording_has_its_report() {
    for name in names() {
        insta::with_settings!({ snapshot_suffix => name.clone() }, {
            insta::assert_snapshot!("recording", play(&name));
        });
    }
}

/// One line for each recording: the outcome table.
#[test]
fn outcomes() {
    let mut table = String::new();
    for name in names() {
        let text = play(&name);
        let finished = text.contains("Finished");
        let of = |key: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(key));
            line.map_or("", |line| line.trim())
                .trim_end_matches(',')
                .to_owned()
        };
        let outcome = if finished {
            "finished".to_owned()
        } else {
            format!("{} {}", of("reason:"), of("message:"))
        };
        let code = i32::from(EXIT_ONE.contains(&name.as_str()));
        writeln!(
            table,
            "{name} (exit {code}) | {outcome} | {}",
            of("tool_calls:")
        )
        .unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_killed_run_is_no_success_whatever_it_said_before() {
    let text = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/opencode/run-ok.jsonl"),
    )
    .unwrap();
    let mut parser = OpencodeDriver.parser();
    for line in text.lines() {
        parser.line(Stream::Stdout, line.as_bytes());
    }
    let report = parser.finish(Some(Exit::Signal(9)));
    let verdict = format!("{:?}", report.verdict);
    assert!(
        verdict.contains("ProcessKilled") && verdict.contains("SIGKILL (9)"),
        "{verdict}"
    );
}

#[test]
fn nonsense_is_kept_and_never_fatal() {
    let mut parser = OpencodeDriver.parser();
    for line in [
        &b"\xff\xfe"[..],
        b"",
        b"{}",
        b"[1]",
        b"{\"type\":\"future\"}",
        b"{\"type\":\"text\"}",
    ] {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let entries = parser.line(stream, line);
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].body, EntryBody::Raw { stream });
        }
    }
    let verdict = format!("{:?}", parser.finish(Some(Exit::Code(0))).verdict);
    assert!(verdict.contains("UnparseableOutput"), "{verdict}");
}
