//! `task stats`: how many tasks there are of what sort.

use std::collections::BTreeMap;

use api_types::TaskStatsDocument;
use app::query::Counts;

use super::find::Wanted;
use crate::{
    context::Context,
    fail::{Exit, Outcome},
    render::document,
};

/// The newest tasks that are named.
const NEWEST: usize = 5;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        context.reconcile()?;
        let tasks = self.wanted.find(context)?;
        let mut statuses = Counts::new();
        let (mut owners, mut agents) = (BTreeMap::new(), BTreeMap::new());
        for task in &tasks {
            *statuses.entry(task.status()).or_insert(0) += 1;
            *owners.entry(task.spec.owner.clone()).or_insert(0) += 1;
            *agents.entry(task.spec.agent.to_string()).or_insert(0) += 1;
        }
        let out = &context.out;
        let newest = &tasks[..tasks.len().min(NEWEST)];
        out.print(&TaskStatsDocument {
            total: tasks.len() as u64,
            statuses: document::counts(&statuses),
            owners: owners.clone(),
            agents: agents.clone(),
            newest: newest.iter().map(document::task).collect(),
        })?;
        out.line(format_args!("Tasks: {}", tasks.len()))?;
        let words = document::counts(&statuses);
        let words = words
            .iter()
            .map(|(status, number)| (status.as_str(), *number));
        let share = |number: u64| number * 100 / (tasks.len() as u64).max(1);
        let print = |title: &str, rows: &mut dyn Iterator<Item = (&str, u64)>| {
            out.line(format_args!("\n{title}:"))?;
            for (word, number) in rows {
                let share = share(number);
                out.line(format_args!("  {word:<12} {number:>6} {share:>4}%"))?;
            }
            Ok::<(), crate::fail::Fail>(())
        };
        print("By status", &mut words.into_iter())?;
        if tasks.is_empty() {
            return Ok(Exit::Ok);
        }
        let named = |counts: &BTreeMap<String, u64>| -> Vec<(String, u64)> {
            counts.iter().map(|(word, n)| (word.clone(), *n)).collect()
        };
        for (title, counts) in [("By owner", named(&owners)), ("By agent", named(&agents))] {
            print(
                title,
                &mut counts.iter().map(|(word, n)| (word.as_str(), *n)),
            )?;
        }
        out.line("\nNewest:")?;
        for task in newest {
            let (status, name) = (task.status().as_str(), &task.spec.name);
            out.line(format_args!("  {} ({status}) {name}", task.id))?;
        }
        Ok(Exit::Ok)
    }
}
