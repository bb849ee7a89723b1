//! File names from git, for people: bytes that are no UTF-8 become octal escapes.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::PathBuf};

/// The name as it is where it is UTF-8 and does not begin with a double quote, else quoted.
pub(crate) fn shown(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) if !text.starts_with('"') => text.to_owned(),
        _ => quoted(name),
    }
}

fn quoted(name: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in name {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b'\n' => text.push_str("\\n"),
            0x20..=0x7e => text.push(char::from(*byte)),
            other => text.push_str(&octal(*other)),
        }
    }
    text.push('"');
    text
}

fn octal(byte: u8) -> String {
    format!("\\{byte:03o}")
}

/// The name as a relative path.
pub(crate) fn path(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn only_what_must_be_quoted_is() {
        assert_eq!(shown(b"a\nb c"), "a\nb c");
        assert_eq!(shown("\u{e9}".as_bytes()), "\u{e9}");
        assert_eq!(shown(b"\xff\"\n"), "\"\\377\\\"\\n\"");
        assert_eq!(shown(b"\"x\""), "\"\\\"x\\\"\"");
    }
}
