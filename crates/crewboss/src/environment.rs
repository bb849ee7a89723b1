//! The process environment, read once.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
};

/// Variables and working directory as they were when the process started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    /// Variables that no child gets.
    hidden: BTreeSet<OsString>,
    /// Variables that a file has set, with the line.
    of_file: BTreeMap<OsString, (PathBuf, usize)>,
}

impl Environment {
    /// What this process was given.
    ///
    /// # Errors
    /// Where the working directory is gone.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir()?,
            ..Self::default()
        })
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|v| !v.is_empty())
    }

    /// A variable as text; what is not UTF-8 counts as unset.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// A variable as an absolute path; a relative one is ignored, as the XDG rules ask.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }

    /// Where the process was started.
    pub(crate) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Everything that is UTF-8, as children get it.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let text = |s: &OsString| s.to_str().map(str::to_owned);
        self.variables
            .iter()
            .filter(|(k, _)| !self.hidden.contains(*k))
            .filter_map(|(k, v)| Some((text(k)?, text(v)?)))
            .collect()
    }

    /// From now on no child gets these.
    pub(crate) fn hide(&mut self, names: &[&str]) {
        self.hidden.extend(names.iter().map(OsString::from));
    }

    /// Takes in what a file says of the variables that `is_ours`, where nothing else has set them:
    /// for this process alone.
    pub(crate) fn read_file(
        &mut self,
        path: &Path,
        text: &str,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let Some((name, value)) = line.split_once('=') else {
                return Err(format!("{}:{number}: expected NAME=VALUE", path.display()));
            };
            let name = name.trim_end();
            if !is_ours(name) || self.get(name).is_some() {
                continue;
            }
            let name = OsString::from(name);
            self.hidden.insert(name.clone());
            self.of_file.insert(name.clone(), (path.to_owned(), number));
            self.variables.insert(name, unquoted(value.trim()).into());
        }
        Ok(())
    }

    /// The file and the line that have set a variable, where one has.
    pub(crate) fn file_of(&self, name: &str) -> Option<&(PathBuf, usize)> {
        self.of_file.get(OsStr::new(name))
    }

    /// The same with variables set anew, started elsewhere.
    pub(crate) fn with(mut self, directory: PathBuf, variables: &[(&str, &OsStr)]) -> Self {
        for (name, value) in variables {
            self.variables.insert(OsString::from(name), value.into());
        }
        self.directory = directory;
        self
    }

    /// The same without variables of these beginnings.
    pub(crate) fn without(mut self, prefixes: &[&str]) -> Self {
        let has = |name: &OsString| {
            prefixes
                .iter()
                .any(|p| name.as_encoded_bytes().starts_with(p.as_bytes()))
        };
        self.variables.retain(|name, _| !has(name));
        self
    }
}

/// A value of a file: as it is between single quotes, with `\n`, `\"` and `\\` between double ones,
/// and without a remark where it has none.
fn unquoted(value: &str) -> String {
    if let Some(inner) = value.strip_prefix('\'') {
        return inner.split('\'').next().unwrap_or_default().to_owned();
    }
    let Some(inner) = value.strip_prefix('"') else {
        return value
            .split(" #")
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned();
    };
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(one) = chars.next() {
        match one {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_sets_what_is_ours_and_not_set_and_reaches_no_child() {
        let pairs = [("A_SET", OsStr::new("mine")), ("OTHER", OsStr::new("x"))];
        let mut env = Environment::default().with(PathBuf::from("/"), &pairs);
        let text =
            "# remark\n\nexport A_NEW=\"a \\\"b\\\"\"\nA_SET=theirs\nB=1\nA_Q='x # y'\nA_R=z # w\n";
        let file = Path::new("/x/.env");
        env.read_file(file, text, |name| name.starts_with("A_"))
            .unwrap();
        assert_eq!(env.text("A_NEW"), Some("a \"b\""));
        assert_eq!(env.text("A_SET"), Some("mine"));
        assert_eq!(
            (env.text("A_Q"), env.text("A_R")),
            (Some("x # y"), Some("z"))
        );
        assert_eq!(env.text("B"), None);
        assert_eq!(env.file_of("A_NEW"), Some(&(file.to_owned(), 3)));
        let names: Vec<String> = env.pairs().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["A_SET", "OTHER"]);
        assert!(env.read_file(file, "x\n", |_| true).is_err());
    }
}
