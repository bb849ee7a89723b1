//! The program's verbs, as its help tells them.

use std::process::{Command, Stdio};

use crate::{page::Page, paths};

/// A verb and its help.
#[derive(Debug)]
pub(crate) struct Verb {
    /// Its words, without the program's name.
    pub(crate) words: Vec<String>,
    pub(crate) help: String,
}

/// What the program prints, without a home or a project.
pub(crate) fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_crewboss"))
        .args(args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program and every verb that its help lists, each before those below it.
pub(crate) fn all() -> Vec<Verb> {
    let mut found = Vec::new();
    add(&[], &mut found);
    found
}

fn add(words: &[String], found: &mut Vec<Verb>) {
    let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
    args.push("--help");
    let help = printed(&args);
    let below = listed(&help);
    found.push(Verb {
        words: words.to_owned(),
        help,
    });
    for name in below {
        let words: Vec<String> = words.iter().cloned().chain([name]).collect();
        add(&words, found);
    }
}

fn listed(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

/// What is wrong with a command line that a page mentions, as far as the help tells.
fn wrong(verbs: &[Verb], line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip(1).peekable();
    let mut verb = &verbs[0];
    while let Some(word) = words.peek() {
        let below = verbs.iter().find(|candidate| {
            candidate
                .words
                .split_last()
                .is_some_and(|(last, above)| last == word && above == verb.words)
        });
        let Some(below) = below else { break };
        verb = below;
        words.next();
    }
    let takes_more = verb.help.contains("Commands:");
    if let Some(word) = words.peek()
        && takes_more
        && !verb.help.contains("Arguments:")
        && !word.starts_with('-')
        && !word.chars().all(|c| c.is_ascii_uppercase())
    {
        return Some(format!("there is no verb `{word}`"));
    }
    words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(|word| word.split(['=', ',', '.']).next().unwrap_or_default())
        .find(|flag| !verb.help.contains(flag))
        .map(|flag| format!("`{}` has no option `{flag}`", verb.words.join(" ")))
}

#[test]
fn commands_in_the_running_text_exist() {
    let verbs = all();
    for name in paths::pages() {
        for span in Page::parse(&name, &paths::read(&name)).spans {
            if span.starts_with("crewboss ") {
                let problem = wrong(&verbs, &span);
                assert_eq!(problem, None, "{name}: `{span}`");
            }
        }
    }
    assert!(wrong(&verbs, "crewboss paint").is_some());
    assert!(wrong(&verbs, "crewboss run --backwards").is_some());
    assert!(wrong(&verbs, "crewboss timeout extend ID 5m").is_none());
}
