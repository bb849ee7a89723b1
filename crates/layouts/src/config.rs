//! `config.json`: when ended tasks are archived.

use serde_json::{Map, Value};

use crate::layout::Layout;

/// The `archive` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// Whether the daemon archives, and `archive` without `--force`.
    pub enabled: bool,
    /// Days that a completed task stays.
    pub max_completed_age_days: u32,
    /// Days that a failed or cancelled task stays.
    pub max_failed_age_days: u32,
    /// Tasks above which a warning is given.
    pub max_queue_size: u32,
    /// Where they go.
    pub archive_dir: String,
}

/// Why a key cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It is not of the form `archive.<name>`.
    #[error("Invalid key '{0}'")]
    InvalidKey(String),
    /// There is no such key.
    #[error("Unknown key '{0}'")]
    UnknownKey(String),
    /// It takes true or false.
    #[error("Invalid boolean value '{0}'")]
    InvalidBoolean(String),
    /// It takes a number from 0.
    #[error("Invalid integer value '{0}'")]
    InvalidInteger(String),
    /// It would lead out of the layout's folder.
    #[error("Invalid folder '{given}': only {only}")]
    InvalidFolder {
        /// What was asked for.
        given: String,
        /// What is possible.
        only: String,
    },
    /// The file is no JSON object.
    #[error("the file is no JSON object")]
    Unreadable,
}

impl ArchiveConfig {
    /// The documented defaults.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            enabled: false,
            max_completed_age_days: 7,
            max_failed_age_days: 14,
            max_queue_size: 100,
            archive_dir: archive_dir(layout),
        }
    }

    /// A file; what is missing or of the wrong form is as by default.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] where it is no JSON object.
    pub fn read(layout: Layout, bytes: &[u8]) -> Result<Self, ConfigError> {
        let keys = object(bytes)?;
        let section = keys.get("archive").and_then(Value::as_object);
        let value = |key: &str| section.and_then(|section| section.get(key));
        let number = |key: &str, default: u32| {
            let given = value(key).and_then(Value::as_u64);
            given
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(default)
        };
        let default = Self::new(layout);
        Ok(Self {
            enabled: value("enabled")
                .and_then(Value::as_bool)
                .unwrap_or(default.enabled),
            max_completed_age_days: number(
                "max_completed_age_days",
                default.max_completed_age_days,
            ),
            max_failed_age_days: number("max_failed_age_days", default.max_failed_age_days),
            max_queue_size: number("max_queue_size", default.max_queue_size),
            archive_dir: default.archive_dir,
        })
    }

    /// The file, with the keys of others that `before` holds.
    #[must_use]
    pub fn render(&self, before: Option<&[u8]>) -> Vec<u8> {
        let mut keys = before
            .and_then(|bytes| object(bytes).ok())
            .unwrap_or_default();
        let mut section = Map::new();
        for (key, value) in self.entries() {
            section.insert(key.to_owned(), value);
        }
        if let Some(Value::Object(old)) = keys.get("archive") {
            for (key, value) in old {
                section.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        keys.insert("archive".to_owned(), Value::Object(section));
        serde_json::to_vec_pretty(&keys).expect("a map of plain values")
    }

    fn entries(&self) -> [(&'static str, Value); 5] {
        [
            ("enabled", self.enabled.into()),
            ("max_completed_age_days", self.max_completed_age_days.into()),
            ("max_failed_age_days", self.max_failed_age_days.into()),
            ("max_queue_size", self.max_queue_size.into()),
            ("archive_dir", self.archive_dir.clone().into()),
        ]
    }

    /// The lines of `config show`: `archive.enabled: False` and so on.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let shown = |value: Value| match value {
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        self.entries()
            .map(|(key, value)| format!("archive.{key}: {}", shown(value)))
            .into()
    }

    /// Sets one key from text.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong; nothing is changed then.
    pub fn set(&mut self, layout: Layout, key: &str, value: &str) -> Result<(), ConfigError> {
        let name = key
            .strip_prefix("archive.")
            .ok_or_else(|| ConfigError::InvalidKey(key.to_owned()))?;
        let number = || {
            value
                .trim()
                .parse()
                .map_err(|_| ConfigError::InvalidInteger(value.to_owned()))
        };
        match name {
            "enabled" => self.enabled = boolean(value)?,
            "max_completed_age_days" => self.max_completed_age_days = number()?,
            "max_failed_age_days" => self.max_failed_age_days = number()?,
            "max_queue_size" => self.max_queue_size = number()?,
            "archive_dir" if value == archive_dir(layout) => {}
            "archive_dir" => {
                let (given, only) = (value.to_owned(), archive_dir(layout));
                return Err(ConfigError::InvalidFolder { given, only });
            }
            _ => return Err(ConfigError::UnknownKey(key.to_owned())),
        }
        Ok(())
    }
}

fn archive_dir(layout: Layout) -> String {
    format!("{}/{}", layout.base(), crate::places::ARCHIVE)
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|_| ConfigError::Unreadable)
}

fn boolean(text: &str) -> Result<bool, ConfigError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(ConfigError::InvalidBoolean(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_is_the_documented_one() {
        let text = String::from_utf8(ArchiveConfig::new(Layout::Orchestra).render(None)).unwrap();
        let compact: String = text.split_whitespace().collect();
        assert_eq!(
            compact,
            "{\"archive\":{\"enabled\":false,\"max_completed_age_days\":7,\
             \"max_failed_age_days\":14,\"max_queue_size\":100,\
             \"archive_dir\":\".orchestra/archive\"}}"
        );
    }

    #[test]
    fn keys_are_set_one_by_one_and_those_of_others_stay() {
        let file = b"{\"x\": 1, \"archive\": {\"y\": 2, \"max_queue_size\": 7}}";
        let mut config = ArchiveConfig::read(Layout::Gemini, file).unwrap();
        assert_eq!(config.max_queue_size, 7);
        config
            .set(Layout::Gemini, "archive.enabled", "True")
            .unwrap();
        let text = String::from_utf8(config.render(Some(file))).unwrap();
        assert!(
            text.contains("\"x\": 1") && text.contains("\"y\": 2"),
            "{text}"
        );
        assert_eq!(config.lines()[0], "archive.enabled: True");
        let before = config.clone();
        for (key, value, problem) in [
            ("bogus", "1", "Invalid key 'bogus'"),
            ("archive.bogus", "1", "Unknown key 'archive.bogus'"),
            ("archive.enabled", "maybe", "Invalid boolean value 'maybe'"),
            ("archive.max_queue_size", "-1", "Invalid integer value '-1'"),
        ] {
            let error = config.set(Layout::Gemini, key, value).unwrap_err();
            assert_eq!(error.to_string(), problem);
        }
        config
            .set(Layout::Gemini, "archive.archive_dir", "../x")
            .unwrap_err();
        assert_eq!(config, before);
        ArchiveConfig::read(Layout::Gemini, b"nope").unwrap_err();
    }
}
