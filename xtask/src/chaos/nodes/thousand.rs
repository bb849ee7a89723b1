//! Many tasks over three nodes, some of them through real OpenCode; one node is lost in the middle.

use std::{thread, time::Duration};

use anyhow::{Result, bail};

use super::{
    NODES,
    fleet::{Fleet, Scale},
    history,
    server::Server,
};
use crate::{opencode, shell};

const SCALE: Scale = Scale {
    store_max: 10,
    capacity: 4,
    agent_max: 10,
    project_max: 10,
    lease_seconds: 15,
};

/// One in so many tasks is done by OpenCode.
const OPENCODE_EVERY: usize = 40;

/// What the scripted model knows to do.
const PROMPT: &str = "Describe the project in README.md";

/// How long all of it may take, in looks of half a second.
const LOOKS: usize = 4 * 3_600;

/// So many tasks over three nodes: all are done although one node is killed half-way and never comes
/// back.
pub(crate) fn thousand(tasks: usize) -> Result<()> {
    println!("chaos thousand: {tasks} tasks on {NODES} nodes, of which one is lost half-way");
    let Some(server) = Server::start()? else {
        println!(
            "SKIPPED chaos thousand: PostgreSQL is not installed (Debian's package postgresql)"
        );
        return Ok(());
    };
    shell::run(shell::cargo().args(["build", "--quiet", "--package", "testkit"]))?;
    let opencode = opencode::install()?;
    let watch = shell::start_watch();
    let fleet = Fleet::new(server, NODES, SCALE)?.with_opencode(&opencode)?;
    let result = work(&fleet, tasks);
    fleet.end();
    let (seen, by_opencode) = result?;
    println!(
        "chaos thousand: {tasks} tasks done once each, {by_opencode} of them through OpenCode; {} sessions, \
         {} lost with the node; at most {} at once of {}; {} s",
        seen.sessions,
        seen.orphaned,
        seen.most,
        SCALE.store_max,
        watch.elapsed().as_secs()
    );
    Ok(())
}

fn work(fleet: &Fleet, tasks: usize) -> Result<(history::Seen, usize)> {
    let mut serving = Vec::new();
    for node in &fleet.nodes {
        serving.push(node.serve()?);
    }
    queue(fleet, tasks);
    let mut is_lost = false;
    for _ in 0..LOOKS {
        let done = fleet.count("status = 2").unwrap_or(0);
        if !is_lost && done >= tasks / 2 {
            let node = &fleet.nodes[0];
            while node.signal_all("KILL") {
                thread::sleep(Duration::from_millis(50));
            }
            is_lost = true;
        }
        if done == tasks {
            let by_opencode = tasks.div_ceil(OPENCODE_EVERY);
            let ids = fleet.tasks();
            return Ok((history::check(fleet, &ids)?, by_opencode));
        }
        thread::sleep(Duration::from_millis(500));
    }
    bail!("tasks are stuck: {}", fleet.said())
}

/// Four at a time, from the nodes that stay.
fn queue(fleet: &Fleet, tasks: usize) {
    thread::scope(|scope| {
        for first in 0..4 {
            scope.spawn(move || {
                for number in (first..tasks).step_by(4) {
                    let (agent, prompt) = match number % OPENCODE_EVERY {
                        0 => ("build", PROMPT),
                        _ => ("quick", "work"),
                    };
                    let on = 1 + number % (NODES - 1);
                    while !fleet.start(on, agent, prompt) {}
                }
            });
        }
    });
}
