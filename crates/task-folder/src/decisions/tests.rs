use std::fs;

use domain::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn decision(text: &str) -> Decision {
    Decision {
        decision: text.to_owned(),
        agent: "coder".to_owned(),
        at: Some(Timestamp::from_millis(1_795_164_511_000)),
        ..Decision::default()
    }
}

fn parsed(text: &[u8]) -> (Vec<Decision>, Vec<String>) {
    let (decisions, findings) = parse::read(text).unwrap();
    let said = findings.iter().map(ToString::to_string).collect();
    (decisions, said)
}

fn file_of(decisions: &[Decision]) -> String {
    let texts = decisions.iter().map(|one| form::text(one).unwrap());
    std::iter::once(TITLE.to_owned())
        .chain(texts)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_form_is_as_documented() {
    let full = Decision {
        context: "Two writers.".to_owned(),
        alternatives: vec!["a file".to_owned(), "a server\n\n# big".to_owned()],
        reasoning: "First.\n\n## not a heading\nSecond.".to_owned(),
        metadata: json!({"ticket": "X-1"}).as_object().unwrap().clone(),
        ..decision("Use SQLite")
    };
    let text = form::text(&full).unwrap();
    assert_eq!(
        text,
        "## Use SQLite\n\n- Agent: coder\n- Time: 2026-11-20T08:48:31.000Z\n\
         - Metadata: {\"ticket\":\"X-1\"}\n\n### Context\n\nTwo writers.\n\n\
         ### Alternatives\n\n- a file\n- a server\n\n  # big\n\n\
         ### Reasoning\n\nFirst.\n\n\\## not a heading\nSecond.\n"
    );
    assert_eq!(parsed(text.as_bytes()), (vec![full], vec![]));
}

#[test]
fn what_a_hand_left_is_read_and_the_rest_is_said() {
    let text = "\u{feff}# Our decisions\r\n\r\nsome words\r\n##   One  \r\n- **Agent:** ann\r\n\
                * time: yesterday\r\n- Mood: fine\r\nloose\r\n\r\n\r\n### reasoning\r\n\r\n\r\n\
                Because.\r\n\r\n\r\nAnd.\r\n### Risks\r\nnone\r\n### Alternatives\r\n1. a\r\n\
                2. b\r\ntrailing\r\n## Two";
    let (decisions, said) = parsed(text.as_bytes());
    let names: Vec<_> = decisions.iter().map(|one| one.decision.as_str()).collect();
    assert_eq!(names, ["One", "Two"]);
    assert_eq!(decisions[0].agent, "ann");
    assert_eq!(decisions[0].reasoning, "Because.\n\n\nAnd.");
    assert_eq!(decisions[0].alternatives, ["a", "b"]);
    let at: Vec<_> = said
        .iter()
        .map(|said| said.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        at,
        [3, 6, 7, 8, 18, 23].map(|line| format!("decisions.md:{line}")),
        "{said:#?}"
    );
}

#[test]
fn bytes_that_are_no_text_spoil_one_line() {
    let (decisions, said) = parsed(b"## One\n\n- Agent: \xff\n\n## Two\n\n### Context\n\n\0\n");
    assert_eq!(decisions.len(), 2);
    assert_eq!(said, ["decisions.md:3: it is not UTF-8"]);
}

#[test]
fn adding_keeps_what_is_there_to_the_byte() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Dir::root(dir.path()).unwrap();
    let path = dir.path().join(FILE);
    add(&folder, &decision("one")).unwrap();
    let foreign = [&fs::read(&path).unwrap()[..], b"\xff\r\nno end"].concat();
    fs::write(&path, &foreign).unwrap();
    add(&folder, &decision("two")).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(&foreign));
    let (decisions, findings) = read(&folder).unwrap();
    assert_eq!(decisions, [decision("one"), decision("two")]);
    assert_eq!(findings.len(), 3, "{findings:#?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_link_is_not_followed() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let victim = outside.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join(FILE)).unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join(TEMPORARY)).unwrap();
    let folder = Dir::root(dir.path()).unwrap();
    add(&folder, &decision("one")).unwrap_err();
    read(&folder).unwrap_err();
    assert_eq!(fs::read_to_string(victim).unwrap(), "safe");
}

