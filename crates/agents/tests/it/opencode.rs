//! The `opencode` driver: command line, environment, and views of the user's folders.

use std::{fs, path::Path};

use agents::{CODER_AGENT, OpencodeDriver};
use app::ports::agents::{AgentCommand, AgentRequest, Conversation, Driver};
use domain::agent::{AgentConfig, CompletionRule, Isolation, PermissionMode};
use serde_json::Value;

use crate::support::{Place, value};

fn prepare(request: &AgentRequest) -> AgentCommand {
    OpencodeDriver.prepare(request).unwrap()
}

fn named(agent: &str) -> AgentConfig {
    AgentConfig {
        agent: Some(agent.to_owned()),
        ..AgentConfig::opencode()
    }
}

fn json(command: &AgentCommand, name: &str) -> Value {
    serde_json::from_str(value(&command.env, name).unwrap()).unwrap()
}

/// Every path below a folder with what it is, to see that nothing was touched.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let content = fs::read(entry.path()).unwrap_or_default();
            found.push(format!("{} {content:?}", entry.path().display()));
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_command_line_and_the_users_text() {
    let place = Place::new();
    let prompt = "--say \"hello\" {agent}\n";
    let config = AgentConfig {
        model: Some("p/m".to_owned()),
        args: vec!["--variant".to_owned(), "high".to_owned()],
        ..named("build")
    };
    let command = prepare(&place.request("b", config, prompt));
    assert_eq!(command.program, "opencode");
    assert_eq!(
        command.args.join(" "),
        "run --format json --print-logs --log-level ERROR --title task_1795164511000 \
         --agent build --model p/m --auto --variant high"
    );
    assert_eq!(command.stdin, prompt.as_bytes());
    assert_eq!(command.directory, place.path("workspace"));
    let sentinel = AgentConfig {
        completion: Some(CompletionRule::Sentinel),
        permission: Some(PermissionMode::Reject),
        ..AgentConfig::opencode()
    };
    let command = prepare(&place.request("plain", sentinel, "x"));
    assert!(
        command
            .stdin
            .starts_with(b"Your Task ID is task_1795164511000. Task: x. ")
    );
    assert!(!command.args.contains(&"--auto".to_owned()));
    assert!(
        !command.args.contains(&"--agent".to_owned()),
        "a table that names no agent"
    );
}

#[test]
fn the_users_folders_are_seen_and_not_touched() {
    let place = Place::new();
    let global = "home/.config/opencode";
    place.write(
        &format!("{global}/opencode.jsonc"),
        "{ // mine\n \"model\": \"openai/x\", }",
    );
    place.write(
        &format!("{global}/agent/rev.md"),
        "---\nmode: subagent\n---\nbody\n",
    );
    place.write(&format!("{global}/plugin/p.ts"), "export {}");
    place.write(
        &format!("{global}/package.json"),
        r#"{"dependencies":{"left":"1"}}"#,
    );
    place.write("home/.config/git/config", "[user]\n");
    place.write(
        "project/.opencode/agent/mine.md",
        "---\nmode: subagent\n---\nuntracked\n",
    );
    place.write("project/.opencode/agent/both.md", "in the project\n");
    place.write(
        "project/opencode.json",
        r#"{"instructions":["{file:./x}"],"agent":{"j":{}}}"#,
    );
    place.write("workspace/.opencode/agent/both.md", "in the workspace\n");
    let before: Vec<_> = ["home", "project", "workspace"]
        .map(|folder| tree(&place.path(folder)))
        .into();

    let command = prepare(&place.request("rev", named("rev"), "x"));

    let after: Vec<_> = ["home", "project", "workspace"]
        .map(|folder| tree(&place.path(folder)))
        .into();
    assert_eq!(before, after);
    let config = "session/opencode/config";
    assert_eq!(
        value(&command.env, "XDG_CONFIG_HOME"),
        place.path(config).to_str()
    );
    assert!(
        place
            .read(&format!("{config}/opencode/opencode.jsonc"))
            .contains("// mine")
    );
    assert_eq!(
        place.read(&format!("{config}/opencode/agent/rev.md")),
        "---\nmode: subagent\n---\nbody\n"
    );
    assert_eq!(place.read(&format!("{config}/git/config")), "[user]\n");
    let lock = place.read(&format!("{config}/opencode/package-lock.json"));
    assert!(
        lock.contains("@opencode-ai/plugin") && lock.contains("left"),
        "{lock}"
    );
    assert_eq!(
        command.warnings.len(),
        1,
        "plugins without packages: {:?}",
        command.warnings
    );

    let untracked = "session/opencode/untracked";
    assert_eq!(
        value(&command.env, "OPENCODE_CONFIG_DIR"),
        place.path(untracked).to_str()
    );
    assert!(
        place
            .read(&format!("{untracked}/agent/mine.md"))
            .contains("untracked")
    );
    assert!(
        !place.path(&format!("{untracked}/agent/both.md")).exists(),
        "the workspace has it"
    );
    let merged = place.read(&format!("{untracked}/opencode.json"));
    assert!(
        merged.contains(&format!("{{file:{}/./x}}", place.path("project").display())),
        "{merged}"
    );
    assert_eq!(
        json(&command, "OPENCODE_CONFIG_CONTENT")["agent"]["rev"]["mode"],
        "all"
    );
}

