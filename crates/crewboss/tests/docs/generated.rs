//! Pages that are made from the program itself. They fail when they are stale; with `UPDATE_DOCS=1`
//! they are written anew (`cargo xtask codegen`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use api_types::ProblemCode;
use domain::{failure::FailureReason, states};
use testkit::poll::poll_until;

use crate::{
    commands,
    page::{Ground, Page},
    paths,
    stage::Stage,
};

/// The first line of every page that is made here.
const HEAD: &str =
    "<!-- Made by `cargo xtask codegen` from the program. Changes belong there. -->\n\n";

#[track_caller]
fn hold(name: &str, body: &str) {
    let path = paths::book().join("reference/generated").join(name);
    let text = format!("{HEAD}{}\n", body.trim_end());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/src/reference/generated/{name} is stale: run `cargo xtask codegen`"
    );
}

/// A source file of the repository.
fn source(path: &str) -> String {
    fs::read_to_string(paths::root().join(path)).unwrap()
}

/// The lines behind `start` up to the first that is `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let lines = text.lines().skip_while(|line| !line.starts_with(start));
    lines.skip(1).take_while(|line| *line != end).collect()
}

/// Doc comments with the line of code that each stands before.
fn documented<'a>(lines: &[&'a str]) -> Vec<(String, &'a str)> {
    let mut found = Vec::new();
    let mut doc = String::new();
    for line in lines.iter().map(|line| line.trim()) {
        if let Some(text) = line.strip_prefix("///") {
            doc = format!("{doc} {}", text.trim());
        } else if !line.starts_with("#[") && !line.is_empty() {
            found.push((std::mem::take(&mut doc).trim().to_owned(), line));
        }
    }
    found
}

#[test]
fn command_line() {
    let mut text = String::new();
    for verb in commands::all() {
        let name: Vec<&str> = ["crewboss"]
            .into_iter()
            .chain(verb.words.iter().map(String::as_str))
            .collect();
        let help = if verb.words.is_empty() {
            verb.help
        } else {
            without_global(&verb.help)
        };
        let depth = if name.len() > 2 { "###" } else { "##" };
        let _ = write!(
            text,
            "{depth} {}\n\n```text\n{}\n```\n\n",
            name.join(" "),
            help.trim_end()
        );
    }
    hold("cli.md", &text);
}

/// Help without the options that every verb has.
fn without_global(help: &str) -> String {
    let parts = help
        .split("\n\n")
        .filter(|part| !part.starts_with("Global options:"));
    parts.collect::<Vec<_>>().join("\n\n")
}

/// The rows that the program prints: key, default, meaning.
fn settings() -> Vec<[String; 3]> {
    let printed = commands::printed(&["config", "reference"]);
    let rows = printed.lines().skip(2).map(|row| {
        let mut cells = row.trim_matches('|').splitn(3, " | ").map(str::trim);
        [(); 3].map(|()| cells.next().unwrap_or_default().to_owned())
    });
    rows.collect()
}

#[test]
fn configuration() {
    let mut text = "| key | default | environment | meaning |\n|---|---|---|---|\n".to_owned();
    for [key, default, meaning] in settings() {
        let variable = key.trim_matches('`').replace('.', "_").to_ascii_uppercase();
        let default = if default.is_empty() {
            "not set".to_owned()
        } else {
            default
        };
        let _ = writeln!(
            text,
            "| {key} | {default} | `CREWBOSS_{variable}` | {meaning} |"
        );
    }
    hold("configuration.md", &text);
}

/// Limits that the Agent Orchestrator gives a number, and the key that holds each here.
const LIMITS: &[(&str, &str, &str)] = &[
    ("tasks at once, `run --parallel`", "3", "run.parallel"),
    (
        "tasks at once, `daemon --max-concurrent`",
        "3",
        "daemon.max_concurrent",
    ),
    ("`daemon --interval`", "5 s", "daemon.interval_seconds"),
    ("`maxRetries`", "3", "run.retries_max"),
    ("`autoRetry`", "false", "run.auto_retry"),
    (
        "wait before the first automatic retry",
        "2 s, doubled",
        "run.backoff_base_seconds",
    ),
    ("`timeout`", "none", "run.timeout_seconds"),
    ("`timeoutWarning`", "60 s", "run.timeout_warning_seconds"),
    (
        "TERM to KILL after a cancel",
        "3 s",
        "run.cancel_grace_seconds",
    ),
    (
        "TERM to KILL after a timeout",
        "5 s",
        "run.timeout_grace_seconds",
    ),
    ("`archive.enabled`", "false", "archive.enabled"),
    (
        "`archive.max_completed_age_days`",
        "7 days",
        "archive.max_completed_age_days",
    ),
    (
        "`archive.max_failed_age_days`",
        "14 days",
        "archive.max_failed_age_days",
    ),
    (
        "a file of `logs.jsonl`",
        "50 MB",
        "limits.history_file_bytes",
    ),
    (
        "time in a file of `logs.jsonl`",
        "24 h",
        "limits.history_file_hours",
    ),
    (
        "entries in a file of `logs.jsonl`",
        "60,000",
        "limits.history_file_entries",
    ),
    (
        "full files of `logs.jsonl`",
        "5",
        "limits.history_files_kept",
    ),
    (
        "`archive.max_queue_size`",
        "100, warned about",
        "limits.queue_max",
    ),
];

