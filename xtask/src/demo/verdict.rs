//! What the demo came to: looked up in git and in the store, not believed.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    sample::{Sample, TASKS},
    stage::Stage,
};
use crate::shell;

/// Shows a table of what was done and where to look; says whether all of it is really there.
pub(crate) fn show(stage: &Stage, tasks: &[String]) -> Result<bool> {
    println!("\n| Task | Status | Gates | Files | Branch | Work |");
    println!("|---|---|---|---|---|---|");
    let mut good = true;
    for (id, sample) in tasks.iter().zip(TASKS) {
        let shown = shell::output(&mut stage.crewboss(&["show", id, "--json"]))?;
        let task: Value = serde_json::from_str(&shown).context("`show --json` printed no JSON")?;
        let missing = missing(stage, &task, sample);
        let complete = task["status"] == "completed" && missing.is_empty();
        good &= complete;
        println!(
            "| {id} | {} | {} | {} | {} | {} |",
            task["status"].as_str().unwrap_or("?"),
            gates(&task),
            files(&task),
            task["branch"].as_str().unwrap_or("-"),
            if complete {
                "is there".to_owned()
            } else {
                missing.join("; ")
            },
        );
    }
    let repository = stage.repository.display();
    println!("\nWhere to look:");
    println!("  git -C {repository} log --oneline --graph --all");
    println!("  {repository}/.crewboss/tasks/    transcripts, logs and gate output");
    println!(
        "{}",
        if good {
            "All of it is really there."
        } else {
            "Something is missing."
        }
    );
    Ok(good)
}

fn gates(task: &Value) -> String {
    let results = task["session"]["gates"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let passed = results
        .iter()
        .filter(|gate| gate["status"] == "passed")
        .count();
    format!("{passed} of {} passed", results.len())
}

fn files(task: &Value) -> String {
    let changes = task["session"]["changes"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let paths: Vec<&str> = changes
        .iter()
        .filter_map(|change| change["path"].as_str())
        .collect();
    if paths.is_empty() {
        "-".to_owned()
    } else {
        paths.join(", ")
    }
}

/// What is not on the task's branch although it should be.
fn missing(stage: &Stage, task: &Value, sample: &Sample) -> Vec<String> {
    let Some(branch) = task["branch"].as_str() else {
        return vec!["no branch".to_owned()];
    };
    let passed = task["session"]["gates"].as_array().is_some_and(|gates| {
        !gates.is_empty() && gates.iter().all(|gate| gate["status"] == "passed")
    });
    let mut missing = Vec::new();
    if !passed {
        missing.push("its gate did not pass".to_owned());
    }
    for (file, text) in sample.expected {
        let content = shell::output(&mut stage.git(&["show", &format!("{branch}:{file}")]));
        if !content.is_ok_and(|content| content.contains(text)) {
            missing.push(format!("{file} lacks `{text}`"));
        }
    }
    missing
}
