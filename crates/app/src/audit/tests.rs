//! Logs in memory, changed in every way that leaves a trace.

use super::*;
use crate::event::{GENESIS, Heads, StreamKind, seal};

fn stream(id: u64) -> Stream {
    Stream {
        kind: StreamKind::Task,
        id,
    }
}

/// Three streams that take turns.
fn log(entries: u64) -> Vec<Row> {
    log_of(entries, |_| "noted")
}

/// The same with what happens at each position.
fn log_of(entries: u64, what: impl Fn(u64) -> &'static str) -> Vec<Row> {
    let mut ends: BTreeMap<u64, (u64, Hash)> = BTreeMap::new();
    let mut global = GENESIS;
    let row = |position: u64| {
        let id = 1 + position % 3;
        let (seq, hash) = ends.get(&id).copied().unwrap_or((0, GENESIS));
        let header = format!(
            r#"{{"stream":{{"kind":"task","id":"{id}"}},"seq":{},"type":"task.{}","v":1}}"#,
            seq + 1,
            what(position)
        );
        let heads = Heads {
            position: position - 1,
            global,
            seq,
            stream: hash,
        };
        let payload = format!(r#"{{"n":{position}}}"#);
        let entry = seal(&heads, stream(id), header.into(), payload.into());
        ends.insert(id, (entry.seq, entry.stream_hash));
        global = entry.global_hash;
        Row::of(entry)
    };
    (1..=entries).map(row).collect()
}

fn entry(row: &mut Row) -> &mut Entry {
    row.entry.as_mut().unwrap()
}

/// Gives rows the positions at which they stand.
fn renumber(mut rows: Vec<Row>) -> Vec<Row> {
    for (position, row) in (1_i64..).zip(&mut rows) {
        row.position = position;
        entry(row).position = position.unsigned_abs();
    }
    rows
}

fn whole(rows: &Vec<Row>, heads: &[Head]) -> Report {
    verify(rows, Beginning::default(), heads, &mut |_| ()).unwrap()
}

#[track_caller]
fn assert_found(
    rows: impl Into<Vec<Row>>,
    tampering: Tampering,
    position: i64,
    until: Option<i64>,
) {
    let report = whole(&rows.into(), &[]);
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.tampering, fault.position, fault.until),
        (tampering, position, until),
        "{}",
        fault.evidence
    );
    assert_eq!(report.last, report.entries);
}

fn head(rows: &[Row], position: u64) -> Head {
    let row = &rows[usize::try_from(position).unwrap() - 1];
    Head {
        position,
        global_hash: row.entry.as_ref().unwrap().global_hash,
    }
}

#[test]
fn a_log_as_it_was_written_is_whole() {
    let rows = log(50);
    let heads = [head(&rows, 50), head(&rows, 20), head(&rows, 20)];
    let report = whole(&rows, &heads);
    assert_eq!((report.entries, report.last, report.fault), (50, 50, None));
    assert_eq!((report.heads, report.vouched), (2, Some(50)));
    assert_eq!((report.unknown, report.first_unknown), (50, Some(1)));
    assert_eq!(whole(&vec![], &[]), Report::default());
    let report = verify_stream(&rows, stream(1)).unwrap();
    assert_eq!((report.entries, report.fault), (16, None));
}

#[test]
fn every_edit_of_one_row_is_found_there() {
    let edits: [fn(&mut Entry); 9] = [
        |entry| entry.payload = b"{}".to_vec(),
        |entry| entry.payload = b"\xff".to_vec(),
        |entry| entry.header = entry.header.replace_first(b"noted", b"taken"),
        |entry| entry.header = b"{".to_vec(),
        |entry| entry.stream.id += 7,
        |entry| entry.seq += 100,
        |entry| entry.stream_hash[3] ^= 1,
        |entry| entry.global_hash[31] ^= 128,
        |entry| {
            entry.payload.clear();
            entry.stream_hash = [9; 32];
            entry.global_hash = [9; 32];
        },
    ];
    for (number, edit) in edits.iter().enumerate() {
        for position in [1, 2, 11, 29] {
            let mut rows = log(30);
            edit(entry(&mut rows[position - 1]));
            let fault = whole(&rows, &[]).fault.unwrap();
            let found = (fault.tampering, fault.position);
            let expected = (Tampering::Edited, i64::try_from(position).unwrap());
            assert_eq!(found, expected, "edit {number}: {}", fault.evidence);
        }
    }
    let mut rows = log(9);
    rows[4].entry = Err("the stream has no such kind".to_owned());
    assert_found(rows, Tampering::Edited, 5, None);
}