#[test]
fn limits() {
    let settings = settings();
    let mut text = "| limit | there | key | default |\n|---|---|---|---|\n".to_owned();
    for (limit, there, key) in LIMITS {
        let name = format!("`{key}`");
        let [_, default, _] = settings.iter().find(|row| row[0] == name).expect("a key");
        let default = if default.is_empty() {
            "not set"
        } else {
            default
        };
        let _ = writeln!(text, "| {limit} | {there} | {name} | {default} |");
    }
    hold("limits.md", &text);
}

#[test]
fn agent_and_gate_keys() {
    for (file, table, page) in [
        (
            "crates/domain/src/agent.rs",
            "pub struct AgentConfig {",
            "agent-keys.md",
        ),
        (
            "crates/domain/src/gate.rs",
            "pub struct GateSpec {",
            "gate-keys.md",
        ),
    ] {
        let source = source(file);
        let mut text = "| key | meaning |\n|---|---|\n".to_owned();
        for (meaning, field) in documented(&between(&source, table, "}")) {
            let key = field
                .trim_start_matches("pub ")
                .split(':')
                .next()
                .unwrap_or_default();
            let meaning = without_link(&meaning);
            let _ = writeln!(text, "| `{key}` | {meaning} |");
        }
        hold(page, &text);
    }
}

/// A doc comment without links that only its own documentation can follow.
fn without_link(text: &str) -> String {
    text.replace(" ([`PLACEHOLDERS`])", "")
        .replace("[`", "`")
        .replace("`]", "`")
}

#[test]
fn lives() {
    let mut text = String::new();
    for (title, diagram, table) in [
        ("Tasks", states::task_diagram(), states::task_table()),
        (
            "Sessions",
            states::session_diagram(),
            states::session_table(),
        ),
    ] {
        let _ = write!(text, "## {title}\n\n```mermaid\n{diagram}```\n\n{table}\n");
    }
    hold("states.md", &text);
}

#[test]
fn failure_reasons() {
    let source = source("crates/domain/src/failure.rs");
    let rows = documented(&between(&source, "reasons! {", "}"));
    assert_eq!(rows.len(), FailureReason::ALL.len());
    let mut text = "| reason | meaning | tried again by itself | conversation may be continued |\n\
                    |---|---|---|---|\n"
        .to_owned();
    for (reason, (meaning, row)) in FailureReason::ALL.iter().zip(rows) {
        assert!(row.contains(&format!("= \"{reason}\",")), "{row}");
        let yes = |is: bool| if is { "yes" } else { "no" };
        let (retry, resume) = (yes(reason.is_retryable()), yes(reason.is_resumable()));
        let _ = writeln!(text, "| `{reason}` | {meaning} | {retry} | {resume} |");
    }
    hold("failures.md", &text);
}

#[test]
fn exit_codes() {
    let page = commands::printed(&["man"]);
    let (_, section) = page.split_once(".SH \"EXIT STATUS\"\n").unwrap();
    let mut text = "| code | meaning |\n|---|---|\n".to_owned();
    for entry in section.split(".TP\n").skip(1) {
        let (code, meaning) = entry.split_once('\n').unwrap();
        let _ = writeln!(text, "| {code} | {} |", meaning.trim());
    }
    hold("exit-codes.md", &text);
}

/// A type of a document, as its source tells it.
struct Shape {
    name: String,
    meaning: String,
    /// Field, type and meaning.
    fields: Vec<[String; 3]>,
}

/// Every type of `api-types`, and the schemas by the types that have one.
fn shapes() -> (Vec<Shape>, BTreeMap<String, String>) {
    let (mut shapes, mut schemas) = (Vec::new(), BTreeMap::new());
    let folder = paths::root().join("crates/api-types/src");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for line in between(&text, "schemas! {", "}") {
            let (of, name) = line.trim().trim_end_matches(';').split_once(" = ").unwrap();
            schemas.insert(
                of.to_owned(),
                format!("crewboss.{}", name.trim_matches('"')),
            );
        }
        let lines: Vec<&str> = text.lines().collect();
        for (meaning, code) in documented(&lines) {
            let Some(name) = code
                .strip_prefix("pub struct ")
                .and_then(|rest| rest.strip_suffix(" {"))
            else {
                continue;
            };
            let fields =
                documented(&between(&text, code, "}"))
                    .into_iter()
                    .map(|(meaning, field)| {
                        let field = field.trim_start_matches("pub ").trim_end_matches(',');
                        let (name, kind) = field.split_once(": ").unwrap();
                        [name.to_owned(), kind.to_owned(), without_link(&meaning)]
                    });
            let fields = fields.collect();
            let meaning = without_link(&meaning);
            shapes.push(Shape {
                name: name.to_owned(),
                meaning,
                fields,
            });
        }
    }
    (shapes, schemas)
}

