//! What was measured beside what, and whether it is good enough.

use serde_json::{Value, json};

use super::{machine, sample::Series};

/// What a ratio must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// Only told.
    None,
}

/// How a limit was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Kept,
    Missed,
    /// The machine was too busy to say.
    NotJudged,
    /// There is no limit.
    Told,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Missed => "MISSED",
            Self::NotJudged => "not judged",
            Self::Told => "-",
        }
    }
}

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    /// What our number means.
    pub(crate) unit: &'static str,
    pub(crate) ours: f64,
    /// Of the single runs, where there are such: p95, least, processor time, number.
    pub(crate) spread: Option<(f64, f64, f64, usize)>,
    pub(crate) reference: &'static str,
    pub(crate) reference_value: f64,
    pub(crate) limit: Limit,
    /// What has reached the disk when it is done.
    pub(crate) durability: &'static str,
    /// The load while it was measured.
    pub(crate) load: f64,
}

impl Row {
    /// Times of commands against a time.
    pub(crate) fn of_times(
        case: &'static str,
        series: &Series,
        reference: (&'static str, f64),
        limit: Limit,
        durability: &'static str,
    ) -> Self {
        let spread = (
            series.p95_micros(),
            series.min_micros(),
            series.cpu_micros(),
            series.len(),
        );
        Self {
            case,
            unit: "us",
            ours: series.median_micros(),
            spread: Some(spread),
            reference: reference.0,
            reference_value: reference.1,
            limit,
            durability,
            load: machine::load(),
        }
    }

    /// A plain number against a number.
    pub(crate) fn of_number(
        case: &'static str,
        (ours, unit): (f64, &'static str),
        reference: (&'static str, f64),
        limit: Limit,
        durability: &'static str,
    ) -> Self {
        Self {
            case,
            unit,
            ours,
            spread: None,
            reference: reference.0,
            reference_value: reference.1,
            limit,
            durability,
            load: machine::load(),
        }
    }

    pub(crate) fn ratio(&self) -> f64 {
        self.ours / self.reference_value
    }

    pub(crate) fn verdict(&self, may_judge: bool) -> Verdict {
        let kept = match self.limit {
            Limit::None => return Verdict::Told,
            Limit::AtMost(limit) => self.ratio() <= limit,
            Limit::AtLeast(limit) => self.ratio() >= limit,
        };
        match (may_judge, kept) {
            (false, _) => Verdict::NotJudged,
            (true, true) => Verdict::Kept,
            (true, false) => Verdict::Missed,
        }
    }

    fn limit_text(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("<= {limit}"),
            Limit::AtLeast(limit) => format!(">= {limit}"),
            Limit::None => "-".to_owned(),
        }
    }

    fn document(&self, may_judge: bool) -> Value {
        let (limit, at_least) = match self.limit {
            Limit::AtMost(limit) => (Some(limit), Some(false)),
            Limit::AtLeast(limit) => (Some(limit), Some(true)),
            Limit::None => (None, None),
        };
        let spread = self.spread.map(
            |(p95, min, cpu, runs)| json!({ "p95": p95, "min": min, "cpu_us": cpu, "runs": runs }),
        );
        json!({
            "case": self.case, "unit": self.unit, "ours": self.ours, "spread": spread,
            "reference": self.reference, "reference_value": self.reference_value,
            "ratio": self.ratio(), "limit": limit, "at_least": at_least,
            "verdict": self.verdict(may_judge).word(), "durability": self.durability,
            "load1": self.load,
        })
    }
}

/// The report as one document.
pub(crate) fn document(machine: &Value, rows: &[Row], may_judge: bool) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| row.document(may_judge)).collect();
    json!({ "schema": "crewboss.bench/1", "machine": machine, "rows": rows })
}

const HEAD: [&str; 12] = [
    "case",
    "ours",
    "p95",
    "min",
    "cpu",
    "reference",
    "its value",
    "ratio",
    "limit",
    "verdict",
    "load",
    "durability",
];

/// The report for people, as a Markdown table.
pub(crate) fn table(rows: &[Row], may_judge: bool) -> String {
    let mut cells: Vec<Vec<String>> = vec![HEAD.iter().map(|text| (*text).to_owned()).collect()];
    cells.extend(rows.iter().map(|row| line(row, may_judge)));
    let width = |column: usize| {
        let lengths = cells
            .iter()
            .filter_map(|line| Some(line.get(column)?.len()));
        lengths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut lines: Vec<String> = cells.iter().map(|line| joined(line, &widths)).collect();
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    lines.insert(1, joined(&rule, &widths));
    lines.join("\n")
}

fn joined(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    format!("| {} |", padded.join(" | "))
}

fn line(row: &Row, may_judge: bool) -> Vec<String> {
    let own = |value: f64| number(value, row.unit);
    let (p95, min, cpu) = match row.spread {
        Some((p95, min, cpu, _)) => (own(p95), own(min), own(cpu)),
        None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
    };
    vec![
        row.case.to_owned(),
        own(row.ours),
        p95,
        min,
        cpu,
        row.reference.to_owned(),
        own(row.reference_value),
        format!("{:.3}", row.ratio()),
        row.limit_text(),
        row.verdict(may_judge).word().to_owned(),
        format!("{:.1}", row.load),
        row.durability.to_owned(),
    ]
}

fn number(value: f64, unit: &str) -> String {
    match unit {
        "us" => format!("{value:.0} us"),
        "ms" => format!("{value:.1} ms"),
        other => format!("{value:.2} {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, limit: Limit) -> Row {
        Row::of_number("a case", (ours, "us"), ("another", 100.0), limit, "nothing")
    }

    #[test]
    fn a_limit_is_about_the_ratio() {
        assert_eq!(row(120.0, Limit::AtMost(1.2)).verdict(true), Verdict::Kept);
        assert_eq!(
            row(121.0, Limit::AtMost(1.2)).verdict(true),
            Verdict::Missed
        );
        assert_eq!(
            row(24.0, Limit::AtLeast(0.25)).verdict(true),
            Verdict::Missed
        );
        assert_eq!(
            row(24.0, Limit::AtLeast(0.25)).verdict(false),
            Verdict::NotJudged
        );
        assert_eq!(row(24.0, Limit::None).verdict(true), Verdict::Told);
    }

    #[test]
    fn what_was_never_measured_keeps_no_limit() {
        assert_eq!(
            row(f64::NAN, Limit::AtMost(1.0)).verdict(true),
            Verdict::Missed
        );
    }

    #[test]
    fn the_table_has_one_line_for_each_row() {
        let text = table(&[row(120.0, Limit::AtMost(1.2))], true);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("| a case | 120 us |"), "{text}");
    }
}
