//! Which of the two folders.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

/// One of the two folders that the layout is found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `.gemini/agents`.
    Gemini,
    /// `.orchestra`.
    Orchestra,
}

/// A text that names no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a layout is `gemini` (.gemini/agents) or `orchestra` (.orchestra)")]
pub struct InvalidLayout;

impl Layout {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gemini, Self::Orchestra];

    /// The word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Orchestra => "orchestra",
        }
    }

    /// The folder of its state, relative to the project.
    #[must_use]
    pub const fn base(self) -> &'static str {
        match self {
            Self::Gemini => ".gemini/agents",
            Self::Orchestra => ".orchestra",
        }
    }

    /// The files that may list agents, relative to the project; the first that lists a name wins.
    #[must_use]
    pub const fn agent_configs(self) -> [&'static str; 2] {
        const OPENCODE: &str = ".opencode/agent-config.json";
        const ORCHESTRA: &str = ".orchestra-cli/agent-config.json";
        match self {
            Self::Gemini => [OPENCODE, ORCHESTRA],
            Self::Orchestra => [ORCHESTRA, OPENCODE],
        }
    }

    /// Those that a project has: whose folder holds `tasks/`.
    #[must_use]
    pub fn detect(project: &Path) -> Vec<Self> {
        let exists = |layout: &Self| project.join(layout.base()).join("tasks").is_dir();
        Self::ALL.into_iter().filter(exists).collect()
    }

    /// The nearest folder upward that has this layout.
    #[must_use]
    pub fn find_upward(self, start: &Path) -> Option<PathBuf> {
        let holds = |dir: &&Path| dir.join(self.base()).join("tasks").is_dir();
        start.ancestors().find(holds).map(Path::to_owned)
    }

    /// The project and layout of a folder that was named: the project, its base, or `tasks/`.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Option<(PathBuf, Self)> {
        for candidate in [Some(folder), folder.parent()].into_iter().flatten() {
            for layout in Self::ALL {
                let depth = Path::new(layout.base()).components().count();
                let is_base = candidate.ends_with(layout.base());
                if let (true, Some(project)) = (is_base, candidate.ancestors().nth(depth)) {
                    return Some((project.to_owned(), layout));
                }
            }
        }
        Self::detect(folder)
            .first()
            .map(|layout| (folder.to_owned(), *layout))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Layout {
    type Err = InvalidLayout;

    fn from_str(text: &str) -> Result<Self, InvalidLayout> {
        Self::ALL
            .into_iter()
            .find(|layout| layout.as_str() == text)
            .ok_or(InvalidLayout)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_layout_is_found_by_its_tasks() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Layout::detect(dir.path()).is_empty());
        fs::create_dir_all(dir.path().join(".orchestra/tasks")).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert_eq!(Layout::detect(dir.path()), [Layout::Orchestra]);
        let upward = Layout::Orchestra.find_upward(&dir.path().join("a/b"));
        assert_eq!(upward.as_deref(), Some(dir.path()));
        assert_eq!(Layout::Gemini.find_upward(&dir.path().join("a")), None);
    }

    #[test]
    fn a_folder_is_named_in_four_ways() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join(".gemini/agents/tasks")).unwrap();
        for named in [
            "",
            ".gemini/agents",
            ".gemini/agents/tasks",
            ".gemini/agents/archive",
        ] {
            let path = if named.is_empty() {
                root.to_owned()
            } else {
                root.join(named)
            };
            assert_eq!(
                Layout::of_folder(&path),
                Some((root.to_owned(), Layout::Gemini)),
                "{named}"
            );
        }
        assert_eq!(Layout::of_folder(Path::new("/nowhere")), None);
    }
}
