//! Where each stream's chain has got to, for the streams met lately.

use std::collections::HashMap;

use crate::event::{Hash, Stream};

/// Streams of one generation; with two of them some 12 MB.
const KEPT: usize = 65_536;

/// Two generations: the older is forgotten when the younger is full.
#[derive(Debug, Default)]
pub(super) struct Streams {
    young: HashMap<Stream, (u64, Hash)>,
    old: HashMap<Stream, (u64, Hash)>,
}

impl Streams {
    pub(super) fn get(&self, stream: Stream) -> Option<(u64, Hash)> {
        let found = self.young.get(&stream).or_else(|| self.old.get(&stream));
        found.copied()
    }

    pub(super) fn set(&mut self, stream: Stream, seq: u64, hash: Hash) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream, (seq, hash));
    }
}

#[test]
fn what_was_met_lately_is_known() {
    let mut streams = Streams::default();
    let stream = |id| Stream {
        kind: crate::event::StreamKind::Task,
        id,
    };
    for id in 0..3 * KEPT as u64 {
        streams.set(stream(id), id, [0; 32]);
    }
    assert_eq!(streams.get(stream(2)), None);
    let last = 3 * KEPT as u64 - 1;
    assert_eq!(streams.get(stream(last)), Some((last, [0; 32])));
}
