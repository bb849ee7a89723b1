//! What the papers in a task's folder said when they were last kept, from the task's events.

use std::collections::BTreeMap;

use domain::{
    id::TaskId,
    task::{Paper, TaskEvent},
};

use crate::{
    error::Error,
    event::{Stream, StreamKind},
    ports::store::Reader,
};

/// A longer paper lives in its folder alone.
pub const PAPER_BYTES_MAX: usize = 4 << 20;

/// Events that are read in one go.
const PAGE: usize = 256;

/// What papers say.
pub type Papers = BTreeMap<Paper, String>;

/// What the papers of a task said when they were last kept.
///
/// # Errors
/// Where the store cannot be read.
pub fn kept(reader: &dyn Reader, task: TaskId) -> Result<Papers, Error> {
    let stream = Stream {
        kind: StreamKind::Task,
        id: task.number(),
    };
    let (mut papers, mut after) = (Papers::new(), 0);
    loop {
        let entries = reader.events(Some(stream), after, PAGE)?;
        for entry in &entries {
            after = entry.position;
            apply(&mut papers, &entry.payload);
        }
        if entries.len() < PAGE {
            return Ok(papers);
        }
    }
}

/// What papers say after an event of their task's stream.
pub fn apply(papers: &mut Papers, payload: &[u8]) {
    if !payload.starts_with(br#"{"type":"paper_kept""#) {
        return;
    }
    if let Ok(TaskEvent::PaperKept { paper, base, text }) = serde_json::from_slice(payload) {
        let kept = papers.entry(paper).or_default();
        let base = usize::try_from(base).unwrap_or(usize::MAX);
        if kept.is_char_boundary(base) {
            kept.truncate(base);
        }
        kept.push_str(&text);
    }
}

/// So many bytes at the beginning are the same.
pub(crate) fn common(before: &str, after: &str) -> usize {
    let same = before
        .chars()
        .zip(after.chars())
        .take_while(|(one, other)| one == other);
    same.map(|(one, _)| one.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paper_is_what_its_events_say_one_after_the_other() {
        let mut papers = Papers::new();
        let mut now = String::new();
        for text in ["# A\n", "# A\n\nmore ä", "# A\n\nmore ö and", "", "new"] {
            let base = common(&now, text);
            let event = TaskEvent::PaperKept {
                paper: Paper::Decisions,
                base: base as u64,
                text: text[base..].to_owned(),
            };
            apply(&mut papers, &serde_json::to_vec(&event).unwrap());
            assert_eq!(papers[&Paper::Decisions], text);
            text.clone_into(&mut now);
        }
    }
}
