//! Time as the domain sees it: always passed in, never read.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

/// Wall-clock time in Unix milliseconds: for people and for ordering ids, never for leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A time from Unix milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Unix milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

/// RFC 3339 in UTC with milliseconds: `2026-11-20T08:51:31.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a time from the text where it stands.
struct Text;

impl Visitor<'_> for Text {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in UTC, as in 2026-01-01T00:00:00.000Z")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
        if let Some(millis) = as_written(text.as_bytes()) {
            return Ok(Timestamp(millis));
        }
        let time: jiff::Timestamp = text.parse().map_err(E::custom)?;
        Ok(Timestamp(time.as_millisecond()))
    }
}

/// The time of a text in the one form that [`Timestamp`] is written in, of the years 0 to 9999:
/// logs have a million of them.
fn as_written(text: &[u8]) -> Option<i64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    let marks = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    let number = |at: usize, digits: usize| {
        text[at..at + digits].iter().try_fold(0_i64, |sum, byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then(|| sum * 10 + i64::from(digit))
        })
    };
    if marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_time = (1..=12).contains(&month)
        && (1..=last).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = (hour * 60 + minute) * 60 + second;
    is_time.then_some((days(year, month, day) * 86_400 + seconds) * 1_000 + number(20, 3)?)
}

/// Days of the Gregorian calendar since 1970-01-01, for years from 0 on: years are counted from
/// March, so that the leap day is a year's last (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2) + 400;
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era - 1) * 146_097 + day_of_era - 719_468
}

/// One run of the machine's kernel (`/proc/sys/kernel/random/boot_id` on Linux).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

/// A point in time that no change of the wall clock moves: a boot and the milliseconds since it,
/// suspend included (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The boot that the milliseconds count from.
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub millis: u64,
}

impl Moment {
    /// The moment `millis` later.
    #[must_use]
    pub fn plus_millis(&self, millis: u64) -> Self {
        Self {
            boot: self.boot.clone(),
            millis: self.millis.saturating_add(millis),
        }
    }
}

/// What the clock port answers: both clocks, read together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// For people and ids.
    pub wall: Timestamp,
    /// For leases, deadlines and backoff.
    pub moment: Moment,
}

impl Now {
    /// Milliseconds from `earlier` to now, or `None` where that was another boot.
    #[must_use]
    pub fn millis_since(&self, earlier: &Moment) -> Option<u64> {
        (self.moment.boot == earlier.boot)
            .then(|| self.moment.millis.saturating_sub(earlier.millis))
    }

    /// The same distance from both clocks.
    #[must_use]
    pub fn after_millis(&self, millis: u64) -> Due {
        let shift = i64::try_from(millis).unwrap_or(i64::MAX);
        Due {
            wall: Timestamp(self.wall.0.saturating_add(shift)),
            moment: self.moment.plus_millis(millis),
        }
    }
}

/// A time from which something may happen. Within one boot the boot clock decides, so that a
/// changed wall clock moves nothing; after a reboot the wall clock is all that is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Decides after a reboot, and is what people are shown.
    pub wall: Timestamp,
    /// Decides within its boot.
    pub moment: Moment,
}

impl Due {
    /// Milliseconds until it is due; 0 once it is.
    #[must_use]
    pub fn millis_left(&self, now: &Now) -> u64 {
        if self.moment.boot == now.moment.boot {
            self.moment.millis.saturating_sub(now.moment.millis)
        } else {
            u64::try_from(self.wall.0.saturating_sub(now.wall.0)).unwrap_or(0)
        }
    }

    /// Whether it is due.
    #[must_use]
    pub fn has_come(&self, now: &Now) -> bool {
        self.millis_left(now) == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of the years 0 to 9999.
    const RANGE: std::ops::Range<i64> = -62_167_219_200_000..253_402_214_400_000;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in RANGE) {
            let text = Timestamp(millis).to_string();
            prop_assert_eq!(as_written(text.as_bytes()), Some(millis), "{}", text);
        }

        #[test]
        fn what_is_read_quickly_is_what_the_library_reads(
            millis in RANGE,
            at in 0..24_usize,
            with in "[0-9TZ:.+-]",
        ) {
            let mut text = Timestamp(millis).to_string();
            text.replace_range(at..=at, &with);
            if let Some(read) = as_written(text.as_bytes()) {
                let known: jiff::Timestamp = text.parse().unwrap();
                prop_assert_eq!(known.as_millisecond(), read, "{}", text);
            }
        }
    }

    #[test]
    fn every_day_of_a_cycle_and_its_edges() {
        let mut expected = days(1600, 1, 1);
        for year in 1600..2001 {
            for month in 1..=12 {
                let text = |day: i64| format!("{year:04}-{month:02}-{day:02}T00:00:00.000Z");
                let last = (28..=31)
                    .rev()
                    .find(|day| as_written(text(*day).as_bytes()).is_some());
                for day in 1..=last.unwrap() {
                    let read = as_written(text(day).as_bytes());
                    assert_eq!(read, Some(expected * 86_400_000), "{}", text(day));
                    expected += 1;
                }
            }
        }
        assert_eq!(days(1970, 1, 1), 0);
    }
}
