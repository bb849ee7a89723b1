use std::{fs, path::Path};

use app::export::Member;

use super::*;

fn spool(folder: &Path) -> Spool {
    let mut spool = Spool::new(folder);
    for line in ["{\"a\":1}\n", "{\"a\":2}\n"] {
        spool.add(Member::Chains, line.as_bytes()).unwrap();
    }
    spool
}

#[test]
fn equal_contents_are_equal_bytes_and_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one.tar"), dir.path().join("other.tar"));
    let (manifest, digest) = spool(dir.path()).write(Scope::Store, &one).unwrap();
    spool(dir.path()).write(Scope::Store, &other).unwrap();
    assert_eq!(fs::read(&one).unwrap(), fs::read(&other).unwrap());
    assert_eq!(digest.bytes, fs::metadata(&one).unwrap().len());
    let contents = read(&one).unwrap();
    assert_eq!(contents.manifest, manifest);
    assert_eq!(manifest.lines("chains.jsonl"), 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn whatever_is_changed_or_missing_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.tar");
    spool(dir.path()).write(Scope::Project, &file).unwrap();
    let whole = fs::read(&file).unwrap();
    let broken = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        read(&file).map(drop).unwrap_err().to_string()
    };
    let at = |needle: &[u8]| {
        let found = whole.windows(needle.len()).position(|part| part == needle);
        found.unwrap()
    };
    let mut changed = whole.clone();
    changed[at(b"{\"a\":2}") + 5] = b'3';
    assert!(
        broken(&changed).contains("`chains.jsonl`"),
        "{}",
        broken(&changed)
    );
    for cut in [0, 100, 600, at(b"{\"a\":2}") + 3] {
        assert!(broken(&whole[..cut]).contains("no whole archive"));
    }
    assert!(broken(b"no archive at all").contains("tar"));
    let mut renamed = whole.clone();
    let name = at(b"chains.jsonl\0");
    renamed[name..name + 12].copy_from_slice(b"../ins.jsonl");
    assert!(broken(&renamed).contains("no whole archive"));
}
