//! Making workspaces in every mode and from every state of the repository.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use app::ports::workspaces::{PrepareRequest, Removed, WorkspaceError, Workspaces};
use domain::workspace::WorkspaceMode;
use workspace_git::{GitWorkspaces, Settings};

use crate::fixture::{Fixture, session, write, write_program};

#[test]
fn a_worktree_starts_from_the_target_outside_the_repository() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    assert!(record.path.starts_with(&fixture.state));
    assert_eq!(record.directory, record.path);
    assert_eq!(record.target.as_deref(), Some("main"));
    assert_eq!(record.base, Some(fixture.tip(&fixture.project, "main")));
    assert_eq!(
        fs::read_to_string(record.path.join("README.md")).expect("file"),
        "hello\n"
    );
    assert_eq!(fixture.git_in(&record.path, ["status", "--porcelain"]), "");
    assert_eq!(fixture.prepare(1), record, "asked twice");
    write(&record.path, "work", "x");
    assert_eq!(
        fixture.prepare(1),
        record,
        "asked again while it is worked in"
    );
    assert!(record.path.join("work").exists());
}

#[test]
fn what_is_made_outside_the_project_is_the_users_alone() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    let repository = record.path.parent().expect("parent");
    for directory in [
        fixture.state.clone(),
        fixture.state.join("worktrees"),
        fixture.state.join("locks"),
        repository.to_owned(),
    ] {
        let mode = fs::metadata(&directory).expect("metadata").permissions();
        assert_eq!(mode.mode() & 0o777, 0o700, "{}", directory.display());
    }
}

#[test]
fn a_recorded_base_holds_when_the_target_has_moved() {
    let fixture = Fixture::new();
    let base = fixture.tip(&fixture.project, "HEAD");
    fixture.write("later", "x");
    fixture.commit_all("later");
    let request = PrepareRequest {
        base: Some(base.clone()),
        ..fixture.request(1)
    };
    let record = fixture.workspaces.prepare(&request).expect("prepared");
    assert_eq!(record.start, Some(base));
    assert!(!record.path.join("later").exists());
}

#[test]
fn the_default_follows_the_directory() {
    let plain = Fixture::plain("p");
    assert_eq!(
        plain.workspaces.default_mode(&plain.project).expect("mode"),
        WorkspaceMode::Folder
    );
    let full = Fixture::new();
    assert_eq!(
        full.workspaces.default_mode(&full.project).expect("mode"),
        WorkspaceMode::Worktree
    );
    let empty = Fixture::without_commits("e");
    let error = empty
        .workspaces
        .default_mode(&empty.project)
        .expect_err("no commits");
    assert!(
        error.to_string().contains("git commit --allow-empty"),
        "{error}"
    );
    assert!(error.to_string().contains("in-place"), "{error}");
}

#[test]
fn a_repository_without_commits_is_refused_and_nothing_is_made() {
    let fixture = Fixture::without_commits("e");
    let error = fixture
        .workspaces
        .prepare(&fixture.request(1))
        .expect_err("refused");
    assert!(matches!(error, WorkspaceError::NoCommits { .. }), "{error}");
    assert!(!fixture.state.join("worktrees").exists());
    let plain = Fixture::plain("p");
    let error = plain
        .workspaces
        .prepare(&plain.request(1))
        .expect_err("refused");
    assert!(
        matches!(error, WorkspaceError::NotARepository { .. }),
        "{error}"
    );
    let fixture = Fixture::new();
    for target in ["nope", "main~0", "../main", "-x", "a b", ""] {
        let request = PrepareRequest {
            target: Some(target.to_owned()),
            ..fixture.request(1)
        };
        let error = fixture.workspaces.prepare(&request).expect_err("refused");
        assert!(
            matches!(error, WorkspaceError::TargetMissing { .. }),
            "{target}: {error}"
        );
    }
}

#[test]
fn in_place_and_folder_commit_nothing_and_lose_nothing() {
    let fixture = Fixture::plain("p");
    for mode in [WorkspaceMode::InPlace, WorkspaceMode::Folder] {
        let request = PrepareRequest {
            mode,
            ..fixture.request(1)
        };
        let record = fixture.workspaces.prepare(&request).expect("prepared");
        write(&record.path, "work", "x");
        let authorship = crate::fixture::authorship(1);
        assert_eq!(
            fixture
                .workspaces
                .commit(&record, &authorship)
                .expect("fine"),
            None
        );
        assert_eq!(
            fixture
                .workspaces
                .salvage(&record, session(1))
                .expect("fine"),
            None
        );
        let removed = fixture
            .workspaces
            .remove(&record, session(1))
            .expect("kept");
        assert_eq!(removed, Removed::Kept(record.path.clone()));
        assert!(record.path.join("work").exists());
        if mode == WorkspaceMode::Folder {
            assert_eq!(fixture.workspaces.folders().expect("folders").len(), 1);
            fixture
                .workspaces
                .discard_folder(&record, session(1))
                .expect("discarded");
            assert!(!record.path.exists());
        } else {
            assert!(
                fixture
                    .workspaces
                    .discard_folder(&record, session(1))
                    .is_err()
            );
        }
    }
}

