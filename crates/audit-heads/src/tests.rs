use std::{fs, os::unix::fs::PermissionsExt as _, thread};

use super::*;

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn head(position: u64) -> Head {
    Head {
        position,
        global_hash: [7; 32],
    }
}

fn sign(heads: &Heads, position: u64) -> Written {
    heads.sign(head(position), AT, true).unwrap().unwrap()
}

fn gathered(heads: &Heads) -> Gathered {
    let anchor = heads.current_key().unwrap();
    gather(&heads.files(), anchor.as_deref()).unwrap()
}

fn positions(gathered: &Gathered) -> Vec<u64> {
    gathered.heads.iter().map(|head| head.position).collect()
}

#[test]
fn heads_are_signed_by_a_key_that_nobody_else_may_read() {
    let home = tempfile::tempdir().unwrap();
    let heads = Heads::new(&home.path().join("cb"), None);
    assert_eq!(heads.last().unwrap(), None);
    assert_eq!(heads.current_key().unwrap(), None);
    let written = sign(&heads, 3);
    sign(&heads, 9);
    assert!(written.second.is_ok());
    assert_eq!(heads.last().unwrap().unwrap().head, head(9));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(heads.key_file()), 0o600);
    assert_eq!(mode(heads.key_file().parent().unwrap()), 0o700);
    assert_eq!(mode(heads.files()[0]), 0o600);
    let gathered = gathered(&heads);
    assert_eq!(positions(&gathered), [3, 9]);
    assert_eq!(gathered.keys, [written.head.key_id]);
    assert_eq!(gathered.bad, []);
    // The file verifies by itself, too.
    assert_eq!(gather(&heads.files(), None).unwrap(), gathered);
}

#[test]
fn heads_of_earlier_keys_still_verify() {
    let home = tempfile::tempdir().unwrap();
    let heads = Heads::new(home.path(), None);
    sign(&heads, 1);
    let first = heads.current_key().unwrap().unwrap();
    let rotated = heads.rotate(AT).unwrap();
    assert_eq!(rotated.retired, first);
    assert_eq!(
        heads.current_key().unwrap().unwrap(),
        rotated.current.key_id
    );
    sign(&heads, 2);
    heads.rotate(AT).unwrap();
    sign(&heads, 3);
    let found = gathered(&heads);
    assert_eq!((positions(&found), found.keys.len()), (vec![1, 2, 3], 3));
    let from_first = gather(&heads.files(), Some(&first)).unwrap();
    assert_eq!(positions(&from_first), [1, 2, 3]);
    let stranger = gather(&heads.files(), Some("0011223344556677")).unwrap();
    assert_eq!((stranger.heads.len(), stranger.bad.len()), (0, 3));
}

#[test]
fn what_was_changed_or_signed_by_others_proves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let heads = Heads::new(home.path(), None);
    sign(&heads, 1);
    sign(&heads, 2);
    let file = heads.files()[0].to_owned();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"position\":2", "\"position\":5")).unwrap();
    let found = gathered(&heads);
    assert_eq!(positions(&found), [1]);
    let bad = &found.bad[0];
    assert_eq!((bad.line, bad.position, bad.is_torn), (3, Some(5), false));
    // A key that claims another as the one before it does not get that one's trust.
    fs::write(&file, &text).unwrap();
    let other_home = tempfile::tempdir().unwrap();
    let other = Heads::new(other_home.path(), None);
    sign(&other, 8);
    let line = fs::read_to_string(other.files()[0]).unwrap();
    let own = heads.current_key().unwrap().unwrap();
    let claim = line.replace(
        "\"previous_key_id\":null",
        &format!("\"previous_key_id\":\"{own}\""),
    );
    fs::write(&file, format!("{text}{claim}")).unwrap();
    let found = gathered(&heads);
    assert_eq!(positions(&found), [1, 2]);
    assert_eq!(found.bad[0].why, "its key is not vouched for");
}

#[test]
fn a_torn_line_costs_nothing_but_itself() {
    let home = tempfile::tempdir().unwrap();
    let heads = Heads::new(home.path(), None);
    sign(&heads, 1);
    sign(&heads, 2);
    let file = heads.files()[0].to_owned();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 40]).unwrap();
    assert_eq!(heads.last().unwrap().unwrap().head, head(1));
    sign(&heads, 3);
    let found = gathered(&heads);
    assert_eq!(positions(&found), [1, 3]);
    assert!(found.bad.len() == 1 && found.bad[0].is_torn);
    fs::write(&file, b"\xff\xfe\0 not a line").unwrap();
    assert_eq!(heads.last().unwrap(), None);
}

