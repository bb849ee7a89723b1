//! What `doctor` says that a task would get.

use testkit::fake_agents::script;

use crate::place::{Place, Ran};

/// A place whose `PATH` has git and an `opencode` that only knows its version, or none.
fn place(has_opencode: bool) -> Place {
    let mut place = Place::repository();
    let programs = place.home().join("programs");
    script(&programs, "git", "exec /usr/bin/git \"$@\"");
    if has_opencode {
        script(&programs, "opencode", "echo 1.2.3");
    }
    let path = format!("{}:/bin", programs.display());
    let has_own = std::path::Path::new("/bin/opencode").exists();
    assert!(!has_own, "the system has an OpenCode of its own");
    place.set("PATH", &path);
    place
}

#[track_caller]
fn line<'a>(ran: &'a Ran, check: &str) -> &'a str {
    let is_it = |line: &&str| line.split_whitespace().nth(1) == Some(check);
    ran.out
        .lines()
        .find(is_it)
        .unwrap_or_else(|| panic!("{check}: {ran:#?}"))
}

#[test]
fn a_name_that_opencode_does_not_have_is_a_problem() {
    let place = place(true);
    let agents = place.project().join(".opencode/agent");
    std::fs::create_dir_all(&agents).unwrap();
    std::fs::write(agents.join("reviewer.md"), "---\nmode: subagent\n---\nx\n").unwrap();
    for (name, said) in [
        (
            "opencode",
            "OpenCode with the agent that it takes by itself",
        ),
        (
            "coder",
            "OpenCode with the agent coder that comes with Crewboss",
        ),
        ("build", "OpenCode's own agent build"),
        ("reviewer", "/.opencode/agent/reviewer.md"),
        ("writer", "configured: the command `sh`"),
    ] {
        let ran = place.run(&["doctor", "--agent", name]).ok();
        let agent = line(&ran, "agent");
        assert!(agent.contains(said) && agent.starts_with('✓'), "{agent}");
    }
    let ran = place.run(&["doctor", "--agent", "reviewr"]);
    let agent = line(&ran, "agent");
    assert_eq!(ran.code, 1);
    assert!(
        agent.ends_with(
            "reviewr: not known: would be run as OpenCode agent reviewr, which OpenCode does not have; \
             did you mean reviewer?"
        ),
        "{agent}"
    );
}

#[test]
fn without_opencode_only_what_needs_it_is_a_problem() {
    let place = place(false);
    let plain = place.run(&["doctor"]).ok();
    let absent = line(&plain, "opencode");
    assert!(
        absent.starts_with('⚠') && absent.contains("not installed"),
        "{absent}"
    );
    assert!(plain.out.contains("writer: configured"), "{plain:#?}");
    let named = place.run(&["doctor", "--agent", "coder"]);
    assert_eq!(named.code, 1, "{named:#?}");
    place.configure("[agents.careful]\ndriver = \"opencode\"\n");
    assert_eq!(place.run(&["doctor"]).code, 1);
    place.configure("[agents.gone]\ndriver = \"command\"\ncommand = \"no-such-program\"\n");
    let gone = place.run(&["doctor"]);
    assert!(
        gone.code == 1 && gone.out.contains("`no-such-program` is not installed"),
        "{gone:#?}"
    );
}

#[test]
fn a_missing_login_is_said_in_words() {
    let mut place = place(true);
    let plain = place.run(&["doctor"]).ok();
    let provider = line(&plain, "provider");
    assert!(
        provider.starts_with('⚠') && provider.contains("neither login nor key was found"),
        "{provider}"
    );
    let config = place.project().join("opencode.json");
    std::fs::write(&config, r#"{"model": "openai/gpt"}"#).unwrap();
    let lacking = place.run(&["doctor", "--agent", "build"]).ok();
    let provider = line(&lacking, "provider");
    assert!(
        provider.contains("model openai/gpt; neither login nor key for openai was found"),
        "{provider}"
    );
    place.set("OPENAI_API_KEY", "k");
    let served = place.run(&["doctor", "--agent", "build"]).ok();
    let provider = line(&served, "provider");
    assert!(
        provider.starts_with('✓') && provider.ends_with("keys: OPENAI_API_KEY"),
        "{provider}"
    );
}

#[test]
fn whose_name_commits_carry_is_said() {
    let place = place(true);
    let git = |args: &[&str]| {
        let status = std::process::Command::new("git")
            .args(args)
            .current_dir(place.project())
            .status();
        assert!(status.unwrap().success());
    };
    git(&["config", "user.name", "Me"]);
    git(&["config", "user.email", "me@example.org"]);
    let ran = place.run(&["doctor"]).ok();
    assert!(
        line(&ran, "author").ends_with("Me <me@example.org>"),
        "{ran:#?}"
    );
    git(&["config", "--unset", "user.name"]);
    git(&["config", "--unset", "user.email"]);
    let ran = place.run(&["doctor"]).ok();
    let author = line(&ran, "author");
    assert!(
        author.starts_with('⚠') && author.contains("committed as Crewboss <crewboss@localhost>"),
        "{author}"
    );
}