#[test]
fn the_users_hooks_signing_and_variables_do_not_matter() {
    let mut fixture = Fixture::new();
    for hook in [
        "post-checkout",
        "pre-commit",
        "commit-msg",
        "post-merge",
        "reference-transaction",
    ] {
        let path = fixture.project.join(".git/hooks").join(hook);
        write_program(&path, "#!/bin/sh\ntouch \"$HOME/ran\"\nexit 1\n");
    }
    for (key, value) in [
        ("commit.gpgSign", "true"),
        ("gpg.program", "/bin/false"),
        ("diff.external", "/bin/false"),
        ("core.fsmonitor", "/bin/false"),
        ("merge.ff", "only"),
        ("diff.noprefix", "true"),
        ("core.editor", "/bin/false"),
    ] {
        fixture.git(["config", key, value]);
    }
    let mut environment = fixture.environment();
    for (name, value) in [
        ("GIT_DIR", "/nowhere"),
        ("GIT_INDEX_FILE", "/nowhere/i"),
        ("LC_ALL", "de_DE.UTF-8"),
    ] {
        environment.push((name.into(), value.into()));
    }
    fixture.workspaces = Box::new(GitWorkspaces::new(Settings::new(
        fixture.state.clone(),
        environment,
    )));
    let published = fixture.finished(1, "a.txt", "a\n");
    fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("merged");
    assert_eq!(fixture.read("a.txt"), "a\n");
    assert!(!fixture.real_root().join("home/ran").exists(), "a hook ran");
    let author = fixture.git(["log", "-1", "--format=%an %ae", &published.branch]);
    assert_eq!(author.trim(), "Ada ada@example.org");
}

#[test]
fn without_a_configured_identity_commits_are_crewbosss() {
    let fixture = Fixture::new();
    fixture.git(["config", "--unset", "user.name"]);
    fixture.git(["config", "--unset", "user.email"]);
    let published = fixture.finished(1, "a.txt", "a\n");
    let format = "--format=%an <%ae>%n%s%n%(trailers:only)";
    let log = fixture.git(["log", "-1", format, &published.branch]);
    let expected = "Crewboss <crewboss@localhost>\nTask 1: do it\n\
        Crewboss-Task: task_1\nCrewboss-Session: ses_1\nCrewboss-Agent: coder\n";
    assert_eq!(log.trim_end(), expected.trim_end());
}

#[test]
fn submodules_and_missing_filters_do_not_break_it() {
    let fixture = Fixture::new();
    let library = fixture.real_root().join("library");
    fs::create_dir(&library).expect("library");
    fixture.git_in(&library, ["init", "--quiet", "--initial-branch=main"]);
    write(&library, "lib.c", "int x;\n");
    fixture.commit_all_in(&library, "library");
    fixture.git([
        "submodule",
        "--quiet",
        "add",
        library.to_str().expect("text"),
        "vendor/lib",
    ]);
    fixture.write(
        ".gitattributes",
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    );
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    fixture.write("big.bin", pointer);
    fixture.commit_all("submodule and pointer");
    for (key, value) in [
        ("filter.lfs.smudge", "git-lfs smudge -- %f"),
        ("filter.lfs.clean", "git-lfs clean -- %f"),
        ("filter.lfs.process", "git-lfs filter-process"),
        ("filter.lfs.required", "true"),
    ] {
        fixture.git(["config", key, value]);
    }
    let record = fixture.prepare(1);
    assert_eq!(
        fs::read_to_string(record.path.join("big.bin")).expect("pointer"),
        pointer
    );
    let idle = fixture.commit(&record, 1);
    assert!(idle.no_change && idle.files.is_empty(), "{idle:?}");
    write(&record.path, "a.txt", "a\n");
    let committed = fixture.commit(&record, 1);
    assert_eq!(committed.files.len(), 1, "{committed:?}");
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("ok");
    fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("merged");
    assert!(fixture.project.join("vendor/lib/lib.c").exists());
    fixture
        .workspaces
        .remove(&record, session(1))
        .expect("removed");
}

