//! Spans of time as people write them, and as they type them.

/// `30s`, `1m 30s`, `5m`, `1h 1m`, `2h`, `1d 3h`: the two largest units, zeros left out.
pub(crate) fn text(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units
        .iter()
        .position(|(size, _)| seconds >= *size)
        .unwrap_or(3);
    let (size, name) = units[first];
    let head = format!("{}{name}", seconds / size);
    match units
        .get(first + 1)
        .map(|(size, name)| (seconds % units[first].0 / size, name))
    {
        Some((rest, name)) if rest > 0 => format!("{head} {rest}{name}"),
        Some(_) | None => head,
    }
}

/// The same of milliseconds, exact below a second.
pub(crate) fn of_millis(millis: u64) -> String {
    if millis < 1_000 {
        format!("{millis}ms")
    } else {
        text(millis / 1_000)
    }
}

/// Seconds from `90`, `30s`, `5m`, `1h30m`, `2d`.
pub(crate) fn parse(input: &str) -> Result<u32, String> {
    let wrong = || {
        format!(
            "`{}` is no time: expected seconds, or 30s, 5m, 1h30m, 2d",
            input.escape_debug()
        )
    };
    let mut total: u64 = 0;
    let mut digits = String::new();
    for character in input.trim().chars() {
        if character.is_ascii_digit() {
            digits.push(character);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            ' ' if digits.is_empty() => continue,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(unit)
            .and_then(|n| n.checked_add(total))
            .ok_or_else(wrong)?;
        digits.clear();
    }
    if !digits.is_empty() {
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        total = total.checked_add(number).ok_or_else(wrong)?;
    } else if total == 0 && !input.trim().starts_with('0') {
        return Err(wrong());
    }
    u32::try_from(total).map_err(|_| wrong())
}

/// As [`parse`], and never nothing.
pub(crate) fn parse_positive(input: &str) -> Result<u32, String> {
    match parse(input)? {
        0 => Err("it is at least 1 second".to_owned()),
        seconds => Ok(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_and_no_zeros() {
        for (seconds, expected) in [
            (0, "0s"),
            (30, "30s"),
            (90, "1m 30s"),
            (300, "5m"),
            (3_660, "1h 1m"),
            (7_200, "2h"),
            (7_201, "2h"),
            (86_400, "1d"),
            (97_200, "1d 3h"),
        ] {
            assert_eq!(text(seconds), expected);
        }
    }

    #[test]
    fn seconds_and_units_are_read() {
        for (input, seconds) in [
            ("90", 90),
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5_400),
            ("1h 30", 3_630),
            ("2d", 172_800),
        ] {
            assert_eq!(parse(input), Ok(seconds), "{input}");
        }
        for input in [
            "",
            "x",
            "5x",
            "m",
            "-1",
            "1.5",
            "99999999999",
            "99999999999d",
        ] {
            assert!(parse(input).is_err(), "{input}");
        }
        assert!(parse_positive("0").is_err());
    }
}
