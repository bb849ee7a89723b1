//! Many sessions in one repository.

use std::{collections::BTreeMap, fs, path::Path};

use crate::arena::Arena;

const SESSIONS: usize = 64;

/// Every file below a folder with its bytes, without what is ours.
fn bytes_of(folder: &Path, skip: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            if skip.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The user's side of a repository: checkout, index, stash, configuration, checked out branch.
fn users_side(arena: &Arena) -> Vec<BTreeMap<String, Vec<u8>>> {
    let git = arena.project().join(".git");
    let kept = [
        "index",
        "HEAD",
        "config",
        "refs/stash",
        "logs/refs/stash",
        "logs/HEAD",
        "packed-refs",
    ];
    let of_git = kept
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fs::read(git.join(name)).ok()?)))
        .collect();
    vec![bytes_of(arena.project(), &[".git", ".crewboss"]), of_git]
}

fn make_untidy(arena: &Arena) {
    let repo = arena.repo();
    repo.commit_file("kept.txt", "one\n", "second commit");
    repo.write("README.md", "stashed\n");
    repo.git(&["stash", "push", "--quiet", "-m", "for later"]);
    repo.write("staged.txt", "staged\n");
    repo.git(&["add", "staged.txt"]);
    repo.write("kept.txt", "changed and not staged\n");
    repo.write("untracked/file.txt", "untracked\n");
}

#[test]
fn many_at_once_get_a_branch_each_and_the_checkout_is_not_touched() {
    let arena = Arena::repository();
    make_untidy(&arena);
    let before = users_side(&arena);
    let ids: Vec<String> = (0..SESSIONS)
        .map(|n| arena.start(&format!("echo {n} >>kept.txt; echo {n} >own-{n}.txt"), &[]))
        .collect();
    let parallel = SESSIONS.to_string();
    arena.run(&["run", "--parallel", &parallel]).ok();
    let waited = arena.run(&["wait", "--timeout", "100"]);
    let failed = arena.run(&["status"]).out;
    assert_eq!(waited.code, Some(0), "{waited:#?}\n{failed}");

    let repo = arena.repo();
    let branches = repo.git(&[
        "for-each-ref",
        "--format=%(refname:short)",
        "refs/heads/crewboss",
    ]);
    assert_eq!(branches.lines().count(), SESSIONS, "{branches}");
    for (n, id) in ids.iter().enumerate() {
        let branch = branches
            .lines()
            .find(|branch| branch.contains(id.as_str()))
            .unwrap();
        let file = repo.git(&["show", &format!("{branch}:own-{n}.txt")]);
        assert_eq!(file, n.to_string());
        let kept = repo.git(&["show", &format!("{branch}:kept.txt")]);
        assert_eq!(
            kept,
            format!("one\n{n}"),
            "from the last commit, not from the checkout"
        );
        let parents = repo.git(&["rev-list", "--count", &format!("main..{branch}")]);
        assert_eq!(parents, "1");
    }
    arena.until_deserted();
    let after = users_side(&arena);
    assert_eq!(
        before[0].keys().collect::<Vec<_>>(),
        after[0].keys().collect::<Vec<_>>()
    );
    assert!(
        before == after,
        "the checkout, the index or the stash is not as it was"
    );
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(
        repo.git(&["for-each-ref", "refs/crewboss"]),
        "",
        "nothing had to be salvaged"
    );
    repo.git(&["fsck", "--no-progress"]);
    let left: Vec<String> = bytes_of(&arena.store().join("state"), &["locks"])
        .into_keys()
        .collect();
    assert_eq!(left, [""; 0]);
}