#[test]
fn odd_paths_work() {
    let fixture = Fixture::without_commits("my project\nwith \"lines\"");
    fixture.write("sub dir/README.md", "hello\n");
    fixture.commit_all("start");
    let project = fixture.project.join("sub dir");
    let request = PrepareRequest {
        project: project.clone(),
        ..fixture.request(1)
    };
    let record = fixture.workspaces.prepare(&request).expect("prepared");
    assert_eq!(record.directory, record.path.join("sub dir"));
    let odd: &Path = Path::new(std::ffi::OsStr::new("-n\n\"q\" x"));
    fs::write(record.directory.join(odd), "x\n").expect("odd name");
    let raw = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe");
    fs::write(record.path.join(raw), "y\n").expect("raw name");
    fs::write(record.path.join(":(top)"), "z\n").expect("magic name");
    let committed = fixture.commit(&record, 1);
    let mut names: Vec<_> = committed.files.iter().map(|f| f.path.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["\"\\377\\376\"", ":(top)", "sub dir/-n\n\"q\" x"]);
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("ok");
    let merged = fixture
        .workspaces
        .merge(&project, &published.branch, None)
        .expect("merged");
    assert_eq!(merged.updated.as_ref(), Some(&fixture.project));
    assert_eq!(
        fs::read_to_string(fixture.project.join(raw)).expect("raw"),
        "y\n"
    );
    assert_eq!(fixture.git(["status", "--porcelain"]), "");
    assert!(fixture.workspaces.remove(&record, session(1)).is_ok());
    assert_eq!(
        fixture
            .workspaces
            .inventory(&project)
            .expect("found")
            .worktrees,
        []
    );
}

#[test]
fn dependencies_are_merged_in_the_order_of_their_ids() {
    let fixture = Fixture::new();
    let one = fixture.finished(1, "one.txt", "1\n").commit;
    let two = fixture.finished(2, "two.txt", "2\n").commit;
    let before = fixture.users_state();
    let request = fixture.prepare_after(3, &[(2, &two), (1, &one)]);
    let record = fixture.workspaces.prepare(&request).expect("prepared");
    let start = record.start.clone().expect("start");
    assert_ne!(record.base, record.start);
    let parents = fixture.git(["log", "-1", "--format=%P", start.as_str()]);
    assert_eq!(parents.trim(), format!("{one} {two}"));
    assert!(record.path.join("one.txt").exists() && record.path.join("two.txt").exists());
    write(&record.path, "three.txt", "3\n");
    let committed = fixture.commit(&record, 3);
    assert_eq!(
        committed.files.len(),
        1,
        "only its own work: {:?}",
        committed.files
    );
    assert_eq!(fixture.users_state(), before);
}

#[test]
fn dependencies_that_conflict_are_named_with_their_files() {
    let fixture = Fixture::new();
    let one = fixture.finished(1, "same.txt", "1\n").commit;
    let two = fixture.finished(2, "same.txt", "2\n").commit;
    let request = fixture.prepare_after(3, &[(1, &one), (2, &two)]);
    match fixture.workspaces.prepare(&request) {
        Err(WorkspaceError::DependencyConflict { task, files }) => {
            assert_eq!(
                (task.to_string().as_str(), files),
                ("task_2", vec!["same.txt".to_owned()])
            );
        }
        other => panic!("{other:?}"),
    }
    let found = fixture
        .workspaces
        .inventory(&fixture.project)
        .expect("found");
    assert!(found.worktrees.iter().all(|w| w.session != session(3)));
}

#[test]
fn a_user_in_the_middle_of_a_rebase_is_not_disturbed() {
    let fixture = Fixture::new();
    fixture.git(["checkout", "--quiet", "-b", "feature"]);
    fixture.write("README.md", "feature\n");
    let feature = fixture.commit_all("feature");
    fixture.git(["checkout", "--quiet", "main"]);
    fixture.write("README.md", "main\n");
    fixture.commit_all("main");
    fixture.git(["checkout", "--quiet", "feature"]);
    let (ok, _) = fixture.try_git(&fixture.project, ["rebase", "main"]);
    assert!(!ok, "the rebase stops at a conflict");
    let before = fixture.git(["status", "--porcelain"]);
    let record = fixture.prepare(1);
    assert_eq!(
        (record.target.as_deref(), record.base.as_ref()),
        (Some("feature"), Some(&feature))
    );
    write(&record.path, "a.txt", "a\n");
    let committed = fixture.commit(&record, 1);
    let branch = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("ok")
        .branch;
    let error = fixture
        .workspaces
        .merge(&fixture.project, &branch, None)
        .expect_err("refused");
    assert!(
        matches!(error, WorkspaceError::OperationInProgress { .. }),
        "{error}"
    );
    assert_eq!(fixture.git(["status", "--porcelain"]), before);
    assert_eq!(fixture.tip(&fixture.project, "feature"), feature);
}

