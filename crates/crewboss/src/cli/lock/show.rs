//! Looking at locks.

use api_types::{LockListDocument, LockRow, LockStatsDocument};
use app::ports::locks::{LockFilter, LockStatistics, LockView};

use super::{list, locks_of, resource};
use crate::{
    context::Context,
    fail::{Exit, Outcome},
    render::{duration, table},
};

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only what is in the way of this one, or waits for it
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
    /// Only what this holder has or waits for
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stats {}

impl List {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let filter = LockFilter {
            resource: self.resource.as_deref().map(resource).transpose()?,
            holder: self.holder,
        };
        let views = match context.known_project()? {
            Some(project) => locks_of(context, project.id)?.status(&filter)?,
            None => vec![],
        };
        if views.is_empty() {
            context.out.line("Nothing is locked.")?;
        } else {
            let header = [
                "State",
                "Resource",
                "Mode",
                "Holder",
                "Token",
                "For",
                "Lease ends",
                "Waits for",
            ];
            let rows: Vec<Vec<String>> = views.iter().map(row).collect();
            context
                .out
                .line(table::render(&context.out, &header, &rows))?;
        }
        let row = |view: &LockView| {
            LockRow::of(&view.lock, view.left_millis, view.since_millis, &view.by)
        };
        context.out.print(&LockListDocument {
            locks: views.iter().map(row).collect(),
        })?;
        Ok(Exit::Ok)
    }
}

fn row(view: &LockView) -> Vec<String> {
    let lock = &view.lock;
    let token = lock
        .token()
        .map_or_else(|| "-".to_owned(), |token| token.to_string());
    let lease = if lock.is_waiting() {
        "-".to_owned()
    } else {
        format!("in {}", duration::of_millis(view.left_millis))
    };
    let waits_for = match view.by.as_slice() {
        [] => "-".to_owned(),
        [first] => first.holder.to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.holder, rest.len()),
    };
    vec![
        if lock.is_waiting() { "waiting" } else { "held" }.to_owned(),
        list(&lock.resources),
        lock.mode.to_string(),
        lock.holder.to_string(),
        token,
        duration::of_millis(view.since_millis),
        lease,
        waits_for,
    ]
}

impl Stats {
    #[expect(clippy::unused_self, reason = "a verb like every other")]
    pub(super) fn run(self, context: &Context) -> Outcome {
        let numbers = match context.known_project()? {
            Some(project) => locks_of(context, project.id)?.statistics()?,
            None => LockStatistics::default(),
        };
        let totals = &numbers.totals;
        let mean = |total: u64, of: u64| duration::of_millis(total.checked_div(of).unwrap_or(0));
        let ended = totals.released + totals.expired + totals.forced;
        context.out.line(format_args!(
            "Now: {} held, {} waiting\n\
             Granted: {}, {} of them after a wait of {} on average, {} at most\n\
             Conflicts: {}, {} of them refused at once; {} waits timed out, {} left\n\
             Released: {}; {} expired, {} taken away; held for {} on average, {} at most\n\
             Deadlocks: {}",
            numbers.held,
            numbers.waiting,
            totals.granted,
            totals.waited,
            mean(totals.wait_millis, totals.waited),
            duration::of_millis(totals.longest_wait_millis),
            totals.conflicts,
            totals.refused,
            totals.timed_out,
            totals.left,
            totals.released,
            totals.expired,
            totals.forced,
            mean(totals.held_millis, ended),
            duration::of_millis(totals.longest_hold_millis),
            totals.deadlocks,
        ))?;
        context.out.print(&document(&numbers))?;
        Ok(Exit::Ok)
    }
}

fn document(numbers: &LockStatistics) -> LockStatsDocument {
    let totals = numbers.totals;
    LockStatsDocument {
        held: numbers.held,
        waiting: numbers.waiting,
        oldest_hold_ms: numbers.oldest_hold_millis,
        oldest_wait_ms: numbers.oldest_wait_millis,
        granted: totals.granted,
        waited: totals.waited,
        wait_ms: totals.wait_millis,
        longest_wait_ms: totals.longest_wait_millis,
        conflicts: totals.conflicts,
        refused: totals.refused,
        timed_out: totals.timed_out,
        left: totals.left,
        released: totals.released,
        expired: totals.expired,
        forced: totals.forced,
        deadlocks: totals.deadlocks,
        held_ms: totals.held_millis,
        longest_hold_ms: totals.longest_hold_millis,
    }
}
