//! The texts of plan files.

use std::fmt::Write as _;

use crate::document::Document;

/// The plan that a task starts with.
pub(crate) fn text(document: &Document) -> String {
    let mut text = match document.retry_history.last() {
        Some(last) => {
            let (attempt, max) = (document.retry_count, document.retries_max);
            let from = last.retried_from.or(document.parent);
            let original = from.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
            let auto = if document.auto_retry {
                "enabled"
            } else {
                "disabled"
            };
            format!(
                "# Retry Attempt {attempt}/{max}\n\n**Original Task:** {original}\n\
                 **Previous Error:** {error}\n\n## Task Prompt\n{prompt}\n\n## Retry Strategy\n\
                 This is retry attempt {attempt} of {max}.\nAuto-retry: {auto}\n",
                error = last.error,
                prompt = document.prompt,
            )
        }
        None => format!(
            "# Task: {}\n\n## Prompt\n{}\n",
            document.id, document.prompt
        ),
    };
    if !document.depends_on.is_empty() {
        text.push_str("\n## Dependencies\n");
        for id in &document.depends_on {
            let _ = writeln!(text, "- {id}");
        }
    }
    text
}