fn value() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "#",
        "##",
        "## x",
        "### Context",
        "\\",
        "\\#",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        " ",
        "\t",
        "- ",
        "-",
        "* a",
        "1. b",
        "  ",
        "&#13;",
        "&#",
        "&",
        ";",
        "```",
        "Agent: x",
        "\u{85}",
        "\0",
        "x",
        "\u{2028}",
        "\u{feff}",
        "é",
    ];
    let plain = proptest::string::string_regex("(?s).{0,24}").unwrap();
    let pieces = proptest::collection::vec(proptest::sample::select(PIECES), 0..12);
    prop_oneof![plain, pieces.prop_map(|pieces| pieces.concat())]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        value().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((value(), inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let fields = proptest::collection::vec((value(), json_value()), 0..3);
    let at = proptest::option::of(-60_000_000_000_000_i64..200_000_000_000_000);
    let alternatives = proptest::collection::vec(value(), 0..4);
    (value(), value(), at, value(), alternatives, value(), fields).prop_map(
        |(decision, agent, at, context, alternatives, reasoning, fields)| Decision {
            decision,
            agent,
            at: at.map(Timestamp::from_millis),
            context,
            alternatives,
            reasoning,
            metadata: fields.into_iter().collect::<Map<_, _>>(),
        },
    )
}

/// What an editor or a careless hand does to a text.
#[derive(Debug, Clone)]
enum Edit {
    Blank(usize),
    Crlf,
    Heading(usize),
    Text(usize),
    Trailing(String),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        any::<usize>().prop_map(Edit::Blank),
        Just(Edit::Crlf),
        any::<usize>().prop_map(Edit::Heading),
        any::<usize>().prop_map(Edit::Text),
        "[a-z \n]{0,20}".prop_map(Edit::Trailing),
    ]
}

fn edited(text: &str, edit: &Edit) -> String {
    let inserted = |at: usize, line: &str| {
        let mut lines: Vec<&str> = text.split('\n').collect();
        lines.insert(at % (lines.len() + 1), line);
        lines.join("\n")
    };
    match edit {
        Edit::Blank(at) => inserted(*at, ""),
        Edit::Crlf => text.replace('\n', "\r\n"),
        Edit::Heading(at) => inserted(*at, "### Risks"),
        Edit::Text(at) => inserted(*at, "some words"),
        Edit::Trailing(more) => format!("{text}{more}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn any_decisions_come_back(decisions in proptest::collection::vec(any_decision(), 0..4)) {
        let text = file_of(&decisions);
        prop_assert_eq!(parsed(text.as_bytes()), (decisions.clone(), vec![]));
        let crlf = text.replace('\n', "\r\n");
        prop_assert_eq!(parsed(crlf.as_bytes()), (decisions, vec![]));
    }

    #[test]
    fn no_edit_loses_a_decision(
        decisions in proptest::collection::vec(any_decision(), 1..4),
        edits in proptest::collection::vec(edit(), 1..4),
    ) {
        let mut text = file_of(&decisions);
        for edit in &edits {
            text = edited(&text, edit);
        }
        let (found, said) = parsed(text.as_bytes());
        let names = |all: &[Decision]| -> Vec<_> { all.iter().map(|one| one.decision.clone()).collect() };
        prop_assert_eq!(names(&found), names(&decisions));
        let risks = edits.iter().filter(|edit| matches!(edit, Edit::Heading(_))).count();
        let told = said.iter().filter(|said| said.contains("Risks") || said.contains("before the first")).count();
        prop_assert!(told >= risks, "{:?}", said);
    }

    #[test]
    fn no_bytes_stop_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (decisions, _) = parsed(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let headings = text.split('\n').filter(|line| *line == "##" || line.starts_with("## "));
        prop_assert!(decisions.len() >= headings.count());
    }
}