trait ReplaceFirst {
    fn replace_first(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceFirst for Vec<u8> {
    fn replace_first(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let text = String::from_utf8(self.clone()).unwrap();
        let (from, to) = (str::from_utf8(from).unwrap(), str::from_utf8(to).unwrap());
        text.replacen(from, to, 1).into_bytes()
    }
}

#[test]
fn entries_that_are_gone_are_missed() {
    let mut rows = log(30);
    rows.drain(9..12);
    assert_found(rows.clone(), Tampering::Deleted, 10, Some(12));
    assert_found(renumber(rows), Tampering::Deleted, 10, Some(12));
    let mut rows = log(30);
    rows.remove(0);
    assert_found(rows, Tampering::Deleted, 1, None);
    let mut rows = log(30);
    rows.remove(28);
    assert_found(rows, Tampering::Deleted, 29, None);
}

#[test]
fn entries_that_were_never_written_stand_out() {
    let forged = || {
        let mut rows = log(10);
        let mut row = rows.remove(4);
        entry(&mut row).seq = 77;
        entry(&mut row).global_hash = [7; 32];
        entry(&mut row).stream_hash = [8; 32];
        row
    };
    for at in [0, 1, 9, 30] {
        let mut rows = log(30);
        rows.insert(at, forged());
        let position = i64::try_from(at).unwrap() + 1;
        assert_found(renumber(rows), Tampering::Inserted, position, None);
    }
    let mut rows = log(30);
    rows.splice(9..9, [forged(), forged()]);
    assert_found(renumber(rows), Tampering::Inserted, 10, Some(11));
    let mut rows = log(30);
    let mut row = forged();
    row.position = -4;
    rows.insert(0, row);
    let report = whole(&rows, &[]);
    assert_eq!(report.fault.unwrap().position, -4);
}

#[test]
fn entries_that_changed_places_are_told_from_new_ones() {
    for (a, b) in [(5, 6), (0, 1), (3, 20), (0, 29), (28, 29)] {
        let mut rows = log(30);
        rows.swap(a, b);
        let position = i64::try_from(a).unwrap() + 1;
        assert_found(renumber(rows), Tampering::Reordered, position, None);
    }
    let mut rows = log(30);
    rows[4..14].rotate_left(1);
    assert_found(renumber(rows), Tampering::Reordered, 5, None);
    let mut rows = log(30);
    rows[4..14].rotate_right(1);
    assert_found(renumber(rows), Tampering::Reordered, 5, None);
    let mut rows = log(30);
    let mut moved = rows.remove(11);
    moved.position = 31;
    entry(&mut moved).position = 31;
    rows.push(moved);
    assert_found(rows, Tampering::Reordered, 12, None);
}

#[test]
fn hashes_made_anew_for_one_entry_do_not_hide_it() {
    let honest = log(30);
    let mut rows = honest.clone();
    let before = [&honest[8], &honest[9], &honest[6]].map(|row| row.entry.as_ref().unwrap());
    let heads = Heads {
        position: 9,
        global: before[0].global_hash,
        seq: before[2].seq,
        stream: before[2].stream_hash,
    };
    let forged = seal(
        &heads,
        before[1].stream,
        before[1].header.clone(),
        b"{}".to_vec(),
    );
    rows[9] = Row::of(forged.clone());
    assert_found(rows, Tampering::Edited, 10, None);
    let mut rows = honest;
    rows.insert(9, Row::of(forged));
    assert_found(renumber(rows), Tampering::Inserted, 10, None);
}

#[test]
fn a_tail_that_is_gone_is_missed_by_heads_alone() {
    let mut rows = log(30);
    let heads = [head(&rows, 10), head(&rows, 28)];
    rows.truncate(20);
    assert_eq!(whole(&rows, &[]).fault, None);
    let report = whole(&rows, &heads);
    let fault = report.fault.unwrap();
    assert_eq!(
        (fault.tampering, fault.position, fault.until),
        (Tampering::Truncated, 21, Some(28))
    );
    assert_eq!((report.heads, report.vouched), (1, Some(10)));
}

#[test]
fn a_chain_made_anew_is_not_the_one_that_was_signed() {
    let mut rows = log(30);
    let heads = [head(&rows, 10), head(&rows, 28)];
    let other = log(40);
    // The same up to 10, and a chain of its own from there.
    rows.truncate(10);
    let mut ends: BTreeMap<Stream, (u64, Hash)> = BTreeMap::new();
    for row in &rows {
        let entry = row.entry.as_ref().unwrap();
        ends.insert(entry.stream, (entry.seq, entry.stream_hash));
    }
    let mut global = heads[0].global_hash;
    for row in &other[10..] {
        let entry = row.entry.as_ref().unwrap();
        let (seq, stream) = ends[&entry.stream];
        let heads = Heads {
            position: entry.position - 1,
            global,
            seq,
            stream,
        };
        let again = seal(&heads, entry.stream, entry.header.clone(), b"[]".to_vec());
        ends.insert(entry.stream, (again.seq, again.stream_hash));
        global = again.global_hash;
        rows.push(Row::of(again));
    }
    assert_eq!(whole(&rows, &[]).fault, None);
    let fault = whole(&rows, &heads).fault.unwrap();
    assert_eq!(
        (fault.tampering, fault.position, fault.until),
        (Tampering::Rewritten, 11, Some(28))
    );
}

#[test]
fn one_stream_by_itself() {
    let found = |change: fn(&mut Vec<Row>)| {
        let mut rows = log(30);
        change(&mut rows);
        let fault = verify_stream(&rows, stream(1)).unwrap().fault.unwrap();
        (fault.tampering, fault.position)
    };
    assert_eq!(
        found(|rows| entry(&mut rows[5]).payload.clear()),
        (Tampering::Edited, 6)
    );
    assert_eq!(
        found(|rows| entry(&mut rows[5]).stream_hash[0] ^= 1),
        (Tampering::Edited, 6)
    );
    assert_eq!(
        found(|rows| entry(&mut rows[29]).payload.clear()),
        (Tampering::Edited, 30)
    );
    assert_eq!(found(|rows| drop(rows.remove(5))), (Tampering::Deleted, 9));
    assert_eq!(
        found(|rows| entry(&mut rows[5]).header.clear()),
        (Tampering::Edited, 6)
    );
}

#[test]
fn a_content_that_was_dropped_leaves_its_hash() {
    let purged_in_the_end = |position| if position > 9 { "purged" } else { "noted" };
    let mut rows = log_of(12, purged_in_the_end);
    for row in &mut rows[3..6] {
        *entry(row) = entry(row).clone().without_payload();
    }
    let report = whole(&rows, &[]);
    assert_eq!((report.fault, report.dropped), (None, 3));
    let mut unsaid = log(12);
    for row in &mut unsaid[3..6] {
        *entry(row) = entry(row).clone().without_payload();
    }
    let report = whole(&unsaid, &[]);
    let fault = report.fault.expect("nobody has purged them");
    assert_eq!((fault.tampering, fault.position), (Tampering::Edited, 4));
    let report = verify_stream(&unsaid, stream(2)).unwrap();
    assert_eq!(report.fault.map(|fault| fault.position), Some(4));
    let mut both = rows.clone();
    entry(&mut both[4]).payload = b"{}".to_vec();
    assert_found(both, Tampering::Edited, 5, None);
    entry(&mut rows[4]).dropped = Some([1; 32]);
    assert_found(rows, Tampering::Edited, 5, None);
}

#[test]
fn lines_carry_everything() {
    let rows = log(7);
    let mut previous: BTreeMap<Stream, Hash> = BTreeMap::new();
    let mut read = Vec::new();
    for row in rows.clone() {
        let (of, hash) = match &row.entry {
            Ok(entry) => (entry.stream, entry.stream_hash),
            Err(why) => panic!("{why}"),
        };
        let before = previous.insert(of, hash);
        let text = serde_json::to_string(&Line::of(row, before).unwrap()).unwrap();
        read.push(Row::of_line(&text, 0));
    }
    assert_eq!(whole(&read, &[]).fault, None);
    let part = read.split_off(3);
    let beginning = Beginning {
        after: 3,
        global: head(&rows, 3).global_hash,
    };
    let report = verify(&part, beginning, &[head(&rows, 3)], &mut |_| ()).unwrap();
    assert_eq!((report.fault, report.last, report.heads), (None, 7, 1));
    assert_eq!(Row::of_line("{", 5).position, 5);
    let opening = Opening::new(Some(stream(4)), 3, [1; 32]);
    let text = serde_json::to_string(&opening).unwrap();
    assert_eq!(Opening::parse(&text).unwrap(), opening);
    assert!(Opening::parse(&text.replace("audit_export", "other")).is_err());
    assert!(Opening::parse("").is_err());
}

#[test]
fn what_a_later_version_writes_is_unknown_and_whole() {
    let at = event::Header {
        project: "prj_1".parse().unwrap(),
        stream: stream(4),
        seq: 1,
        kind: "task.archived".to_owned(),
        v: 1,
        at: domain::time::Timestamp::from_millis(0),
        actor: event::Actor {
            kind: event::ActorKind::User,
            id: "me".to_owned(),
        },
        door: event::Door::Cli,
        correlation: None,
        causation: None,
        fence: None,
    };
    let known = |change: &dyn Fn(&mut serde_json::Value), payload: &str| {
        let mut header = serde_json::to_value(&at).unwrap();
        change(&mut header);
        let heads = Heads {
            position: 0,
            global: GENESIS,
            seq: 0,
            stream: GENESIS,
        };
        let header = serde_json::to_vec(&header).unwrap();
        let entry = seal(&heads, stream(4), header, payload.as_bytes().to_vec());
        let report = whole(&vec![Row::of(entry)], &[]);
        assert_eq!((report.entries, report.fault), (1, None));
        report.unknown == 0
    };
    assert!(known(&|_| (), r#"{"type":"archived"}"#));
    assert!(known(&|_| (), r#"{"type":"archived","later":{"x":1}}"#));
    assert!(known(
        &|h| h["later"] = "x".into(),
        r#"{"type":"archived"}"#
    ));
    assert!(!known(&|h| h["v"] = 2.into(), r#"{"type":"archived"}"#));
    assert!(!known(
        &|h| h["type"] = "task.sung".into(),
        r#"{"type":"sung"}"#
    ));
    assert!(!known(
        &|h| h["type"] = "song.sung".into(),
        r#"{"type":"sung"}"#
    ));
    assert!(!known(
        &|h| h["door"] = "window".into(),
        r#"{"type":"sung"}"#
    ));
    assert!(known(
        &|h| h["door"] = "window".into(),
        r#"{"type":"archived"}"#
    ));
}

/// A log as version 1 wrote it: never to be written anew.
const V1: &str = include_str!("v1.jsonl");

fn rows_of(export: &str) -> Vec<Row> {
    let lines = export.lines().skip(1);
    lines.map(|line| Row::of_line(line, 0)).collect()
}

#[test]
fn what_version_1_wrote_is_read_for_ever() {
    let rows = rows_of(V1);
    let report = whole(&rows, &[]);
    assert_eq!((report.fault, report.entries), (None, 41));
    // Every content of it, by today's types.
    assert_eq!(report.unknown, 0);
    for row in &rows {
        let entry = row.entry.as_ref().unwrap();
        let header: event::Header = serde_json::from_slice(&entry.header).unwrap();
        assert_eq!(
            (header.v, header.stream, header.seq),
            (1, entry.stream, entry.seq)
        );
        assert_eq!(serde_json::to_vec(&header).unwrap(), entry.header);
    }
}

/// Reading and writing again changes no byte, also of what this version does not know.
#[test]
fn a_round_trip_keeps_bytes() {
    let again = |export: &str| {
        let opening = Opening::parse(export.lines().next().unwrap()).unwrap();
        let mut text = serde_json::to_string(&opening).unwrap();
        for line in export.lines().skip(1) {
            let previous = serde_json::from_str::<Line>(line)
                .unwrap()
                .previous_stream_hash;
            let line = Line::of(Row::of_line(line, 0), Some(previous)).unwrap();
            text = format!("{text}\n{}", serde_json::to_string(&line).unwrap());
        }
        text + "\n"
    };
    assert_eq!(again(V1), V1);
    let mut later = V1.lines().next().unwrap().to_owned() + "\n";
    let mut ends: BTreeMap<Stream, (u64, Hash)> = BTreeMap::new();
    let mut global = GENESIS;
    for row in rows_of(V1) {
        let entry = row.entry.unwrap();
        let (seq, hash) = ends.get(&entry.stream).copied().unwrap_or((0, GENESIS));
        let heads = Heads {
            position: entry.position - 1,
            global,
            seq,
            stream: hash,
        };
        // A later writer says more, and of some it says what we have no word for.
        let header = entry
            .header
            .replace_first(b"\"v\":1", b"\"v\" : 2, \"later\":[1.50]");
        let payload = entry.payload.replace_first(b"{", b"{ \"later\" : 1e3,");
        let entry = seal(&heads, entry.stream, header, payload);
        ends.insert(entry.stream, (entry.seq, entry.stream_hash));
        global = entry.global_hash;
        let line = Line::of(Row::of(entry), Some(hash)).unwrap();
        later = format!("{later}{}\n", serde_json::to_string(&line).unwrap());
    }
    let report = whole(&rows_of(&later), &[]);
    assert_eq!((report.fault, report.entries), (None, 41));
    assert_eq!((report.unknown, report.first_unknown), (41, Some(1)));
    assert_eq!(again(&later), later);
}
