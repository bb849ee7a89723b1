//! A task's log held against the store.

use std::collections::BTreeMap;

use crate::{event::Stream, hex::hex, history::EventRecord, restore::Told};

/// An event that a log tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The number of its entry.
    pub entry: u64,
    /// Its place in the store's log, as the entry says.
    pub position: u64,
    /// The event.
    pub told: Told,
}

/// How a log and the store agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// The log tells of every event of the store, and of no other.
    Same,
    /// The log ends before so many events.
    Behind(u64),
    /// The log tells of so many events that the store does not know, and of all that it does: the
    /// number of the first entry.
    Ahead {
        /// How many.
        events: u64,
        /// The number of the first entry.
        entry: u64,
    },
    /// The log tells something else.
    Differs {
        /// The number of the first entry that does; 0 where one is missing.
        entry: u64,
        /// What happened to it.
        what: String,
    },
}

/// Holds the events that a log tells of against those of the store, both in their order.
#[must_use]
pub fn compare(stored: &[EventRecord], log: &[Standing]) -> Agreement {
    let is_same = |(record, standing): (&EventRecord, &Standing)| {
        record.position == standing.position && holds(record, &standing.told)
    };
    let same = stored.iter().zip(log).take_while(|pair| is_same(*pair));
    let same = same.count();
    match (same == stored.len(), same == log.len()) {
        (true, true) => return Agreement::Same,
        (false, true) => return Agreement::Behind((stored.len() - same) as u64),
        (_, false) => {}
    }
    let known: BTreeMap<(Stream, u64), &EventRecord> = stored
        .iter()
        .map(|record| ((record.stream, record.seq), record))
        .collect();
    let (mut unknown, mut first_unknown) = (0, 0);
    let mut ends = BTreeMap::new();
    for standing in log {
        let Told { stream, seq, .. } = standing.told;
        ends.insert(stream, seq);
        match known.get(&(stream, seq)) {
            Some(record) if !holds(record, &standing.told) => {
                return differs(standing, "the store holds something else in its place");
            }
            Some(_) => {}
            None => {
                if unknown == 0 {
                    first_unknown = standing.entry;
                }
                unknown += 1;
            }
        }
    }
    let is_behind = |record: &&EventRecord| ends.get(&record.stream) < Some(&record.seq);
    if unknown > 0 && !stored.iter().any(|record| is_behind(&record)) {
        return Agreement::Ahead {
            events: unknown,
            entry: first_unknown,
        };
    }
    let Some(standing) = log.get(same) else {
        return Agreement::Behind((stored.len() - same) as u64);
    };
    if unknown > 0 {
        return differs(
            standing,
            "the store and the log have gone on apart from here",
        );
    }
    match stored.get(same) {
        Some(record) if holds(record, &standing.told) => differs(
            standing,
            &format!("it is at position {} in the store", record.position),
        ),
        Some(record) => differs(
            standing,
            &format!(
                "the event at position {} is missing before it",
                record.position
            ),
        ),
        None => differs(standing, "it comes a second time"),
    }
}

fn differs(standing: &Standing, what: &str) -> Agreement {
    Agreement::Differs {
        entry: standing.entry,
        what: format!(
            "entry {} ({} {}): {what}",
            standing.entry, standing.told.stream, standing.told.seq
        ),
    }
}

fn holds(record: &EventRecord, told: &Told) -> bool {
    (record.stream, record.seq) == (told.stream, told.seq)
        && record.header.as_bytes() == told.header
        && record.payload.as_bytes() == told.payload
        && record.dropped == told.dropped.map(|hash| hex(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::StreamKind;

    fn record(position: u64, id: u64, seq: u64) -> EventRecord {
        EventRecord {
            position,
            stream: Stream {
                kind: StreamKind::Task,
                id,
            },
            seq,
            header: format!("h{id}.{seq}"),
            payload: "p".to_owned(),
            dropped: None,
        }
    }

    fn standing(entry: u64, record: &EventRecord) -> Standing {
        Standing {
            entry,
            position: record.position,
            told: Told {
                stream: record.stream,
                seq: record.seq,
                header: record.header.clone().into_bytes(),
                payload: record.payload.clone().into_bytes(),
                dropped: None,
            },
        }
    }

    #[test]
    fn every_way_to_disagree_has_its_name() {
        let stored = [
            record(1, 1, 1),
            record(3, 2, 1),
            record(4, 1, 2),
            record(9, 2, 2),
        ];
        let log = |records: &[EventRecord]| -> Vec<Standing> {
            let numbered = records.iter().zip(1..);
            numbered
                .map(|(record, entry)| standing(entry, record))
                .collect()
        };
        assert_eq!(compare(&stored, &log(&stored)), Agreement::Same);
        assert_eq!(compare(&stored, &log(&stored[..3])), Agreement::Behind(1));
        assert_eq!(compare(&stored, &[]), Agreement::Behind(4));
        let more = [&stored[..], &[record(10, 1, 3)]].concat();
        let ahead = Agreement::Ahead {
            events: 1,
            entry: 5,
        };
        assert_eq!(compare(&stored, &log(&more)), ahead);
        assert_eq!(
            compare(&stored[..2], &log(&stored)),
            Agreement::Ahead {
                events: 2,
                entry: 3
            }
        );
        let differs = |records: &[EventRecord]| match compare(&stored, &log(records)) {
            Agreement::Differs { entry, what } => (entry, what),
            other => panic!("{other:?}"),
        };
        let mut edited = stored.clone();
        edited[1].payload = "q".to_owned();
        assert_eq!(differs(&edited).0, 2);
        let cut = [stored[0].clone(), stored[2].clone(), stored[3].clone()];
        assert!(
            differs(&cut).1.contains("position 3 is missing"),
            "{}",
            differs(&cut).1
        );
        let mut moved = stored.clone();
        moved[2].position = 7;
        assert!(differs(&moved).1.contains("position 4 in the store"));
        let twice = [&stored[..], &stored[3..]].concat();
        assert!(differs(&twice).1.contains("second time"));
        let apart = [stored[0].clone(), record(2, 1, 3)];
        assert!(matches!(
            compare(&stored, &log(&apart)),
            Agreement::Differs { entry: 2, .. }
        ));
    }
}
