//! Times as the layout's tools write them.

use domain::time::Timestamp;
use jiff::{civil::DateTime, tz::TimeZone};

/// A time with an offset or `Z`, or a naive one, which is local.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(time.as_millisecond()));
    }
    let local: DateTime = text.parse().ok()?;
    let time = local.to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_millis(time.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, utc) in [
            ("2025-12-01T00:00:00Z", "2025-12-01T00:00:00.000Z"),
            ("2025-12-01T01:00:00+01:00", "2025-12-01T00:00:00.000Z"),
            ("2026-11-20T06:55:43.764493", "2026-11-20T04:55:43.764Z"),
            ("2026-11-20 06:55:43", "2026-11-20T04:55:43.000Z"),
        ] {
            let parsed = parse(text, &zone).map(|time| time.to_string());
            assert_eq!(parsed.as_deref(), Some(utc));
        }
        for text in ["", "yesterday", "2025-13-01T00:00:00Z", "12345"] {
            assert_eq!(parse(text, &zone), None, "{text}");
        }
    }
}
