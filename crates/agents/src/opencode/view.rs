//! Read-only views of the user's configuration folders, made of links in the session's folder.
//!
//! `OpenCode` writes into every configuration folder that it reads: a `.gitignore`, a `$schema`,
//! and packages for plugins, for which it then waits. It is therefore shown folders of its own:
//! configuration files are copied, everything else is linked, and a lock file says that the packages
//! are there.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::config::{CONFIG_NAMES, merge, parse, read_bounded};

/// Belongs to package installation, of which a view has its own.
const PACKAGES: &[&str] = &[
    "node_modules",
    "package.json",
    "package-lock.json",
    "bun.lock",
    "bun.lockb",
    ".gitignore",
];

/// The package that `OpenCode` installs into every configuration folder.
const PLUGIN_PACKAGE: &str = "@opencode-ai/plugin";

/// Deeper folders and further files are not linked: no definition lies there.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 5_000;

/// Makes `target` look like the user's `$XDG_CONFIG_HOME`, with a folder of its own for `OpenCode`.
pub(super) fn of_config_home(source: Option<&Path>, target: &Path) -> io::Result<()> {
    let own = target.join("opencode");
    fs::create_dir_all(&own)?;
    let Some(source) = source else {
        return seed(&own, None);
    };
    for (name, path) in entries(source) {
        if name != "opencode" {
            link(&path, &target.join(&name))?;
        }
    }
    let global = source.join("opencode");
    for (name, path) in entries(&global) {
        if PACKAGES.contains(&name.as_str()) {
            continue;
        }
        let is_config = path
            .extension()
            .is_some_and(|kind| kind == "json" || kind == "jsonc");
        if is_config && path.is_file() {
            fs::write(own.join(&name), fs::read(&path)?)?;
        } else {
            link(&path, &own.join(&name))?;
        }
    }
    seed(&own, Some(&global))
}

/// Fills `target` with those files of the `sources` that `present` lacks, so that untracked agents,
/// commands and plugins exist in a worktree too. The first source that has a file wins.
pub(super) fn of_untracked(sources: &[PathBuf], present: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    let mut left = FILES_MAX;
    for source in sources.iter().filter(|source| source.as_path() != present) {
        link_missing(source, present, target, DEPTH_MAX, &mut left)?;
    }
    seed(target, sources.first().map(PathBuf::as_path))
}

/// Writes one configuration file of all that lie untracked beside a project.
pub(super) fn write_untracked_config(files: &[PathBuf], target: &Path) -> io::Result<()> {
    let mut merged = Value::Object(Map::new());
    for file in files {
        let Some(text) = read_bounded(file) else {
            continue;
        };
        let folder = file.parent().unwrap_or(Path::new("/"));
        if let Ok(value) = parse(&with_absolute_files(&text, folder)) {
            merge(&mut merged, value);
        }
    }
    if merged.as_object().is_some_and(|fields| !fields.is_empty()) {
        fs::write(target.join(CONFIG_NAMES[0]), merged.to_string())?;
    }
    Ok(())
}

/// Configuration files that the project's root has and the workspace lacks.
pub(super) fn untracked_configs(root: &Path, workspace: &Path) -> Vec<PathBuf> {
    let names = CONFIG_NAMES.iter().map(PathBuf::from);
    let below = CONFIG_NAMES
        .iter()
        .map(|name| Path::new(".opencode").join(name));
    names
        .chain(below)
        .filter(|name| root != workspace && !workspace.join(name).exists())
        .map(|name| root.join(name))
        .filter(|file| file.is_file())
        .collect()
}

/// `{file:./x}` in a copied file still means the file beside the original.
fn with_absolute_files(text: &str, folder: &Path) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("{file:");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str("{file:");
        match part.split_once('}') {
            Some((path, rest)) if !path.trim().starts_with(['/', '~']) => {
                let path = folder.join(path.trim());
                out.push_str(&path.to_string_lossy());
                out.push('}');
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}

fn link_missing(
    source: &Path,
    present: &Path,
    target: &Path,
    depth: usize,
    left: &mut usize,
) -> io::Result<()> {
    for (name, path) in entries(source) {
        let is_own = PACKAGES.contains(&name.as_str()) || CONFIG_NAMES.contains(&name.as_str());
        if *left == 0 || (is_own && depth == DEPTH_MAX) || name == "node_modules" || name == ".git"
        {
            continue;
        }
        let (beside, below) = (present.join(&name), target.join(&name));
        if path.is_dir() {
            if depth > 0 {
                fs::create_dir_all(&below)?;
                link_missing(&path, &beside, &below, depth - 1, left)?;
            }
        } else if !beside.exists() && below.symlink_metadata().is_err() {
            *left -= 1;
            link(&path, &below)?;
        }
    }
    Ok(())
}

/// Says that every package of the folder is installed, and lends it those of the original.
fn seed(folder: &Path, original: Option<&Path>) -> io::Result<()> {
    let listed = original
        .and_then(|original| read_bounded(&original.join("package.json")))
        .and_then(|text| parse(&text).ok());
    let mut packages = match listed
        .as_ref()
        .and_then(|listed| listed.get("dependencies"))
    {
        Some(Value::Object(packages)) => packages.clone(),
        _ => Map::new(),
    };
    packages.entry(PLUGIN_PACKAGE).or_insert_with(|| json!("*"));
    let lock = json!({"lockfileVersion": 3, "packages": {"": {"dependencies": packages.clone()}}});
    fs::write(
        folder.join("package.json"),
        json!({"dependencies": packages}).to_string(),
    )?;
    fs::write(folder.join("package-lock.json"), lock.to_string())?;
    let installed = original.map(|original| original.join("node_modules"));
    match installed.filter(|installed| installed.is_dir()) {
        Some(installed) => link(&installed, &folder.join("node_modules")),
        None => fs::create_dir_all(folder.join("node_modules")),
    }
}

/// The entries of a folder by name, sorted; none where it cannot be read.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(read) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<_> = read
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

/// A link; one that is there already stays.
fn link(original: &Path, at: &Path) -> io::Result<()> {
    match symlink(original, at) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_files_stay_where_they_pointed() {
        let text = r#"{"a":"{file:./x.md}","b":"{file:/abs}","c":"{file:~/y}","d":"{env:E}"}"#;
        assert_eq!(
            with_absolute_files(text, Path::new("/p")),
            r#"{"a":"{file:/p/./x.md}","b":"{file:/abs}","c":"{file:~/y}","d":"{env:E}"}"#
        );
    }
}
