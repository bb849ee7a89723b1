//! Reads task files, whoever wrote them: generous about forms, strict about ids.

use domain::{id::TaskId, time::Timestamp};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::{
    document::{Attempt, Document, Word},
    layout::Layout,
    places, time,
};

/// A file larger than this is no task: prompts are a few kilobytes, histories shorter.
pub(crate) const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Why a file is no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
    /// It is cut off, or never was JSON.
    #[error("it is no JSON object: {0}")]
    NoObject(String),
    /// A key without which there is no task.
    #[error("`{0}` is missing or of the wrong form")]
    Key(&'static str),
    /// It says that it is another task.
    #[error("it describes {0}")]
    OtherTask(String),
}

/// A task file, and what in it is not used although it is there.
///
/// # Errors
/// Where it is none.
pub fn read_document(
    layout: Layout,
    id: TaskId,
    bytes: &[u8],
) -> Result<(Document, Vec<String>), Unreadable> {
    read_in_zone(layout, id, bytes, &TimeZone::system())
}

pub(crate) fn read_in_zone(
    layout: Layout,
    id: TaskId,
    bytes: &[u8],
    zone: &TimeZone,
) -> Result<(Document, Vec<String>), Unreadable> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Empty);
    }
    let keys: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| Unreadable::NoObject(error.to_string()))?;
    Reader {
        layout,
        id,
        keys,
        zone,
        warnings: vec![],
    }
    .document()
}

