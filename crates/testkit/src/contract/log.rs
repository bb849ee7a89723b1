//! The log and its two chains.

use std::collections::BTreeMap;

use app::{
    event::{Entry, GENESIS, Hash, Header, Heads, Stream, seal_again},
    restore::Told,
};
use domain::session::SessionResult;

use super::{
    Make,
    world::{World, failed, work},
};

/// Recomputes every hash of a whole log, and panics at the first that is not as it was stored.
pub fn verify(log: &[Entry]) {
    let mut global = GENESIS;
    let mut streams: BTreeMap<Stream, (u64, Hash)> = BTreeMap::new();
    for (position, entry) in (0..).zip(log) {
        let (seq, stream) = streams.get(&entry.stream).copied().unwrap_or((0, GENESIS));
        let heads = Heads {
            position,
            global,
            seq,
            stream,
        };
        let told = Told {
            stream: entry.stream,
            seq: entry.seq,
            header: entry.header.clone(),
            payload: entry.payload.clone(),
            dropped: entry.dropped,
        };
        let again = seal_again(&heads, &told);
        assert!(entry.dropped.is_none() || entry.payload.is_empty());
        assert_eq!(again, *entry, "position {}", position + 1);
        global = entry.global_hash;
        streams.insert(entry.stream, (entry.seq, entry.stream_hash));
    }
}

/// Every change is in the log, in order, and every stream reads as its part of the whole.
pub fn both_chains_verify_from_the_beginning(make: Make) {
    let world = World::new(make);
    let tasks: Vec<_> = (0..4)
        .map(|n| world.create(work(&format!("{n}"))))
        .collect();
    world.work_off(SessionResult::Completed);
    world.work_off(failed());
    let _retry = world.retry(tasks[1].id, None).expect("a retry");
    let log = world.contents().log;
    verify(&log);
    let kinds: Vec<String> = log
        .iter()
        .map(|entry| {
            let header: Header = serde_json::from_slice(&entry.header).expect("a header");
            assert_eq!((header.stream, header.seq), (entry.stream, entry.seq));
            header.kind
        })
        .collect();
    assert_eq!(
        kinds[..3],
        ["project.registered", "task.created", "task.created"]
    );
    assert!(kinds.iter().any(|kind| kind == "task.retried"), "{kinds:?}");
    world.store.look(&mut |reader| {
        for stream in log.iter().map(|entry| entry.stream) {
            let expected: Vec<Entry> = log
                .iter()
                .filter(|entry| entry.stream == stream)
                .cloned()
                .collect();
            let found = reader.events(Some(stream), 0, 100).expect("a stream");
            assert_eq!(found, expected);
        }
        let page = reader.events(None, 3, 2).expect("a page");
        assert_eq!(page, log[3..5]);
    });
}
