//! What an agent put into the repository to reach us.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::fixture::{Fixture, write};

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "measures, and ends what it started"
)]
fn a_filter_that_leaves_a_process_behind_does_not_hold_us() {
    let fixture = Fixture::new();
    let stays = "setsid sh -c 'echo $$ >> \"$HOME/pids\"; exec sleep 600' >/dev/null & cat";
    fixture.git(["config", "filter.x.clean", stays]);
    let record = fixture.prepare(1);
    write(&record.path, ".gitattributes", "* filter=x\n");
    write(&record.path, "w", "work\n");
    let begun = Instant::now();
    let committed = fixture.commit(&record, 1);
    let took = begun.elapsed();
    let pids = fs::read_to_string(fixture.real_root().join("home/pids")).expect("it ran");
    let mut kill = std::process::Command::new("kill");
    kill.args(pids.lines()).status().expect("ended");
    assert_eq!(committed.files.len(), 2);
    assert!(took < Duration::from_mins(1), "{took:?}");
}