struct Reader<'a> {
    layout: Layout,
    id: TaskId,
    keys: Map<String, Value>,
    zone: &'a TimeZone,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn document(mut self) -> Result<(Document, Vec<String>), Unreadable> {
        match self.take("taskId") {
            Some(Value::String(named)) if named == self.id.to_string() => {}
            Some(Value::String(named)) => {
                return Err(Unreadable::OtherTask(
                    named.escape_debug().take(60).collect(),
                ));
            }
            _ => return Err(Unreadable::Key("taskId")),
        }
        self.refuse_foreign_path("planFile", &places::shown_plan(self.layout, self.id));
        self.refuse_foreign_path("logFile", &places::shown_log(self.layout, self.id));
        let status = self.status()?;
        let created_at = self.created_at()?;
        let document = Document {
            id: self.id,
            status,
            agent: self.text("agent").ok_or(Unreadable::Key("agent"))?,
            prompt: self.text("prompt").ok_or(Unreadable::Key("prompt"))?,
            created_at,
            started_at: self.time("startedAt"),
            completed_at: self.time("completedAt"),
            timed_out_at: self.time("timedOutAt"),
            retried_at: self.time("retriedAt"),
            pid: self.number("pid").filter(|pid| *pid > 0),
            error_message: self.text("errorMessage"),
            retry_count: self.number("retryCount").unwrap_or(0),
            retries_max: self.number("maxRetries").unwrap_or(3),
            auto_retry: self.flag("autoRetry"),
            retry_history: self.history(),
            parent: self.id_of("parentTaskId"),
            retried_by: self.id_of("retriedBy"),
            priority: self.priority(),
            timeout: self.number("timeout").filter(|seconds| *seconds > 0),
            timeout_warning: self.number("timeoutWarning"),
            depends_on: self.ids("dependsOn"),
            blocked_by: self.id_of("blockedBy"),
            blocked_reason: self.text("blockedReason"),
            extra: self.keys,
        };
        Ok((document, self.warnings))
    }

    /// Takes a key out, so that what is left at the end are the keys of others.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.keys.shift_remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn number(&mut self, key: &str) -> Option<u32> {
        number(&self.take(key)?)
    }

    fn flag(&mut self, key: &str) -> bool {
        match self.take(key) {
            Some(Value::Bool(flag)) => flag,
            Some(Value::String(word)) => word.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    fn time(&mut self, key: &'static str) -> Option<Timestamp> {
        let text = self.text(key)?;
        let parsed = time::parse(&text, self.zone);
        if parsed.is_none() {
            let shown: String = text.escape_debug().take(40).collect();
            self.warnings
                .push(format!("`{key}` is no time and is ignored: {shown}"));
        }
        parsed
    }

    fn status(&mut self) -> Result<Word, Unreadable> {
        let text = self.text("status").ok_or(Unreadable::Key("status"))?;
        let found = Word::ALL.into_iter().find(|word| word.as_str() == text);
        match (found, text.as_str()) {
            (Some(word), _) => Ok(word),
            (None, "completed") => Ok(Word::Complete),
            (None, "blocked") => Ok(Word::Pending),
            (None, _) => Err(Unreadable::Key("status")),
        }
    }

    /// Where it is missing, the id tells: it is a time in milliseconds.
    fn created_at(&mut self) -> Result<Timestamp, Unreadable> {
        if let Some(time) = self.time("createdAt") {
            return Ok(time);
        }
        let millis = i64::try_from(self.id.number()).map_err(|_| Unreadable::Key("createdAt"))?;
        let plausible = (100_000_000_000..10_000_000_000_000).contains(&millis);
        Ok(Timestamp::from_millis(if plausible { millis } else { 0 }))
    }

    fn priority(&mut self) -> u8 {
        let given = self.take("priority").as_ref().and_then(signed);
        let Some(given) = given else { return 5 };
        let clamped = given.clamp(1, 10);
        if clamped != given {
            self.warnings.push(format!(
                "priority {given} is not 1 to 10 and counts as {clamped}"
            ));
        }
        u8::try_from(clamped).unwrap_or(5)
    }

    fn id_of(&mut self, key: &str) -> Option<TaskId> {
        self.text(key)?.parse().ok()
    }

    fn ids(&mut self, key: &str) -> Vec<TaskId> {
        let Some(Value::Array(values)) = self.take(key) else {
            return vec![];
        };
        values
            .iter()
            .filter_map(|value| value.as_str()?.parse().ok())
            .collect()
    }

    fn history(&mut self) -> Vec<Attempt> {
        let Some(Value::Array(values)) = self.take("retryHistory") else {
            return vec![];
        };
        values
            .into_iter()
            .filter_map(|value| self.attempt(value))
            .collect()
    }

    fn attempt(&self, value: Value) -> Option<Attempt> {
        let Value::Object(keys) = value else {
            return None;
        };
        let text = |key: &str| keys.get(key).and_then(Value::as_str);
        Some(Attempt {
            attempt: keys.get("attempt").and_then(number)?,
            timestamp: text("timestamp").and_then(|text| time::parse(text, self.zone)),
            error: text("error").unwrap_or("").to_owned(),
            retried_from: text("retriedFrom").and_then(|id| id.parse().ok()),
        })
    }

    /// Paths are never taken from a file; one that is not what it has to be is worth a word.
    fn refuse_foreign_path(&mut self, key: &'static str, own: &str) {
        let Some(given) = self.take(key) else { return };
        let given = given.as_str().unwrap_or("?").replace('\\', "/");
        if given != own && !given.ends_with(&format!("/{own}")) {
            let shown: String = given.escape_debug().take(60).collect();
            self.warnings
                .push(format!("`{key}` is refused: {shown} is not {own}"));
        }
    }
}

fn signed(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
            let whole = (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
            whole
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(signed(value)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> TaskId {
        "task_1764547200000".parse().unwrap()
    }

    fn read(json: &str) -> Result<(Document, Vec<String>), Unreadable> {
        read_in_zone(Layout::Orchestra, id(), json.as_bytes(), &TimeZone::UTC)
    }

    const SAMPLE: &str = r#"{
  "taskId": "task_1764547200000", "status": "running", "agent": "coder", "prompt": "x",
  "planFile": ".orchestra/plans/task_1764547200000_plan.md",
  "logFile": ".orchestra/logs/task_1764547200000.log",
  "createdAt": "2025-12-01T00:00:00Z", "startedAt": "2025-12-01T00:00:01.5", "pid": "12345",
  "retryHistory": [{"attempt": 1, "timestamp": "2025-12-01T00:00:00Z", "error": "e",
    "retriedFrom": "task_5"}],
  "priority": 99, "timeout": 3600, "timeoutWarning": 60, "x-tool": {"deep": [1, 2]}
}"#;

    #[test]
    fn the_documented_sample_is_read() {
        let (document, warnings) = read(SAMPLE).unwrap();
        assert_eq!((document.pid, document.priority), (Some(12345), 10));
        assert_eq!(document.created_at.to_string(), "2025-12-01T00:00:00.000Z");
        assert_eq!(
            document.started_at.unwrap().to_string(),
            "2025-12-01T00:00:01.500Z"
        );
        assert_eq!(document.retry_history.len(), 1);
        assert_eq!(document.retries_max, 3);
        assert_eq!(document.extra.keys().collect::<Vec<_>>(), ["x-tool"]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn byte_order_marks_and_line_ends_do_not_matter() {
        let plain = read(SAMPLE).unwrap();
        assert_eq!(
            read(&format!("\u{feff}{}", SAMPLE.replace('\n', "\r\n"))).unwrap(),
            plain
        );
    }

    #[test]
    fn what_is_no_task_says_why() {
        assert_eq!(read(" \n"), Err(Unreadable::Empty));
        assert!(matches!(read(&SAMPLE[..90]), Err(Unreadable::NoObject(_))));
        assert!(matches!(read("[1]"), Err(Unreadable::NoObject(_))));
        assert!(matches!(
            read(&"[".repeat(100_000)),
            Err(Unreadable::NoObject(_))
        ));
        assert_eq!(read("{}"), Err(Unreadable::Key("taskId")));
        let other = SAMPLE.replace("task_1764547200000\",", "task_2\",");
        assert_eq!(
            read(&other),
            Err(Unreadable::OtherTask("task_2".to_owned()))
        );
        let word = SAMPLE.replace("\"running\"", "\"asleep\"");
        assert_eq!(read(&word), Err(Unreadable::Key("status")));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused_and_named() {
        let (_, warnings) = read(&SAMPLE.replace(".orchestra/logs", "../..")).unwrap();
        assert!(
            warnings
                .iter()
                .any(|w| w.starts_with("`logFile` is refused")),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_is_written_has_every_key_in_order() {
        let (document, _) = read(SAMPLE).unwrap();
        let text = String::from_utf8(document.render(Layout::Orchestra)).unwrap();
        assert!(text.starts_with("{\n  \"taskId\": \"task_1764547200000\",\n  \"status\": "));
        assert!(text.ends_with("\n}"), "no newline at the end");
        let keys: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let expected = "taskId status agent prompt planFile logFile createdAt startedAt \
            completedAt timedOutAt retriedAt pid errorMessage retryCount maxRetries autoRetry \
            retryHistory parentTaskId retriedBy priority timeout timeoutWarning dependsOn \
            blockedBy blockedReason x-tool";
        let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
        assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
        let older = String::from_utf8(document.render(Layout::Gemini)).unwrap();
        assert!(!older.contains("dependsOn"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z_0-9/.\\\\\"\n\u{e9}]{0,12}".prop_map(Value::from),
            Just(Value::from("task_7")),
            Just(Value::from("2025-12-01T00:00:00Z")),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    const KNOWN: &[&str] = &[
        "status",
        "agent",
        "prompt",
        "planFile",
        "logFile",
        "createdAt",
        "startedAt",
        "completedAt",
        "timedOutAt",
        "retriedAt",
        "pid",
        "errorMessage",
        "retryCount",
        "maxRetries",
        "autoRetry",
        "retryHistory",
        "parentTaskId",
        "retriedBy",
        "priority",
        "timeout",
        "timeoutWarning",
        "dependsOn",
        "blockedBy",
        "blockedReason",
    ];

    proptest! {
        /// Whatever stands under any key, reading ends in a document or a reason; and a document
        /// that was written is read back as it was, with the keys of others.
        #[test]
        fn hostile_values_never_break_and_documents_round_trip(
            values in prop::collection::vec(value(), KNOWN.len()),
            extra in prop::collection::btree_map("x[a-zA-Z]{1,8}", value(), 0..4),
            has_base in any::<bool>(),
        ) {
            let mut keys = Map::new();
            keys.insert("taskId".to_owned(), id().to_string().into());
            for (key, value) in KNOWN.iter().zip(values) {
                keys.insert((*key).to_owned(), value);
            }
            if has_base {
                keys.insert("status".to_owned(), "failed".into());
                keys.insert("agent".to_owned(), "a".into());
                keys.insert("prompt".to_owned(), "p {taskId} \" \\ \u{7f}".into());
            }
            keys.extend(extra.clone());
            let bytes = serde_json::to_vec(&keys).unwrap();
            if let Ok((document, _)) = read_in_zone(Layout::Orchestra, id(), &bytes, &TimeZone::UTC) {
                for key in extra.keys() {
                    prop_assert!(document.extra.contains_key(key));
                }
                let written = document.render(Layout::Orchestra);
                let (back, _) = read_in_zone(Layout::Orchestra, id(), &written, &TimeZone::UTC).unwrap();
                prop_assert_eq!(&back.render(Layout::Orchestra), &written);
                prop_assert_eq!(back, document);
            } else {
                prop_assert!(!has_base);
            }
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read_in_zone(Layout::Gemini, id(), &bytes, &TimeZone::UTC));
        }
    }
}
