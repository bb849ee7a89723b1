//! How things look: durations, symbols, tables and JSON documents.

pub(crate) mod document;
pub(crate) mod duration;
pub(crate) mod symbols;
pub(crate) mod table;
pub(crate) mod task_details;
pub(crate) mod task_table;
pub(crate) mod transcript;

use domain::{id::Key, task::Task};

/// Text on one line, cut to so many characters.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars) {
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
        None => line,
    }
}

/// A task's id, and its key where it has one: `task_1 [nightly]`.
pub(crate) fn named(task: &Task) -> String {
    with_key(task.id, task.spec.key.as_ref())
}

/// The same of its parts.
pub(crate) fn with_key(id: impl std::fmt::Display, key: Option<&Key>) -> String {
    match key {
        Some(key) => format!("{id} [{key}]"),
        None => id.to_string(),
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// The first so many, and how many more: `a, b and 3 more`.
pub(crate) fn some_of<T: std::fmt::Display>(items: &[T], shown: usize) -> String {
    let list = items
        .iter()
        .take(shown)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    match items.len().saturating_sub(shown) {
        0 => list,
        more => format!("{list}, ... and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(cut("a  b\nc", 40), "a b c");
        assert_eq!(cut("äöü", 2), "äö...");
        assert_eq!(some_of(&[1, 2, 3], 5), "1, 2, 3");
        assert_eq!(some_of(&[1, 2, 3], 2), "1, 2, ... and 1 more");
    }
}