#[test]
fn json_documents() {
    let (shapes, schemas) = shapes();
    let known = |kind: &str| {
        let inside = |name: &&Shape| {
            kind.split(|c: char| !c.is_alphanumeric())
                .any(|word| word == name.name)
        };
        shapes.iter().find(inside).map(|shape| shape.name.clone())
    };
    let mut text = String::new();
    for with_schema in [true, false] {
        for shape in &shapes {
            let schema = schemas.get(&shape.name);
            if schema.is_some() != with_schema || shape.name.contains('<') {
                continue;
            }
            let title = schema.map_or_else(
                || shape.name.clone(),
                |schema| format!("`{schema}`: {}", shape.name),
            );
            let _ = write!(
                text,
                "## {title}\n\n{}\n\n| field | meaning |\n|---|---|\n",
                shape.meaning
            );
            for [field, kind, meaning] in &shape.fields {
                let of = known(kind).map_or_else(String::new, |of| format!(" ({of})"));
                let _ = writeln!(text, "| `{field}` | {meaning}{of} |");
            }
            text.push('\n');
        }
    }
    assert!(schemas.len() > 20, "{schemas:?}");
    text.push_str(&fields_of_a_finished_task());
    hold("json.md", &text);
}

#[test]
fn problems() {
    let source = source("crates/api-types/src/problem.rs");
    let rows = documented(&between(&source, "problems! {", "}"));
    assert_eq!(rows.len(), ProblemCode::ALL.len());
    let mut text =
        "| `code` | exit code | worth trying again | meaning |\n|---|---|---|---|\n".to_owned();
    for (code, (meaning, row)) in ProblemCode::ALL.iter().zip(rows) {
        assert!(row.contains(&format!("= \"{code}\",")), "{row}");
        let retry = if code.is_retryable() { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| `{code}` | {} | {retry} | {} |",
            code.exit_code(),
            without_link(&meaning)
        );
    }
    hold("problems.md", &text);
}

/// What looks like a key and is none: files, and a key of another system.
const NO_KEYS: &[&str] = &["daemon.lock", "daemon.sock", "archive.max_queue_size"];

#[test]
fn keys_in_the_running_text_exist() {
    let keys: Vec<String> = settings()
        .into_iter()
        .map(|[key, ..]| key.trim_matches('`').to_owned())
        .collect();
    let sections: BTreeSet<&str> = keys
        .iter()
        .filter_map(|key| key.split('.').next())
        .collect();
    for name in paths::pages() {
        for span in Page::parse(&name, &paths::read(&name)).spans {
            let key = span.split(' ').next().unwrap_or_default();
            let is_key = key.split_once('.').is_some_and(|(section, rest)| {
                sections.contains(section)
                    && rest.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            });
            let is_there = keys.iter().any(|known| known == key) || NO_KEYS.contains(&key);
            assert!(!is_key || is_there, "{name}: there is no key `{key}`");
        }
    }
}

/// The parts of a real `show --json` that are no types of their own.
fn fields_of_a_finished_task() -> String {
    let stage = Stage::new("http://127.0.0.1:9/v1", None);
    let place = stage.place("project1", Ground::Repository);
    let config =
        "[agents.shell]\ndriver = \"command\"\ncommand = \"sh\"\nargs = [\"-c\", \"{prompt}\"]\n";
    fs::create_dir(place.join(".crewboss")).unwrap();
    fs::write(place.join(".crewboss/config.toml"), config).unwrap();
    let run = |args: &[&str]| {
        let mut command = stage.command("crewboss");
        command
            .args(args)
            .current_dir(&place)
            .stdout(std::process::Stdio::piped());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{args:?}");
        output.stdout
    };
    run(&["start", "shell", "echo x >x.txt", "--key", "it"]);
    run(&["run", "--wait"]);
    let shown =
        || serde_json::from_slice::<serde_json::Value>(&run(&["show", "it", "--json"])).unwrap();
    assert!(poll_until(
        std::time::Duration::from_mins(1),
        || shown()["status"] == "completed"
    ));
    let shown = shown();
    let mut text = "## Inside a session\n\n".to_owned();
    for (title, value) in [
        ("`usage`", &shown["session"]["usage"]),
        ("`changes`, each", &shown["session"]["changes"][0]),
        ("`workspace`", &shown["session"]["workspace"]),
    ] {
        let names: BTreeSet<&String> = value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k)
            .collect();
        assert!(!names.is_empty(), "{title}: {shown:#}");
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "- {title}: {}", names.join(", "));
    }
    text
}

#[test]
fn nothing_else_is_generated() {
    let known = [
        "agent-keys.md",
        "cli.md",
        "configuration.md",
        "exit-codes.md",
        "failures.md",
        "gate-keys.md",
        "json.md",
        "limits.md",
        "problems.md",
        "states.md",
    ];
    for entry in fs::read_dir(paths::book().join("reference/generated")).unwrap() {
        let path = entry.unwrap().path();
        let name = Path::file_name(&path).unwrap().to_str().unwrap();
        assert!(known.contains(&name), "{name} is made by nothing");
    }
}
