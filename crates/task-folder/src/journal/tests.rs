use std::{fs, ops::ControlFlow, path::PathBuf, thread};

use app::ports::journal::{Breach, Level, LogEntry, LogItem};
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::{
    rotation::{DIES_AT, Step},
    *,
};

const HOUR: i64 = 3_600_000;

struct World {
    root: tempfile::TempDir,
    journal: ProjectJournal,
}

fn id() -> TaskId {
    "task_7".parse().unwrap()
}

fn limits(file_entries: u64, files_kept: u32) -> JournalLimits {
    JournalLimits {
        file_entries,
        files_kept,
        ..JournalLimits::default()
    }
}

fn note(text: &str) -> NewEntry {
    NewEntry {
        at: Timestamp::from_millis(1_795_164_511_000),
        level: Level::Info,
        message: text.to_owned(),
        data: None,
        position: None,
    }
}

fn event(position: u64) -> NewEntry {
    let data = format!("{{\"position\":{position},\"payload\":{{\"x\": \"é\"}}}}");
    NewEntry {
        data: Some(RawValue::from_string(data).unwrap()),
        position: Some(position),
        ..note(&format!("event {position}"))
    }
}

impl World {
    fn new(limits: JournalLimits) -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            journal: ProjectJournal::new(limits),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(".crewboss/tasks/task_7").join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn append(&self, texts: &[&str]) {
        let entries: Vec<_> = texts.iter().map(|text| note(text)).collect();
        self.journal
            .append(self.root.path(), id(), &entries, Survives::PowerCut)
            .unwrap();
    }

    fn numbered(&self, count: u64) {
        for number in 1..=count {
            self.append(&[&format!("entry {number}")]);
        }
    }

