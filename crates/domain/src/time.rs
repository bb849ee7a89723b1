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
        let time: jiff::Timestamp = text.parse().map_err(E::custom)?;
        Ok(Timestamp(time.as_millisecond()))
    }
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