#[test]
fn every_known_agent_leads_and_no_unknown_one_is_made_up() {
    let place = Place::new();
    place.write(
        "project/.opencode/agent/mine.md",
        "---\nmode: subagent\n---\nx\n",
    );
    place.write(
        "project/.opencode/agents/lead.md",
        "---\nmode: primary\n---\nx\n",
    );
    place.write(
        "project/opencode.json",
        r#"{"agent":{"inline":{"mode":"subagent"}}}"#,
    );
    for (agent, mode) in [
        ("mine", Some("all")),
        ("lead", None),
        ("inline", Some("all")),
        ("general", Some("all")),
        ("build", None),
        ("coder", None),
    ] {
        let content = json(
            &prepare(&place.request("x", named(agent), "x")),
            "OPENCODE_CONFIG_CONTENT",
        );
        let settings = &content["agent"][agent];
        assert_eq!(settings["mode"].as_str(), mode, "{agent}");
        assert_eq!(
            settings["permission"]["external_directory"]["*"], "deny",
            "{agent}"
        );
    }
    let unknown = prepare(&place.request("x", named("nobody"), "x"));
    assert_eq!(json(&unknown, "OPENCODE_CONFIG_CONTENT").get("agent"), None);
    assert!(
        unknown.args.contains(&"nobody".to_owned()),
        "asked for, so that it is refused aloud"
    );
}

#[test]
fn coder_ships_unless_the_user_has_one() {
    let place = Place::new();
    prepare(&place.request("coder", AgentConfig::opencode(), "x"));
    let seeded = place.path("session/opencode/untracked/agent/coder.md");
    assert_eq!(fs::read_to_string(&seeded).unwrap(), CODER_AGENT);
    let place = Place::new();
    place.write(
        "home/.config/opencode/agents/coder.md",
        "---\nmode: primary\n---\nmine\n",
    );
    prepare(&place.request("coder", AgentConfig::opencode(), "x"));
    assert!(
        !place
            .path("session/opencode/untracked/agent/coder.md")
            .exists()
    );
}

#[test]
fn variables_that_configuration_and_provider_need_are_passed_and_masked() {
    let place = Place::new();
    place.write(
        "workspace/opencode.json",
        r#"{"model":"openai/x","provider":{"p":{"options":{"apiKey":"{env:P_KEY}"}},"q":{"options":{"apiKey":"literal-q"}}}}"#,
    );
    place.write(
        "home/.local/share/opencode/auth.json",
        r#"{"a":{"type":"api","key":"login-key"}}"#,
    );
    let mut request = place.request("build", named("build"), "x");
    for name in [
        "P_KEY",
        "OPENAI_API_KEY",
        "XAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        request
            .environment
            .push((name.to_owned(), format!("v-{name}")));
    }
    let command = prepare(&request);
    assert_eq!(value(&command.env, "P_KEY"), Some("v-P_KEY"));
    assert_eq!(
        value(&command.env, "OPENAI_API_KEY"),
        Some("v-OPENAI_API_KEY")
    );
    assert_eq!(value(&command.env, "XAI_API_KEY"), None);
    for secret in ["v-P_KEY", "v-OPENAI_API_KEY", "literal-q", "login-key"] {
        assert!(
            command.secrets.iter().any(|known| known == secret),
            "{secret}"
        );
    }
    place.write("workspace/opencode.json", "{}");
    let command = prepare(&request);
    assert_eq!(
        value(&command.env, "XAI_API_KEY"),
        Some("v-XAI_API_KEY"),
        "no model is chosen"
    );
    assert_eq!(value(&command.env, "AWS_SECRET_ACCESS_KEY"), None);
}

