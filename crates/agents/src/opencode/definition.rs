//! Agent definitions: which folder defines an agent, and what its head says.

use std::path::{Component, Path, PathBuf};

use super::config::read_bounded;

/// Folders that hold agent definitions, by path below a configuration folder.
const FOLDERS: &[&str] = &["agent", "agents"];

/// Folders of the older form: their agents are always primary.
const MODE_FOLDERS: &[&str] = &["mode", "modes"];

/// Agents that need no definition.
const BUILT_IN: &[(&str, Mode)] = &[
    ("build", Mode::Primary),
    ("plan", Mode::Primary),
    ("general", Mode::Other),
    ("explore", Mode::Other),
];

/// Whether an agent may lead a session as it is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `mode: primary` or `mode: all`.
    Primary,
    /// `mode: subagent`, or nothing that could be read.
    Other,
}

/// What is known of an agent's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) mode: Mode,
    pub(super) model: Option<String>,
}

/// The definition of an agent in the first of these folders that has one.
pub(super) fn find(name: &str, folders: &[PathBuf]) -> Option<Definition> {
    if !is_plain(name) {
        return None;
    }
    let in_files = folders.iter().find_map(|folder| read(folder, name));
    in_files.or_else(|| {
        let (_, mode) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Definition {
            mode: *mode,
            model: None,
        })
    })
}

/// The file that defines an agent, in the first of these folders that has one.
pub(super) fn file(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    if !is_plain(name) {
        return None;
    }
    let kinds = || FOLDERS.iter().chain(MODE_FOLDERS);
    let files = folders
        .iter()
        .flat_map(|folder| kinds().map(|kind| folder.join(kind).join(format!("{name}.md"))));
    files.into_iter().find(|file| file.is_file())
}

/// Whether `OpenCode` brings an agent along.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(known, _)| *known == name)
}

/// Every agent that these folders define, and those that need no definition.
pub(super) fn names(folders: &[PathBuf]) -> Vec<String> {
    let kinds = || FOLDERS.iter().chain(MODE_FOLDERS);
    let defined = folders
        .iter()
        .flat_map(|folder| kinds().map(|kind| folder.join(kind)))
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|files| files.filter_map(Result::ok))
        .filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".md")?.to_owned()));
    let built_in = BUILT_IN.iter().map(|(name, _)| (*name).to_owned());
    defined.chain(built_in).collect()
}

/// Whether a name stays inside a folder when it is made a path.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn read(folder: &Path, name: &str) -> Option<Definition> {
    let file = format!("{name}.md");
    if let Some(text) = FOLDERS
        .iter()
        .find_map(|kind| read_bounded(&folder.join(kind).join(&file)))
    {
        let mode = match field(&text, "mode").as_deref() {
            Some("primary" | "all") => Mode::Primary,
            _ => Mode::Other,
        };
        return Some(Definition {
            mode,
            model: field(&text, "model"),
        });
    }
    let text = MODE_FOLDERS
        .iter()
        .find_map(|kind| read_bounded(&folder.join(kind).join(&file)))?;
    Some(Definition {
        mode: Mode::Primary,
        model: field(&text, "model"),
    })
}

/// A scalar at the top level of a definition's head.
fn field(text: &str, key: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines();
    lines.next().filter(|line| line.trim_end() == "---")?;
    lines
        .take_while(|line| line.trim_end() != "---")
        .find_map(|line| {
            let value = line.strip_prefix(key)?.trim_start().strip_prefix(':')?;
            let value = value.split(" #").next().unwrap_or_default().trim();
            let value = value.trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_definition_is_read() {
        let text = "---\r\ndescription: mode: all\nmode: \"subagent\"  # x\nmodel: p/m\n---\nmode: primary\n";
        assert_eq!(field(text, "mode").as_deref(), Some("subagent"));
        assert_eq!(field(text, "model").as_deref(), Some("p/m"));
        assert_eq!(field("mode: all\n", "mode"), None);
    }

    #[test]
    fn a_name_never_leaves_its_folder() {
        let folders = [PathBuf::from("/etc")];
        for name in ["", "../x", "/x", "a/../../b"] {
            assert_eq!(find(name, &folders), None, "{name}");
        }
        assert_eq!(
            find("build", &[]).map(|found| found.mode),
            Some(Mode::Primary)
        );
        assert_eq!(
            find("general", &[]).map(|found| found.mode),
            Some(Mode::Other)
        );
    }
}
