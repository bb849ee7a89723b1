//! Checkpoints that a runner makes by itself.

use std::time::Duration;

use app::ports::checkpoints::{Cause, Checkpoints as _};
use domain::agent::CompletionRule;
use task_folder::CheckpointFolders;
use testkit::poll::poll_until;

use crate::bench::{Bench, LONG};

#[test]
fn an_agent_at_work_is_kept_again_and_again() {
    let script = "echo started; echo x > made; while ! test -e go; do sleep 0.05; done; rm go";
    let mut bench = Bench::with_script(script, CompletionRule::ExitCode);
    bench.config.checkpoints.every = Some(Duration::from_millis(100));
    bench.config.retention.keep_last = 2;
    let running = bench.start(|_| {});
    let session = bench.session(running.session.id);
    let root = &bench.config.project_root;
    let folders = CheckpointFolders::new();
    let list = || folders.list(root, session.task, true).unwrap();
    let mut first = None;
    let kept_and_gone = poll_until(LONG, || {
        let found = list();
        first = first.or(found.first().map(|found| found.id));
        first.is_some() && !found.iter().any(|found| Some(found.id) == first)
    });
    assert!(kept_and_gone, "{:?}", bench.log_text(&session));
    let place = session.workspace.unwrap().path;
    std::fs::write(place.join("go"), "").unwrap();
    let ran = bench.finish(running);
    assert_eq!(ran.outcome().warnings, [""; 0]);
    let found = list();
    assert!((2..=3).contains(&found.len()), "{found:#?}");
    for one in found {
        assert_eq!(one.findings, [""; 0]);
        assert_eq!(one.manifest.unwrap().cause, Cause::Interval);
    }
    let log = bench.log_text(&ran.session);
    assert!(
        log.contains("checkpoint ckp_") && !log.contains("no checkpoint"),
        "{log}"
    );
}
