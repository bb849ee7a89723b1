//! `doctor --resources`: what exists because of sessions, and what of it nobody owns.

use api_types::{ResourceRow, ResourcesDocument};
use app::resources::{Resource, Swept};
use domain::resource::Owner;

use crate::{
    context::Context,
    fail::{Exit, Outcome},
    render::table,
    wiring,
};

/// Lists everything; with `sweep`, removes first what ended sessions left.
pub(super) fn show(context: &Context, sweep: bool) -> Outcome {
    let out = &context.out;
    let Some(project) = context.known_project()? else {
        out.print(&ResourcesDocument {
            ok: true,
            resources: vec![],
            swept: vec![],
        })?;
        out.line("No tasks were ever queued here")?;
        return Ok(Exit::Ok);
    };
    context.reconcile()?;
    let ledger = wiring::ledger(context)?;
    let swept: Vec<String> = if sweep {
        ledger.sweep(&project)?.iter().map(said).collect()
    } else {
        vec![]
    };
    for line in &swept {
        out.line(line)?;
    }
    let resources = ledger.list(&project)?;
    let unowned = resources.iter().filter(|one| !one.owner.is_somebody());
    let unowned: Vec<&Resource> = unowned.collect();
    let ok = unowned.is_empty();
    out.print(&ResourcesDocument {
        ok,
        resources: resources.iter().map(document).collect(),
        swept,
    })?;
    let header = ["Resource", "Owner", "Session", "Name"];
    let rows: Vec<Vec<String>> = resources.iter().map(row).collect();
    if rows.is_empty() {
        out.line("Nothing exists because of tasks")?;
    } else {
        out.line(table::render(out, &header, &rows))?;
    }
    if ok {
        return Ok(Exit::Ok);
    }
    let ours = unowned.iter().any(|one| one.owner == Owner::Nobody);
    out.say(format_args!("{} without an owner", unowned.len()));
    if ours {
        out.say("hint: `crewboss doctor --resources --sweep` removes what ended sessions left, and keeps its work; so does the daemon, once an hour");
    }
    if unowned.iter().any(|one| one.owner == Owner::Unknown) {
        out.say("hint: what is unknown was made by a session that this store does not have: another store's, perhaps. It is never removed here");
    }
    Ok(Exit::Failed)
}

/// What was done, in words.
pub(crate) fn said(swept: &Swept) -> String {
    match swept {
        Swept::Removed(one, None) => format!("Removed {} {}", one.kind, one.name),
        Swept::Removed(one, Some(kept)) => {
            format!(
                "Removed {} {}; its work is kept in {kept}",
                one.kind, one.name
            )
        }
        Swept::Left(one, why) => format!("Left {} {}: {why}", one.kind, one.name),
    }
}

fn row(one: &Resource) -> Vec<String> {
    vec![
        one.kind.to_string(),
        one.owner.to_string(),
        one.session
            .map_or_else(|| "-".to_owned(), |id| id.to_string()),
        one.name.clone(),
    ]
}

fn document(one: &Resource) -> ResourceRow {
    ResourceRow {
        kind: one.kind,
        name: one.name.clone(),
        owner: one.owner,
        session: one.session,
        task: one.task,
        fence: one.fence.map(|fence| fence.to_string()),
    }
}
