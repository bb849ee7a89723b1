//! Values as they are written, and the types that they become.

use std::fmt;

use domain::workspace::WorkspaceMode;

/// A value as a file, a variable or a flag gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Raw {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
    /// Anything else, by its kind.
    Other(&'static str),
}

impl Raw {
    /// What a variable or a flag says: a truth value or a number where it looks like one.
    pub(crate) fn of_text(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => return Self::Bool(true),
            "false" | "no" | "off" => return Self::Bool(false),
            _ => {}
        }
        match text.replace('_', "").parse() {
            Ok(number) => Self::Int(number),
            Err(_) => Self::Text(text.to_owned()),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Text(value) => format!("\"{}\"", value.escape_debug()),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }
}

/// As TOML.
impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// A type that a key may have.
pub(crate) trait Setting: Sized {
    /// What is expected, in words.
    const KIND: &'static str;
    /// The value, or nothing where the raw one does not fit.
    fn from_raw(raw: &Raw) -> Option<Self>;
    /// The value as it would be written; none where nothing is set.
    fn to_raw(&self) -> Option<Raw>;

    /// The value, or what would be right.
    fn read(raw: &Raw) -> Result<Self, String> {
        Self::from_raw(raw).ok_or_else(|| format!("{} is no {}", raw.shown(), Self::KIND))
    }
}

impl Setting for bool {
    const KIND: &'static str = "truth value: expected true or false";
    fn from_raw(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Bool(value) => Some(*value),
            Raw::Int(_) | Raw::Text(_) | Raw::Other(_) => None,
        }
    }
    fn to_raw(&self) -> Option<Raw> {
        Some(Raw::Bool(*self))
    }
}

macro_rules! whole_numbers {
    ($($type:ty = $kind:literal),*) => {$(
        impl Setting for $type {
            const KIND: &'static str = $kind;
            fn from_raw(raw: &Raw) -> Option<Self> {
                match raw {
                    Raw::Int(value) => Self::try_from(*value).ok(),
                    Raw::Bool(_) | Raw::Text(_) | Raw::Other(_) => None,
                }
            }
            fn to_raw(&self) -> Option<Raw> {
                i64::try_from(*self).ok().map(Raw::Int)
            }
        }
    )*};
}
whole_numbers!(
    u32 = "number: expected a whole number from 0 to 4294967295",
    u64 = "number: expected a whole number from 0"
);

impl Setting for String {
    const KIND: &'static str = "text: expected text in quotes";
    fn from_raw(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(value) => Some(value.clone()),
            Raw::Bool(_) | Raw::Int(_) | Raw::Other(_) => None,
        }
    }
    fn to_raw(&self) -> Option<Raw> {
        Some(Raw::Text(self.clone()))
    }
}

impl Setting for WorkspaceMode {
    const KIND: &'static str = "workspace: expected one of worktree, in-place, folder";
    fn from_raw(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(word) => word.parse().ok(),
            Raw::Bool(_) | Raw::Int(_) | Raw::Other(_) => None,
        }
    }
    fn to_raw(&self) -> Option<Raw> {
        Some(Raw::Text(self.as_str().to_owned()))
    }
}

/// An empty text takes a value back.
impl<T: Setting> Setting for Option<T> {
    const KIND: &'static str = T::KIND;
    fn from_raw(raw: &Raw) -> Option<Self> {
        match raw {
            Raw::Text(text) if text.is_empty() => Some(None),
            raw => T::from_raw(raw).map(Some),
        }
    }
    fn to_raw(&self) -> Option<Raw> {
        self.as_ref().and_then(Setting::to_raw)
    }
}
