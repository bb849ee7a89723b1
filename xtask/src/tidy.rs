//! Rules that no compiler checks.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell;

/// Which crates of the workspace a crate may use. Tests may use what they like.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("app", &["domain"]),
    ("api-types", &["domain"]),
    ("store-memory", &["domain", "app"]),
    ("store-sqlite", &["domain", "app"]),
    ("store-postgres", &["domain", "app"]),
    ("audit-heads", &["domain", "app"]),
    ("archive", &["domain", "app"]),
    ("task-folder", &["domain", "app"]),
    ("layouts", &["domain", "app"]),
    ("lock-redis", &["domain", "app"]),
    ("runner", &["domain", "app"]),
    ("agents", &["domain", "app"]),
    ("sandbox-host", &["domain", "app"]),
    ("workspace-git", &["domain", "app"]),
    ("verify", &["domain", "app"]),
    ("testkit", &["domain", "app"]),
    (
        "crewboss",
        &[
            "domain",
            "app",
            "api-types",
            "store-memory",
            "store-sqlite",
            "store-postgres",
            "audit-heads",
            "archive",
            "task-folder",
            "layouts",
            "lock-redis",
            "runner",
            "agents",
            "sandbox-host",
            "workspace-git",
            "verify",
        ],
    ),
    ("xtask", &[]),
];

/// What the crates without side effects may use from outside.
const PURE: &[(&str, &[&str])] = &[
    ("domain", &["serde", "serde_json", "thiserror", "jiff"]),
    ("app", &["serde", "serde_json", "thiserror", "sha2"]),
];

/// Every crate of the lock file is one more to trust and to build.
const LOCKED_MAX: usize = 400;

/// Marks of unfinished work, written apart so that this file does not contain them.
const MARKS: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("TO", "DO"),
];

pub(crate) fn run() -> Result<ExitCode> {
    check()?;
    println!("tidy");
    Ok(ExitCode::SUCCESS)
}

/// All rules.
pub(crate) fn check() -> Result<()> {
    let mut broken = edges()?;
    broken.extend(lock_budget()?);
    broken.extend(licences()?);
    broken.extend(marks()?);
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{}", broken.join("\n  "))
}

fn edges() -> Result<Vec<String>> {
    let metadata = ["metadata", "--format-version=1", "--no-deps", "--offline"];
    let text = shell::output(shell::cargo().args(metadata))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata without packages")?;
    let names: Vec<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let pure: BTreeMap<&str, &[&str]> = PURE.iter().copied().collect();
    let mut broken = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may_use) = allowed.get(name) else {
            broken.push(format!("{name} is not in the table of xtask/src/tidy.rs"));
            continue;
        };
        let dependencies = package["dependencies"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for dependency in dependencies
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
        {
            let used = dependency["name"].as_str().unwrap_or_default();
            if names.contains(&used) && !may_use.contains(&used) {
                broken.push(format!("{name} must not use {used}"));
            }
            let outside = !names.contains(&used);
            if outside && pure.get(name).is_some_and(|list| !list.contains(&used)) {
                broken.push(format!("{name} must not use {used}: it is to stay pure"));
            }
        }
    }
    Ok(broken)
}

fn lock_budget() -> Result<Vec<String>> {
    let lock = fs::read_to_string(shell::root().join("Cargo.lock"))?;
    let locked = lock.lines().filter(|line| *line == "[[package]]").count();
    Ok(if locked > LOCKED_MAX {
        vec![format!(
            "Cargo.lock has {locked} packages, more than {LOCKED_MAX}"
        )]
    } else {
        vec![]
    })
}

/// Every dependency's licence against the list in `deny.toml`: the part of `cargo deny` that needs
/// no installation.
fn licences() -> Result<Vec<String>> {
    let deny: toml::Table = fs::read_to_string(shell::root().join("deny.toml"))?.parse()?;
    let allowed: Vec<&str> = deny
        .get("licenses")
        .and_then(|licenses| licenses.get("allow")?.as_array())
        .context("deny.toml without licenses.allow")?
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let text = shell::output(shell::cargo().args(["metadata", "--format-version=1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata without packages")?;
    let mut broken = Vec::new();
    for package in packages
        .iter()
        .filter(|package| !package["source"].is_null())
    {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"]
            .as_str()
            .unwrap_or_default()
            .replace('/', " OR ");
        let fits = spdx::Expression::parse(&licence).is_ok_and(|expression| {
            expression.evaluate(|one| allowed.contains(&one.to_string().as_str()))
        });
        if !fits {
            broken.push(format!(
                "{name} has the licence `{licence}`, which deny.toml does not allow"
            ));
        }
    }
    Ok(broken)
}

fn marks() -> Result<Vec<String>> {
    let listed =
        shell::output(shell::program("git").args(["ls-files", "-z", "--", "*.rs", "*.md"]))?;
    let mut broken = Vec::new();
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        let text = read_if_there(&shell::root().join(file))?;
        for (number, line) in text.lines().enumerate() {
            if MARKS.iter().any(|mark| line.contains(mark)) {
                broken.push(format!(
                    "{file}:{}: unfinished: {}",
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    Ok(broken)
}

/// A file that git lists may have been deleted in the work tree.
fn read_if_there(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