#[test]
fn the_second_place_gets_what_it_lacks() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let second = elsewhere.path().join("far/away.jsonl");
    let alone = Heads::new(home.path(), None);
    sign(&alone, 1);
    let heads = Heads::new(home.path(), Some(second.clone()));
    assert!(sign(&heads, 2).second.is_ok());
    let first = heads.files()[0].to_owned();
    let same = |wanted| {
        let (one, other) = (fs::read(&first).unwrap(), fs::read(&second).unwrap());
        assert_eq!(one == other, wanted);
    };
    same(true);
    // Away for a while.
    let moved = elsewhere.path().join("elsewhere");
    fs::rename(second.parent().unwrap(), &moved).unwrap();
    fs::write(second.parent().unwrap(), "in the way").unwrap();
    assert!(sign(&heads, 3).second.is_err());
    fs::remove_file(second.parent().unwrap()).unwrap();
    fs::rename(&moved, second.parent().unwrap()).unwrap();
    assert!(sign(&heads, 4).second.is_ok());
    same(true);
    assert!(heads.rotate(AT).unwrap().second.is_ok());
    same(true);
    // What was taken out of the first place stays in the second.
    let text = fs::read_to_string(&first).unwrap();
    let cut: Vec<&str> = text.lines().take(2).collect();
    fs::write(&first, cut.join("\n") + "\n").unwrap();
    assert!(sign(&heads, 5).second.is_ok());
    same(false);
    assert_eq!(positions(&gathered(&heads)), [1, 2, 3, 4, 5]);
}

#[test]
fn a_lost_key_is_not_made_anew_in_silence() {
    let home = tempfile::tempdir().unwrap();
    let heads = Heads::new(home.path(), None);
    sign(&heads, 1);
    fs::remove_file(heads.key_file()).unwrap();
    let error = heads.sign(head(2), AT, true).unwrap_err();
    assert!(matches!(error, HeadsError::KeyLost { .. }), "{error}");
    assert!(matches!(heads.rotate(AT), Err(HeadsError::KeyLost { .. })));
    fs::write(heads.key_file(), "x").unwrap();
    assert!(matches!(heads.rotate(AT), Err(HeadsError::Key { .. })));
    fs::set_permissions(heads.key_file(), fs::Permissions::from_mode(0o600)).unwrap();
    let error = heads.sign(head(2), AT, true).unwrap_err();
    assert!(error.to_string().ends_with("holds no key"), "{error}");
}

#[test]
fn many_at_once_make_one_key_and_whole_lines() {
    let home = tempfile::tempdir().unwrap();
    let heads = Heads::new(home.path(), None);
    thread::scope(|scope| {
        for position in 1..=16 {
            let heads = heads.clone();
            scope.spawn(move || {
                if position == 9 {
                    drop(heads.rotate(AT).unwrap());
                }
                sign(&heads, position)
            });
        }
    });
    let found = gathered(&heads);
    assert_eq!((positions(&found).len(), found.bad.len()), (16, 0));
    assert_eq!(found.keys.len(), 2);
}

/// Whoever introduced the first key was killed in the middle of its line, or was refused it.
#[test]
fn a_key_whose_introduction_was_cut_off_is_introduced_again() {
    for (cut, with_head) in [(0, true), (90, false), (90, true)] {
        let home = tempfile::tempdir().unwrap();
        let heads = Heads::new(home.path(), None);
        sign(&heads, 1);
        let file = heads.files()[0].to_owned();
        let text = fs::read_to_string(&file).unwrap();
        let (key, head) = text.split_once('\n').unwrap();
        let left = match (&key[..cut], with_head) {
            (cut, false) => cut.to_owned(),
            ("", true) => head.to_owned(),
            (cut, true) => format!("{cut}\n{head}"),
        };
        fs::write(&file, left).unwrap();
        sign(&heads, 2);
        sign(&heads, 3);
        let found = gathered(&heads);
        let expected: &[u64] = if with_head { &[1, 2, 3] } else { &[2, 3] };
        assert_eq!(positions(&found), expected);
        assert!(found.bad.iter().all(|line| line.is_torn), "{:?}", found.bad);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(
            text.matches("public_key").count(),
            1 + usize::from(cut > 60)
        );
    }
}