    fn read(&self, filter: &LogFilter) -> (Vec<LogEntry>, Vec<Finding>) {
        let (mut entries, mut findings) = (vec![], vec![]);
        self.journal
            .read(self.root.path(), id(), filter, &mut |item| {
                match item {
                    LogItem::Entry(entry) => entries.push(entry),
                    LogItem::Finding(finding) => findings.push(finding),
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        (entries, findings)
    }

    fn seqs(&self, filter: &LogFilter) -> Vec<u64> {
        let (entries, findings) = self.read(filter);
        assert_eq!(findings, []);
        entries.iter().map(|entry| entry.seq).collect()
    }

    fn verify(&self) -> ChainVerdict {
        self.journal.verify(self.root.path(), id()).unwrap()
    }

    fn project(&self, after: u64, positions: &[u64]) -> Projected {
        let events: Vec<_> = positions.iter().map(|position| event(*position)).collect();
        self.journal
            .project(self.root.path(), id(), after, &events)
            .unwrap()
    }
}

#[test]
fn a_log_that_is_not_there_is_empty() {
    let world = World::new(JournalLimits::default());
    assert!(world.seqs(&LogFilter::all()).is_empty());
    assert_eq!(world.verify(), ChainVerdict::default());
    assert_eq!(world.journal.projected(world.root.path(), id()).unwrap(), 0);
    assert!(!world.root.path().join(".crewboss").exists());
}

#[test]
fn full_files_are_compressed_and_read_as_one_log() {
    let world = World::new(limits(4, 5));
    world.numbered(10);
    assert_eq!(
        world.names(),
        ["logs.jsonl", "logs.jsonl.4.gz", "logs.jsonl.8.gz"]
    );
    assert_eq!(world.seqs(&LogFilter::all()), (1..=10).collect::<Vec<_>>());
    let tail = |tail| {
        world.seqs(&LogFilter {
            tail: Some(tail),
            ..LogFilter::all()
        })
    };
    for wanted in 0..12_u64 {
        let from = 11_u64.saturating_sub(wanted).max(1);
        let expected: Vec<_> = (from..=10).collect();
        assert_eq!(
            tail(usize::try_from(wanted).unwrap()),
            expected,
            "last {wanted}"
        );
    }
    for (first, last) in [(1, 1), (3, 6), (4, 5), (8, 9), (9, 40), (11, 12)] {
        let filter = LogFilter {
            first: Some(first),
            last: Some(last),
            ..LogFilter::all()
        };
        assert_eq!(
            world.seqs(&filter),
            (first..=last.min(10)).collect::<Vec<_>>()
        );
    }
    let verdict = world.verify();
    assert_eq!((verdict.first, verdict.last, verdict.breach), (1, 10, None));
}

#[test]
fn one_batch_fills_as_many_files_as_it_needs() {
    let world = World::new(limits(4, 1));
    let texts: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    world.append(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.names(), ["logs.jsonl", "logs.jsonl.8.gz"]);
    assert_eq!(world.seqs(&LogFilter::all()), (5..=11).collect::<Vec<_>>());
    let verdict = world.verify();
    assert_eq!((verdict.first, verdict.breach), (5, None));
}

#[test]
fn size_and_age_fill_a_file_too() {
    let world = World::new(JournalLimits {
        file_bytes: 400,
        ..JournalLimits::default()
    });
    world.numbered(9);
    assert!(world.names().len() >= 3, "{:?}", world.names());
    assert_eq!(world.seqs(&LogFilter::all()).len(), 9);

    let world = World::new(JournalLimits::default());
    for hour in [0, 23, 24, 25, 60] {
        let at = Timestamp::from_millis(1_795_164_511_000 + hour * HOUR);
        let entry = NewEntry {
            at,
            ..note("é and more")
        };
        let append = world
            .journal
            .append(world.root.path(), id(), &[entry], Survives::Crash);
        append.unwrap();
    }
    assert_eq!(
        world.names(),
        ["logs.jsonl", "logs.jsonl.2.gz", "logs.jsonl.4.gz"]
    );
    let since = Timestamp::from_millis(1_795_164_511_000 + 24 * HOUR);
    let until = Timestamp::from_millis(1_795_164_511_000 + 25 * HOUR);
    let filter = LogFilter {
        since: Some(since),
        until: Some(until),
        ..LogFilter::all()
    };
    assert_eq!(world.seqs(&filter), [3, 4]);
}

#[test]
fn levels_are_at_least_as_grave() {
    let world = World::new(JournalLimits::default());
    for level in [Level::Debug, Level::Info, Level::Warn, Level::Error] {
        let entry = NewEntry { level, ..note("x") };
        let append = world
            .journal
            .append(world.root.path(), id(), &[entry], Survives::Crash);
        append.unwrap();
    }
    let of = |level| {
        world.seqs(&LogFilter {
            level,
            ..LogFilter::all()
        })
    };
    assert_eq!(of(Level::Debug), [1, 2, 3, 4]);
    assert_eq!(of(Level::Warn), [3, 4]);
    let last = LogFilter {
        level: Level::Warn,
        tail: Some(1),
        ..LogFilter::all()
    };
    assert_eq!(world.seqs(&last), [4]);
}

#[test]
fn a_torn_line_is_cut_off_kept_and_told() {
    let world = World::new(JournalLimits::default());
    world.numbered(2);
    let whole = fs::read(world.path("logs.jsonl")).unwrap();
    for cut in 1..40 {
        fs::write(world.path("logs.jsonl"), &whole[..whole.len() - cut]).unwrap();
        let is_whole = cut == 1;
        let (entries, findings) = world.read(&LogFilter::all());
        assert_eq!((entries.len(), findings.len()), (1, 1));
        assert_eq!(findings[0].line, 2);
        assert_eq!(world.verify().breach.unwrap().0, Breach::Torn);
        world.append(&["after"]);
        let seqs = world.seqs(&LogFilter::all());
        assert_eq!(seqs, [1, 2, 3], "{cut}");
        assert_eq!(world.verify().breach, None);
        let told = world.read(&LogFilter::all()).0[1].clone();
        if is_whole {
            assert_eq!(told.message, "entry 2", "only its line end was missing");
        } else {
            assert_eq!(told.level, Level::Warn);
            assert!(told.message.contains("torn-2"), "{}", told.message);
            let text = fs::read_to_string(world.path("logs.jsonl")).unwrap();
            assert_eq!(text.matches("\"previous\"").count(), 1, "{text}");
            let kept = fs::read(world.path("logs.jsonl.torn-2")).unwrap();
            assert!(whole.ends_with(&[&kept[..], &whole[whole.len() - cut..]].concat()));
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_rotation_loses_nothing() {
    for step in [Step::Renamed, Step::Packed, Step::Named, Step::Removed] {
        for kept in [1, 5] {
            let world = World::new(limits(3, kept));
            world.numbered(3);
            DIES_AT.set(Some(step));
            let entry = [note("entry 4")];
            let appended =
                world
                    .journal
                    .append(world.root.path(), id(), &entry, Survives::PowerCut);
            DIES_AT.set(None);
            let there = if step == Step::Renamed { 3 } else { 4 };
            assert_eq!(appended.is_err(), step == Step::Renamed, "{step:?}");
            assert_eq!(
                world.seqs(&LogFilter::all()),
                (1..=there).collect::<Vec<_>>(),
                "{step:?}"
            );
            for number in there + 1..=6 {
                world.append(&[&format!("entry {number}")]);
            }
            assert_eq!(
                world.seqs(&LogFilter::all()),
                (1..=6).collect::<Vec<_>>(),
                "{step:?}"
            );
            world.append(&["entry 7"]);
            let expected = if kept == 1 { 4..=7 } else { 1..=7 };
            assert_eq!(
                world.seqs(&LogFilter::all()),
                expected.collect::<Vec<_>>(),
                "{step:?}"
            );
            assert_eq!(world.verify().breach, None);
            let left: Vec<_> = world
                .names()
                .into_iter()
                .filter(|name| name.contains("tmp"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}

#[test]
fn files_with_events_are_kept_whatever_their_number() {
    let world = World::new(limits(2, 1));
    assert_eq!(world.project(0, &[5, 9]), Projected::Done);
    world.numbered(8);
    let names = world.names();
    assert_eq!(
        names,
        ["logs.jsonl", "logs.jsonl.2.gz", "logs.jsonl.8.gz"],
        "{names:?}"
    );
    assert_eq!(world.journal.projected(world.root.path(), id()).unwrap(), 9);
    let (breach, finding) = world.verify().breach.unwrap();
    assert_eq!(breach, Breach::Removed, "{finding}");
}

#[test]
fn events_are_there_once_whoever_brings_them() {
    let world = World::new(JournalLimits::default());
    assert_eq!(world.project(0, &[2, 3]), Projected::Done);
    assert_eq!(world.project(0, &[2, 3]), Projected::Done);
    assert_eq!(world.project(2, &[3, 7]), Projected::Done);
    world.append(&["a note"]);
    assert_eq!(world.project(7, &[11]), Projected::Done);
    assert_eq!(world.project(20, &[21]), Projected::Behind);
    let (entries, _) = world.read(&LogFilter::all());
    let places: Vec<_> = entries.iter().map(|entry| entry.position).collect();
    assert_eq!(places, [2, 3, 7, 7, 11].map(Some));
    assert_eq!(
        world.journal.projected(world.root.path(), id()).unwrap(),
        11
    );
    fs::remove_file(world.path("logs.jsonl")).unwrap();
    assert_eq!(world.project(11, &[21]), Projected::Behind);
    assert_eq!(world.project(0, &[2, 3, 7, 11, 21]), Projected::Done);
    assert_eq!(world.seqs(&LogFilter::all()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_spoiled_line_is_a_finding_and_the_rest_is_read() {
    let world = World::new(limits(4, 5));
    world.numbered(10);
    let path = world.path("logs.jsonl");
    let mut lines: Vec<Vec<u8>> = fs::read(&path)
        .unwrap()
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    lines[0][3] = 0xff;
    lines.insert(1, b"\n".to_vec());
    lines.insert(2, b"{\"level\":\"loud\"}\n".to_vec());
    fs::write(&path, lines.concat()).unwrap();
    let (entries, findings) = world.read(&LogFilter::all());
    let seqs: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7, 8, 10]);
    let at: Vec<_> = findings.iter().map(|finding| finding.line).collect();
    assert_eq!(at, [1, 2, 3]);
    assert!(
        findings[0].what.contains("byte 4 is not UTF-8"),
        "{findings:#?}"
    );
    let last = LogFilter {
        tail: Some(2),
        ..LogFilter::all()
    };
    assert_eq!(world.read(&last).1.len(), 3, "what lies between is told");
    world.append(&["more"]);
    assert_eq!(world.read(&last).0[1].seq, 11);
}

#[test]
fn a_spoiled_file_is_a_finding_and_the_others_are_read() {
    let world = World::new(limits(4, 9));
    world.numbered(18);
    let packed = world.path("logs.jsonl.8.gz");
    let mut bytes = fs::read(&packed).unwrap();
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    fs::write(&packed, bytes).unwrap();
    let outside = world.root.path().join("outside");
    fs::write(&outside, "not ours\n").unwrap();
    fs::remove_file(world.path("logs.jsonl.12.gz")).unwrap();
    std::os::unix::fs::symlink(&outside, world.path("logs.jsonl.12.gz")).unwrap();
    fs::write(world.path("logs.jsonl.foreign"), "x").unwrap();
    fs::create_dir(world.path("logs.jsonl.3")).unwrap();
    let (entries, findings) = world.read(&LogFilter::all());
    let seqs: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
    assert!(
        seqs.starts_with(&[1, 2, 3, 4]) && seqs.ends_with(&[13, 14, 15, 16, 17, 18]),
        "{seqs:?}"
    );
    let files: Vec<_> = findings
        .iter()
        .map(|finding| finding.file.as_str())
        .collect();
    assert_eq!(
        files,
        ["logs.jsonl.3", "logs.jsonl.8.gz", "logs.jsonl.12.gz"]
    );
    let (breach, finding) = world.verify().breach.unwrap();
    assert_eq!(
        (breach, finding.file.as_str()),
        (Breach::Unreadable, "logs.jsonl.3")
    );
    world.append(&["goes on"]);
}

#[test]
fn a_link_in_place_of_the_log_is_not_followed() {
    let world = World::new(JournalLimits::default());
    let outside = world.root.path().join("outside");
    fs::write(&outside, "safe").unwrap();
    fs::create_dir_all(world.path("")).unwrap();
    std::os::unix::fs::symlink(&outside, world.path("logs.jsonl")).unwrap();
    let root = world.root.path();
    world
        .journal
        .append(root, id(), &[note("x")], Survives::Crash)
        .unwrap_err();
    let (entries, findings) = world.read(&LogFilter::all());
    assert_eq!((entries.len(), findings.len()), (0, 1));
    assert_eq!(fs::read_to_string(outside).unwrap(), "safe");
}

#[test]
fn many_writers_lose_nothing() {
    let world = World::new(limits(50, 100));
    thread::scope(|scope| {
        for writer in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..20 {
                    let texts = [
                        format!("{writer} {number} a"),
                        format!("{writer} {number} b"),
                    ];
                    world.append(&[&texts[0], &texts[1]]);
                }
            });
        }
    });
    let (entries, findings) = world.read(&LogFilter::all());
    assert_eq!(findings, []);
    let seqs: Vec<_> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=320).collect::<Vec<_>>());
    for pair in entries.chunks(2) {
        assert!(pair[0].message.ends_with('a') && pair[1].message.ends_with('b'));
    }
    assert_eq!(world.verify().breach, None);
}

/// What a hand does to a log.
#[derive(Debug, Clone)]
enum Tampering {
    Flip(usize, usize, u8),
    Copy(usize, usize),
    Foreign(usize),
    Drop(usize),
    Swap(usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let line = 0..LINES;
    prop_oneof![
        (line.clone(), any::<usize>(), 0..8_u8)
            .prop_map(|(line, at, bit)| Tampering::Flip(line, at, bit)),
        (line.clone(), line.clone()).prop_map(|(from, to)| Tampering::Copy(from, to)),
        line.clone().prop_map(Tampering::Foreign),
        (0..LINES - 1).prop_map(Tampering::Drop),
        (0..LINES - 1).prop_map(Tampering::Swap),
    ]
}

const LINES: usize = 12;

/// The lines after it, the first line that is wrong, and what it is to be called.
fn tampered(lines: &[String], how: &Tampering) -> (Vec<Vec<u8>>, usize, Vec<Breach>) {
    let mut all: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
    match *how {
        Tampering::Flip(line, at, bit) => {
            let at = at % all[line].len();
            all[line][at] ^= 1 << bit;
            // A flip may make or end a line, or spoil what says which line it is.
            (
                all,
                line,
                vec![
                    Breach::Edited,
                    Breach::Inserted,
                    Breach::Removed,
                    Breach::Torn,
                ],
            )
        }
        Tampering::Copy(from, to) => {
            let copy = all[from].clone();
            all.insert(to, copy);
            let first = if from == to { to + 1 } else { to };
            (all, first, vec![Breach::Inserted])
        }
        Tampering::Foreign(to) => {
            all.insert(to, b"{}".to_vec());
            (all, to, vec![Breach::Inserted])
        }
        Tampering::Drop(line) => {
            all.remove(line);
            (all, line, vec![Breach::Removed])
        }
        Tampering::Swap(line) => {
            all.swap(line, line + 1);
            (all, line, vec![Breach::Reordered])
        }
    }
}

#[test]
fn a_thousand_tamperings_are_found_where_they_are() {
    let world = World::new(JournalLimits::default());
    world.numbered(LINES as u64);
    let path = world.path("logs.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    };
    proptest!(config, |(how in tampering())| {
        let (all, first, breaches) = tampered(&lines, &how);
        let mut bytes = all.join(&b'\n');
        bytes.push(b'\n');
        fs::write(&path, bytes).unwrap();
        let verdict = world.verify();
        prop_assert!(verdict.breach.is_some(), "{how:?}");
        let (breach, finding) = verdict.breach.unwrap();
        prop_assert_eq!(finding.line, first as u64 + 1, "{}", finding);
        prop_assert!(breaches.contains(&breach), "{:?}: {:?}", how, breach);
    });
}

/// The most memory that the process has held since it was last asked.
fn peak_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "writes 2 GB; run by itself, for the peak of memory is the process's"]
fn two_gigabytes_need_no_memory() {
    let world = World::new(JournalLimits {
        file_bytes: u64::MAX,
        file_entries: u64::MAX,
        ..JournalLimits::default()
    });
    let text = "x".repeat(1_800);
    let batch: Vec<_> = (0..10_000).map(|_| note(&text)).collect();
    let mut total = 0;
    while fs::metadata(world.path("logs.jsonl")).map_or(0, |file| file.len()) < 2_000_000_000 {
        total = world
            .journal
            .append(world.root.path(), id(), &batch, Survives::Crash)
            .unwrap();
    }
    drop(batch);
    peak_kilobytes();
    let before = peak_kilobytes();
    let mut count = 0;
    let filter = LogFilter {
        tail: Some(usize::try_from(total).unwrap() - 5),
        ..LogFilter::all()
    };
    world
        .journal
        .read(world.root.path(), id(), &filter, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(count, total - 5);
    let read = world.root.path().join("io");
    fs::copy("/proc/self/io", &read).unwrap();
    let last = LogFilter {
        tail: Some(50),
        ..LogFilter::all()
    };
    assert_eq!(world.seqs(&last).len(), 50);
    let bytes = |io: PathBuf| -> u64 {
        let text = fs::read_to_string(io).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("rchar:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let more = bytes("/proc/self/io".into()) - bytes(read);
    assert!(more < 1_000_000, "the last 50 took {more} bytes of reading");
    assert_eq!(world.verify().breach, None);
    world.append(&["one more"]);
    let grown = peak_kilobytes() - before;
    println!("{total} entries, {grown} kB more than {before}; the last 50 read {more} bytes");
    assert!(grown < 10_000, "{grown} kB");
}
