//! Writing configuration files: comments stay, and a file is replaced whole or not at all.

use std::{fmt::Write as _, io::Write as _, path::Path};

use toml_edit::{DocumentMut, Item, Table, Value};

use super::{Config, KEYS, Raw, Settings, file, find_key};
use crate::fail::Fail;

/// Sets one key of a file, which is made where it is missing. What the file would then be is
/// checked before anything is written.
pub(crate) fn set_value(path: &Path, name: &str, text: &str) -> Result<Raw, Fail> {
    let key = find_key(name)?;
    let raw = Raw::of_text(text);
    let mut settings = Settings::default();
    let as_text = Raw::Text(text.to_owned());
    let raw = match settings.assign(key.name, &raw) {
        Ok(()) => raw,
        Err(problem) => match settings.assign(key.name, &as_text) {
            Ok(()) => as_text,
            Err(_) => return Err(Fail::usage(format!("{}: {problem}", key.name))),
        },
    };
    let before = file::read(path)?.unwrap_or_default();
    file::apply(&mut Config::default(), path, &before)?;
    let after = with_value(&before, key.name, &raw)
        .map_err(|error| Fail::usage(format!("{}: {error}", path.display())))?;
    file::apply(&mut Config::default(), path, &after)?;
    replace(path, after.as_bytes())?;
    Ok(raw)
}

fn with_value(text: &str, name: &str, raw: &Raw) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let (section, key) = name.split_once('.').unwrap_or((name, ""));
    let table = document
        .entry(section)
        .or_insert_with(|| Item::Table(Table::new()));
    let value = match raw {
        Raw::Bool(value) => Value::from(*value),
        Raw::Int(value) => Value::from(*value),
        Raw::Text(value) => Value::from(value.as_str()),
        Raw::Other(_) => return Ok(text.to_owned()),
    };
    if let Some(table) = table.as_table_like_mut() {
        match table.get_mut(key) {
            Some(item) => {
                let decor = item.as_value().map(|value| value.decor().clone());
                *item = Item::Value(value);
                if let (Some(decor), Some(value)) = (decor, item.as_value_mut()) {
                    *value.decor_mut() = decor;
                }
            }
            None => {
                table.insert(key, Item::Value(value));
            }
        }
    }
    Ok(document.to_string())
}

/// Replaces a file: a temporary file beside it, fsync, rename, fsync of the folder.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    let cannot =
        |error: &std::io::Error| Fail::io(format!("cannot write {}", path.display()), error);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| cannot(&error))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| cannot(&error))?;
    file.write_all(bytes).map_err(|error| cannot(&error))?;
    file.as_file().sync_all().map_err(|error| cannot(&error))?;
    let kept = std::fs::metadata(path).map(|found| found.permissions());
    let mode = kept.unwrap_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644));
    file.as_file()
        .set_permissions(mode)
        .map_err(|error| cannot(&error))?;
    file.persist(path).map_err(|error| cannot(&error.error))?;
    let folder = std::fs::File::open(folder).map_err(|error| cannot(&error))?;
    folder.sync_all().map_err(|error| cannot(&error))
}

/// A file that says everything and sets nothing: every key with its meaning and default.
pub(crate) fn commented_default() -> String {
    let mut text = String::from(
        "# Configuration of Crewboss for this project.\n\
         # Every key is shown with its default; remove the `#` to change one.\n\
         # `crewboss config show` says which values are in force and where they come from.\n",
    );
    let defaults = Settings::default();
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.name.split_once('.').unwrap_or((key.name, ""));
        if of != section {
            section = of;
            let _ = write!(text, "\n[{section}]\n");
        }
        let (remark, value) = match defaults.value(key.name) {
            Some(value) => ("", value.to_string()),
            None => (
                " Not set by default; an example:",
                example(key.name).to_owned(),
            ),
        };
        let _ = write!(text, "# {}{remark}\n# {name} = {value}\n", key.meaning);
    }
    text.push_str(
        "\n# Checks that Crewboss runs on the finished work before it believes that a task is done.\n\
         # [[gates]]\n# name = \"test\"\n# run = \"make test\"\n# timeout_seconds = 600\n\n\
         # Agents. A name that is not listed means OpenCode with the agent of that name.\n\
         # [agents.shell]\n# driver = \"command\"\n# command = \"sh\"\n# args = [\"-c\", \"{prompt}\"]\n",
    );
    text
}

/// A value, as TOML, of a key that has none by default.
fn example(name: &str) -> &'static str {
    match name {
        "run.timeout_seconds" => "3600",
        "run.session_max_seconds" => "7200",
        "project.remote" => "\"origin\"",
        "serve.capacity" => "8",
        "serve.name" => "\"builder-1\"",
        "serve.labels" => "\"zone=a, gpu\"",
        "workspace.mode" => "\"worktree\"",
        "workspace.target" => "\"main\"",
        "checkpoint.every_minutes" => "30",
        "checkpoint.every_turns" => "10",
        "store.url" => "\"postgres://crewboss@db.example/crewboss\"",
        "audit.heads" => "\"/mnt/elsewhere/crewboss-heads.jsonl\"",
        _ => "\"\"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stay_and_only_the_value_changes() {
        let text = "# top\n[run]\n# why\nparallel = 3 # three\n";
        let after = with_value(text, "run.parallel", &Raw::Int(5)).unwrap();
        assert_eq!(after, "# top\n[run]\n# why\nparallel = 5 # three\n");
        let after = with_value(text, "archive.enabled", &Raw::Bool(true)).unwrap();
        assert!(
            after.starts_with(text) && after.ends_with("[archive]\nenabled = true\n"),
            "{after}"
        );
    }

    #[test]
    fn the_commented_file_changes_nothing_and_uncommented_is_valid() {
        let text = commented_default();
        let mut config = Config::default();
        file::apply(&mut config, Path::new("x"), &text).unwrap();
        assert_eq!(config.settings, Settings::default());
        let uncommented: String = text
            .lines()
            .filter_map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") || rest.starts_with('[') => Some(rest),
                Some(_) => None,
                None => Some(line),
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        file::apply(&mut config, Path::new("x"), &uncommented).unwrap();
        for key in KEYS {
            let (value, default) = (
                config.settings.value(key.name),
                Settings::default().value(key.name),
            );
            match default {
                Some(default) => assert_eq!(value, Some(default), "{}", key.name),
                None => assert_ne!(value, None, "{} has an example", key.name),
            }
        }
        assert!(!text.contains("= \"\""), "{text}");
        assert_eq!((config.agents.len(), config.gates.len()), (1, 1));
    }

    #[test]
    fn a_wrong_value_leaves_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        assert!(set_value(&path, "run.parallel", "0").is_err());
        assert!(set_value(&path, "run.nothing", "1").is_err());
        assert!(!path.exists());
        set_value(&path, "run.parallel", "4").unwrap();
        assert!(set_value(&path, "archive.enabled", "maybe").is_err());
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "[run]\nparallel = 4\n"
        );
    }
}