#[test]
fn permissions_are_ours_and_the_users_settings_stay() {
    let place = Place::new();
    let config = AgentConfig {
        deny: vec!["webfetch".to_owned(), "bash:git push*".to_owned()],
        ..AgentConfig::opencode()
    };
    let mut request = place.request("x", config, "x");
    for (name, text) in [
        (
            "OPENCODE_PERMISSION",
            r#"{"external_directory":"allow","bash":"allow"}"#,
        ),
        (
            "OPENCODE_CONFIG_CONTENT",
            r#"{"share":"auto","theme":"t", /* c */ }"#,
        ),
        ("OPENCODE_PID", "1"),
    ] {
        request.environment.push((name.to_owned(), text.to_owned()));
    }
    let command = prepare(&request);
    let session = place.path("session");
    assert_eq!(
        value(&command.env, "OPENCODE_PERMISSION").unwrap(),
        format!(
            "{{\"external_directory\":{{\"*\":\"deny\",\"{}/*\":\"allow\"}},\"doom_loop\":\"deny\",\
             \"webfetch\":\"deny\",\"bash\":{{\"*\":\"allow\",\"git push*\":\"deny\"}}}}",
            session.display()
        )
    );
    let content = json(&command, "OPENCODE_CONFIG_CONTENT");
    assert_eq!(
        (content["share"].as_str(), content["theme"].as_str()),
        (Some("disabled"), Some("t"))
    );
    assert_eq!(value(&command.env, "OPENCODE_PID"), None);
    assert_eq!(
        value(&command.env, "OPENCODE_DB"),
        session.join("opencode.db").to_str()
    );

    request
        .environment
        .push(("OPENCODE_CONFIG_CONTENT".to_owned(), "{bad".to_owned()));
    assert!(OpencodeDriver.prepare(&request).is_err());
}

#[test]
fn full_isolation_hides_the_user() {
    let place = Place::new();
    place.write(
        "home/.config/opencode/opencode.json",
        r#"{"model":"secret/model"}"#,
    );
    place.write(
        "home/.config/opencode/agent/rev.md",
        "---\nmode: subagent\n---\nx\n",
    );
    let config = AgentConfig {
        isolation: Some(Isolation::Full),
        env_set: [(
            "OPENCODE_CONFIG_CONTENT".to_owned(),
            r#"{"model":"s/m"}"#.to_owned(),
        )]
        .into(),
        ..named("build")
    };
    let mut request = place.request("build", config, "x");
    request
        .environment
        .push(("OPENCODE_CONFIG".to_owned(), "/elsewhere.json".to_owned()));
    let command = prepare(&request);
    let home = place.path("session/opencode/home");
    assert_eq!(value(&command.env, "HOME"), home.to_str());
    assert_eq!(
        value(&command.env, "XDG_CONFIG_HOME"),
        home.join(".config").to_str()
    );
    assert_eq!(value(&command.env, "OPENCODE_CONFIG"), None);
    assert_eq!(
        value(&command.env, "OPENCODE_DISABLE_MODELS_FETCH"),
        Some("1")
    );
    assert_eq!(json(&command, "OPENCODE_CONFIG_CONTENT")["model"], "s/m");
    assert!(!home.join(".config/opencode/agent").exists());
    assert!(home.join(".config/opencode/package-lock.json").exists());
}

#[test]
fn a_conversation_is_taken_over_and_moved() {
    let place = Place::new();
    place.write("earlier/none", "");
    let database = |name: &str| rusqlite::Connection::open(place.path(name)).unwrap();
    let earlier = database("earlier/opencode.db");
    earlier
        .execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE session (id TEXT, directory TEXT);
             INSERT INTO session VALUES ('ses_abc', '/gone'), ('ses_sub', '/gone'), ('ses_o', '/o')",
        )
        .unwrap();
    let mut request = place.request("build", named("build"), "go on");
    let mut from = |folder: &str| {
        request.continues = Some(Conversation {
            id: "ses_abc".to_owned(),
            session_dir: Some(place.path(folder)),
        });
        prepare(&request)
    };
    let command = from("earlier");
    assert!(command.args.join(" ").contains("--session ses_abc"));
    assert_eq!(command.warnings, Vec::<String>::new());
    let moved: Vec<String> = database("session/opencode.db")
        .prepare("SELECT directory FROM session ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let here = command.directory.display().to_string();
    assert_eq!(moved, [here.clone(), "/o".to_owned(), here]);

    // Where it cannot be had the agent begins a new one, and that is said.
    place.write("broken/opencode.db", "no database");
    let other = database("earlier/other.db");
    other
        .execute_batch("CREATE TABLE session (id TEXT)")
        .unwrap();
    fs::create_dir_all(place.path("changed")).unwrap();
    fs::rename(
        place.path("earlier/other.db"),
        place.path("changed/opencode.db"),
    )
    .unwrap();
    for folder in ["gone", "broken", "changed"] {
        let command = from(folder);
        assert!(!command.args.contains(&"--session".to_owned()), "{folder}");
        assert!(command.warnings[0].contains("ses_abc"), "{folder}");
        assert!(!place.path("session/opencode.db").exists(), "{folder}");
    }
}
