//! The store by itself, without processes around it. Told, not judged.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    Tools,
    report::{Limit, Row},
};
use crate::shell;

const DURABLE: &str = "WAL, synchronous=FULL";

pub(crate) fn rows(tools: &Tools) -> Result<Vec<Row>> {
    let folder = shell::target().join("bench");
    let printed = shell::output(shell::program(&tools.store_speed).arg("port").arg(folder))?;
    let found: Value = serde_json::from_str(&printed).context("it prints JSON")?;
    let of = |name: &str| {
        let value = found.get(name).and_then(Value::as_f64);
        value.with_context(|| format!("it measures {name}"))
    };
    let row = |case, value, reference| Row::of_number(case, value, reference, Limit::None, DURABLE);
    let syncs = ("4 KiB append + fdatasync", of("append_per_second")?);
    let latency = ("4 KiB append + fdatasync", of("append_us")?);
    Ok(vec![
        row("port: create, 1 caller", (of("create_us")?, "us"), latency),
        row(
            "port: create, 100 callers",
            (of("creates_per_second")?, "/s"),
            syncs,
        ),
        row(
            "port: claim, 100 callers",
            (of("claims_per_second")?, "/s"),
            syncs,
        ),
    ])
}
