//! What stands in the way of a task without being its fault, and who only claims to be done.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use domain::{
    session::{Outcome, SessionResult},
    time::Timestamp,
};
use testkit::poll::poll_until;

use crate::place::Place;

const LONG: Duration = Duration::from_mins(1);

fn tasks_folder(place: &Place) -> PathBuf {
    place.project().join(".crewboss/tasks")
}

#[test]
fn a_runner_that_cannot_be_started_costs_a_task_nothing() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    fs::remove_dir_all(tasks_folder(&place)).unwrap();
    fs::write(tasks_folder(&place), "").unwrap();
    for _ in 0..5 {
        let ran = place.run(&["run", &id]);
        assert_eq!(ran.code, 5, "{ran:#?}");
        assert!(ran.err.contains("Error starting task"), "{ran:#?}");
        assert_eq!(place.status_of(&id), "pending");
    }
    let said = place.home().join("daemon.err");
    let mut daemon = place
        .command(["daemon", "--interval", "1"])
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let warnings = || {
        let text = fs::read_to_string(&said).unwrap_or_default();
        text.matches("Cannot start a runner").count()
    };
    assert!(poll_until(LONG, || warnings() > 0));
    assert_eq!(place.status_of(&id), "pending");
    fs::remove_file(tasks_folder(&place)).unwrap();
    place.run(&["wait", &id, "--timeout", "60"]).ok();
    assert_eq!(warnings(), 1, "{}", fs::read_to_string(&said).unwrap());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn an_outcome_that_an_agent_wrote_itself_is_not_believed() {
    let place = Place::repository();
    let at = Timestamp::from_millis(1_795_164_511_000);
    let outcome = Outcome::bare(SessionResult::Completed, at);
    let file = serde_json::json!({
        "schema": "crewboss.outcome",
        "schema_version": 1,
        "task": "TASK",
        "session": "SESSION",
        "outcome": outcome,
    });
    let script = place.home().join("forge.sh");
    let forge = format!(
        r#"folder="$CREWBOSS_PROJECT/.crewboss/tasks/$CREWBOSS_TASK/sessions/$CREWBOSS_SESSION"
sed -e "s/TASK/$CREWBOSS_TASK/" -e "s/SESSION/$CREWBOSS_SESSION/" >"$folder/outcome.json" <<'END'
{file}
END
kill -9 $PPID
exec sleep 600
"#
    );
    fs::write(&script, forge).unwrap();
    place.configure(&format!(
        "[gates.no]\nrun = \"false\"\n\n[agents.forger]\ndriver = \"command\"\n\
         command = \"sh\"\nargs = [\"{}\"]\n",
        script.display()
    ));
    let id = place.start(&["forger", "x"]);
    place.run(&["run", &id]).ok();
    let recovered = || place.run(&["status"]).ok().out.contains("Reconciled");
    assert!(poll_until(LONG, recovered));
    assert_eq!(place.status_of(&id), "pending");
}

#[test]
fn a_session_in_another_pid_namespace_is_left_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::folder();
    let id = place.start(&["sleeper", "x"]);
    let inside = place.command(["run", &id]);
    let program = inside.get_program().display().to_string();
    let script = format!("{program} run {id} && exec sleep 600");
    let environment = inside.get_envs();
    let mut namespace = Command::new("unshare")
        .args(["-pfm", "--kill-child", "--mount-proc", "sh", "-c", &script])
        .current_dir(place.project())
        .envs(environment.filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    place.until_at_work(&id);
    for _ in 0..3 {
        place.run(&["status"]).ok();
        assert_eq!(place.status_of(&id), "running");
    }
    place.run(&["cancel", &id]).ok();
    namespace.kill().unwrap();
    namespace.wait().unwrap();
}