#[test]
fn what_a_killed_preparation_left_is_made_anew() {
    let fixture = Fixture::new();
    let wanted = fixture.prepare(1);
    let admin = fixture.project.join(".git/worktrees/ses_1");
    let spoil: [&dyn Fn(); 5] = [
        // Killed before its record was written: files missing, entry locked.
        &|| {
            fs::remove_file(admin.join("crewboss.json")).expect("record");
            fs::remove_file(wanted.path.join("README.md")).expect("file");
            fs::write(admin.join("locked"), "").expect("locked");
            fs::write(admin.join("index.lock"), "").expect("lock");
        },
        // Killed in the middle of removing: an entry without a directory.
        &|| fs::remove_dir_all(&wanted.path).expect("directory"),
        // A directory without an entry.
        &|| fs::remove_dir_all(&admin).expect("entry"),
        // An empty directory.
        &|| {
            fs::remove_dir_all(&wanted.path).expect("directory");
            fs::remove_dir_all(&admin).expect("entry");
            fs::create_dir(&wanted.path).expect("empty");
        },
        // An entry that lost half its files.
        &|| {
            fs::remove_file(admin.join("HEAD")).expect("head");
            fs::remove_file(admin.join("crewboss.json")).expect("record");
        },
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        spoil();
        assert_eq!(fixture.prepare(1), wanted, "state {number}");
        assert_eq!(
            fixture.git_in(&wanted.path, ["status", "--porcelain"]),
            "",
            "state {number}"
        );
        assert_eq!(fixture.commit(&wanted, 1).files, [], "state {number}");
    }
    let found = fixture
        .workspaces
        .inventory(&fixture.project)
        .expect("found");
    assert_eq!((found.worktrees.len(), found.salvages.len()), (1, 0));
}

#[test]
fn a_branch_in_the_way_is_named_before_anything_is_made() {
    let fixture = Fixture::new();
    fixture.git(["branch", "crewboss"]);
    let error = fixture
        .workspaces
        .prepare(&fixture.request(1))
        .expect_err("refused");
    assert!(
        matches!(&error, WorkspaceError::BranchInTheWay { branch, .. } if branch == "crewboss"),
        "{error}"
    );
    assert!(
        error.to_string().contains("git branch -m crewboss"),
        "{error}"
    );
    assert!(!fixture.project.join(".git/worktrees").exists());
}

#[test]
fn a_state_directory_inside_the_repository_is_refused() {
    let fixture = Fixture::new();
    let settings = Settings::new(fixture.project.join("state"), fixture.environment());
    let error = GitWorkspaces::new(settings)
        .prepare(&fixture.request(1))
        .expect_err("refused");
    assert!(
        matches!(error, WorkspaceError::StateInsideRepository { .. }),
        "{error}"
    );
}

#[test]
fn a_missing_old_or_hanging_git_is_told_apart() {
    let fixture = Fixture::new();
    let scripts = fixture.real_root().join("scripts");
    let with = |name: &str, script: Option<&str>| {
        let path = scripts.join(name);
        if let Some(script) = script {
            write_program(&path, script);
        }
        let mut settings = Settings::new(fixture.state.clone(), fixture.environment());
        settings.program = path.into();
        settings.timeout = Duration::from_millis(300);
        GitWorkspaces::new(settings)
            .prepare(&fixture.request(1))
            .expect_err("refused")
    };
    let missing = with("missing", None);
    assert!(
        matches!(missing, WorkspaceError::GitMissing { .. }),
        "{missing}"
    );
    let old = with("old", Some("#!/bin/sh\necho git version 2.30.1\n"));
    assert!(matches!(old, WorkspaceError::GitTooOld { .. }), "{old}");
    assert!(old.to_string().contains("2.38"), "{old}");
    let hanging = with("hanging", Some("#!/bin/sh\nsleep 1000 &\nsleep 1000\n"));
    assert!(
        matches!(hanging, WorkspaceError::TimedOut { .. }),
        "{hanging}"
    );
}
