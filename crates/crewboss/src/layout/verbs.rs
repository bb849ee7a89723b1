//! Verbs that mean something else in a layout: its index, its configuration, its dependencies as
//! the files have them.

use std::collections::BTreeMap;

use domain::{graph::find_cycle, id::TaskId};
use layouts::{ArchiveConfig, ConfigError, Drift, Layout, LayoutFolders};
use serde_json::json;

use super::folders_of;
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::symbols::Symbol,
};

/// Ids that a difference names.
const NAMED: usize = 5;

pub(crate) fn index_rebuild(context: &Context, layout: Layout) -> Outcome {
    let out = &context.out;
    out.line("Rebuilding task index...")?;
    let index = folders_of(context, layout)?.rebuild_index(&context.places.project)?;
    let (sign, count) = (Symbol::Check.text(out.unicode), index.count());
    out.line(format_args!("{sign} Index rebuilt with {count} tasks"))?;
    out.document("index_rebuild", &json!({ "tasks": count }))?;
    Ok(Exit::Ok)
}

pub(crate) fn index_stats(context: &Context, layout: Layout) -> Outcome {
    let out = &context.out;
    let index = folders_of(context, layout)?.index(&context.places.project)?;
    let [statuses, agents, priorities] = index.sizes();
    out.line("Task Index Statistics:")?;
    out.line(format_args!("Total tasks: {}", index.count()))?;
    for (title, prefix, sizes) in [
        ("By Status", "", &statuses),
        ("By Agent", "", &agents),
        ("By Priority", "Priority ", &priorities),
    ] {
        out.line(format_args!("\n{title}:"))?;
        for (name, number) in sizes {
            out.line(format_args!("  {prefix}{name}: {number}"))?;
        }
    }
    let map = |sizes: &[(String, usize)]| sizes.iter().cloned().collect::<BTreeMap<_, _>>();
    let body = json!({
        "total": index.count(), "by_status": map(&statuses), "by_agent": map(&agents),
        "by_priority": map(&priorities),
    });
    out.document("index_stats", &body)?;
    Ok(Exit::Ok)
}

pub(crate) fn index_verify(context: &Context, layout: Layout) -> Outcome {
    let out = &context.out;
    let drift = folders_of(context, layout)?.verify_index(&context.places.project)?;
    let body = json!({
        "consistent": drift.is_none(), "missing": drift.missing, "extra": drift.extra,
    });
    out.document("index_verify", &body)?;
    if drift.is_none() {
        out.line(format_args!(
            "{} Index is consistent",
            Symbol::Check.text(out.unicode)
        ))?;
        return Ok(Exit::Ok);
    }
    let Drift { missing, extra } = &drift;
    differing(context, missing, "missing from index")?;
    differing(context, extra, "extra tasks in index")?;
    out.line("Run 'crewboss index rebuild' to fix inconsistencies")?;
    Ok(Exit::Failed)
}

fn differing(context: &Context, ids: &[TaskId], what: &str) -> Result<(), Fail> {
    let out = &context.out;
    if ids.is_empty() {
        return Ok(());
    }
    let (sign, count) = (Symbol::Warning.text(out.unicode), ids.len());
    match what.strip_prefix("extra ") {
        Some(rest) => out.line(format_args!("{sign} {count} extra {rest}:"))?,
        None => out.line(format_args!("{sign} {count} tasks {what}:"))?,
    }
    for id in ids.iter().take(NAMED) {
        out.line(format_args!("  {id}"))?;
    }
    if count > NAMED {
        out.line(format_args!("  ... and {} more", count - NAMED))?;
    }
    Ok(())
}

/// Looks for circles in the files themselves: what runs in one is never taken over.
pub(crate) fn validate_files(context: &Context, layout: Layout) -> Outcome {
    let files = LayoutFolders::documents(layout, &context.places.project)?;
    let edges: BTreeMap<TaskId, Vec<TaskId>> = files
        .documents
        .iter()
        .map(|(document, _)| (document.id, document.depends_on.clone()))
        .collect();
    let cycle = find_cycle(&edges);
    let out = &context.out;
    out.document(
        "deps_validate",
        &json!({ "valid": cycle.is_none(), "cycle": cycle }),
    )?;
    let Some(cycle) = cycle else {
        let sign = Symbol::Check.text(out.unicode);
        out.line(format_args!("{sign} No circular dependencies found"))?;
        return Ok(Exit::Ok);
    };
    let path: Vec<String> = cycle.iter().map(ToString::to_string).collect();
    let sign = Symbol::Failed.text(out.unicode);
    out.line(format_args!("{sign} Circular dependency detected!"))?;
    out.line(format_args!("Cycle: {}", path.join(" -> ")))?;
    Ok(Exit::Failed)
}

fn shown_file(layout: Layout) -> String {
    format!("{}/config.json", layout.base())
}

fn read(context: &Context, layout: Layout) -> Result<ArchiveConfig, Fail> {
    let config = folders_of(context, layout)?.config(&context.places.project)?;
    config.map_err(|error| Fail::usage(format!("{}: {error}", shown_file(layout))))
}

/// Writes the defaults; asks before it replaces a file.
pub(crate) fn config_init(context: &Context, layout: Layout, yes: bool) -> Outcome {
    let (out, root) = (&context.out, &context.places.project);
    let folders = folders_of(context, layout)?;
    let file = shown_file(layout);
    if folders.has_config(root)? && !yes {
        let question = format!("Config file already exists at {file}. Overwrite?");
        if !crate::cli::confirm(out, &question)? {
            out.line("Cancelled.")?;
            return Ok(Exit::Ok);
        }
    }
    let config = ArchiveConfig::new(layout);
    folders.write_config(root, &config)?;
    out.line(format_args!("Created default configuration at {file}"))?;
    lines(context, &config)
}

pub(crate) fn config_show(context: &Context, layout: Layout) -> Outcome {
    context.out.line("Current Configuration:")?;
    lines(context, &read(context, layout)?)
}

fn lines(context: &Context, config: &ArchiveConfig) -> Outcome {
    let lines = config.lines();
    for line in &lines {
        context.out.line(format_args!("  {line}"))?;
    }
    context.out.document("config", &json!({ "lines": lines }))?;
    Ok(Exit::Ok)
}

pub(crate) fn config_set(context: &Context, layout: Layout, key: &str, value: &str) -> Outcome {
    let mut config = read(context, layout)?;
    config
        .set(layout, key, value)
        .map_err(|error: ConfigError| Fail::usage(error.to_string()))?;
    folders_of(context, layout)?.write_config(&context.places.project, &config)?;
    let out = &context.out;
    out.line(format_args!("Set {key} = {value}"))?;
    out.line(format_args!(
        "Configuration saved to {}",
        shown_file(layout)
    ))?;
    out.document("config_set", &json!({ "key": key, "value": value }))?;
    Ok(Exit::Ok)
}
