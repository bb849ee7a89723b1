//! A throw-away git repository that no configuration of the machine reaches.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// A git repository with one commit on `main`, deleted when dropped.
///
/// Its identity, branch name and maintenance settings are in its own configuration, so that a
/// program that does not use [`TempRepo::env`] still commits the same way.
#[derive(Debug)]
pub struct TempRepo {
    holder: TempDir,
}

impl TempRepo {
    /// Makes the repository: `README.md` in one commit.
    ///
    /// # Panics
    /// Where git is missing or fails; the message carries what it said.
    #[must_use]
    pub fn new() -> Self {
        let repo = Self::without_commits();
        drop(repo.commit_file("README.md", "# A repository for tests\n", "first commit"));
        repo
    }

    /// Makes a repository in which nothing was committed yet.
    #[must_use]
    pub fn without_commits() -> Self {
        let holder = tempfile::Builder::new()
            .prefix("crewboss-repo-")
            .tempdir()
            .expect("a temporary folder can be made");
        let repo = Self { holder };
        fs::create_dir(repo.path()).expect("the repository's folder can be made");
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        for (key, value) in [
            ("user.name", "Test"),
            ("user.email", "test@localhost"),
            ("commit.gpgSign", "false"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ] {
            repo.git(&["config", key, value]);
        }
        repo
    }

    /// The root of the checkout. Its parent belongs to this repository alone.
    pub fn path(&self) -> PathBuf {
        self.holder.path().join("repo")
    }

    /// A folder beside the checkout, made if it is missing: for state, homes and worktrees.
    pub fn beside(&self, name: &str) -> PathBuf {
        let path = self.holder.path().join(name);
        fs::create_dir_all(&path).expect("a folder beside the repository can be made");
        path
    }

    /// The variables that keep the user's and the system's git configuration out.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z"),
            ("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Runs git in the checkout and returns its standard output without the last newline.
    ///
    /// # Panics
    /// If git fails; the message carries what it said.
    pub fn git(&self, args: &[&str]) -> String {
        let output = self.try_git(args).expect("git can be started");
        assert!(
            output.status.success(),
            "git {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end_matches('\n')
            .to_owned()
    }

    /// Runs git in the checkout, whatever comes of it.
    ///
    /// # Errors
    /// If git cannot be started.
    #[expect(
        clippy::disallowed_methods,
        reason = "runs git itself, not a session's process"
    )]
    pub fn try_git(&self, args: &[&str]) -> io::Result<Output> {
        let mut git = Command::new("git");
        for inherited in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
        ] {
            git.env_remove(inherited);
        }
        git.args(args)
            .current_dir(self.path())
            .envs(self.env())
            .output()
    }

    /// Writes a file of the checkout, with its folders.
    pub fn write(&self, path: impl AsRef<Path>, content: &str) {
        let path = self.path().join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("folders in the checkout can be made");
        }
        fs::write(path, content).expect("a file in the checkout can be written");
    }

    /// Writes one file, commits it alone, and returns the commit.
    pub fn commit_file(&self, path: &str, content: &str, message: &str) -> String {
        self.write(path, content);
        self.git(&["add", "--", path]);
        self.git(&["commit", "--quiet", "-m", message, "--", path]);
        self.head()
    }

    /// The commit that is checked out.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }
}

impl Default for TempRepo {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_commit_and_a_clean_checkout() {
        let repo = TempRepo::new();
        assert_eq!(repo.git(&["rev-list", "--count", "HEAD"]), "1");
        assert_eq!(repo.git(&["status", "--porcelain"]), "");
        assert_eq!(repo.git(&["branch", "--show-current"]), "main");
    }

    #[test]
    fn two_repositories_are_the_same_commit() {
        assert_eq!(TempRepo::new().head(), TempRepo::new().head());
    }

    #[test]
    fn can_be_without_commits() {
        let output = TempRepo::without_commits()
            .try_git(&["rev-parse", "HEAD"])
            .unwrap();
        assert!(!output.status.success());
    }
}
