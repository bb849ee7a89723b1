//! How agents end by themselves.

use std::{fs, os::unix::fs::PermissionsExt as _};

use app::ports::processes::Processes as _;
use domain::{
    agent::CompletionRule::{Either, ExitCode, Sentinel},
    process::Exit,
    session::SessionStatus,
    task::TaskStatus,
    workspace::WorkspaceMode,
};
use runner::{RunnerExit, RunnerSockets};

use crate::bench::Bench;

#[test]
fn finished_work_is_on_a_branch_and_the_worktree_is_gone() {
    let bench = Bench::with_script("echo hello >made.txt; echo \"did: $1\"", ExitCode);
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    assert_eq!(ran.session.status, SessionStatus::Completed);
    let outcome = ran.outcome();
    let branch = outcome.branch.as_deref().unwrap();
    assert!(branch.starts_with(&format!("crewboss/{}-do-the-work", ran.task.id)));
    assert_eq!(
        bench.repo.git(&["show", &format!("{branch}:made.txt")]),
        "hello"
    );
    assert_eq!(
        bench.repo.git(&["rev-parse", branch]),
        outcome.commit.as_ref().unwrap().as_str()
    );
    assert_eq!(outcome.changes[0].path, "made.txt");
    assert_eq!(outcome.exit, Some(Exit::Code(0)));
    assert_eq!(outcome.salvage, None);
    assert!(ran.session.started_at.is_some() && ran.session.process.is_some());
    let workspace = ran.session.workspace.as_ref().unwrap();
    assert!(!workspace.path.exists());
    assert_eq!(bench.repo.git(&["status", "--porcelain"]), "");
    assert!(bench.log_text(&ran.session).contains("did: Do the work\n"));
    assert_eq!(bench.outcome_file(&ran.session).as_ref(), Some(outcome));
    let plan = bench
        .config
        .project_root
        .join(format!(".crewboss/tasks/{}/plan.md", ran.task.id));
    assert!(fs::read_to_string(plan).unwrap().contains("Do the work"));
    assert_eq!(
        fs::read_dir(&bench.config.run_directory).unwrap().count(),
        0
    );
}

#[test]
fn a_dependant_builds_on_finished_work() {
    let bench = Bench::with_script("date +%N >>made.txt; wc -l <made.txt", ExitCode);
    let first = bench.run(|_| {});
    let second = bench.run(|task| task.depends_on = vec![first.task.id.to_string()]);
    assert_eq!(second.task.status(), TaskStatus::Completed, "{second:?}");
    assert!(bench.log_text(&second.session).contains("2\n"));
}

#[test]
fn an_exit_code_fails_the_task_and_the_work_is_salvaged() {
    let bench = Bench::with_script("echo half >made.txt; echo oops >&2; exit 7", ExitCode);
    let ran = bench.run(|_| {});
    let (reason, message) = ran.failure();
    assert_eq!(reason, "process_failure");
    assert_eq!(message, "Process exited with code 7");
    assert_eq!(ran.outcome().exit, Some(Exit::Code(7)));
    let salvage = ran.outcome().salvage.as_deref().unwrap();
    assert_eq!(
        bench.repo.git(&["show", &format!("{salvage}:made.txt")]),
        "half"
    );
    assert_eq!(ran.outcome().branch, None);
    assert!(!ran.session.workspace.as_ref().unwrap().path.exists());
    assert!(bench.log_text(&ran.session).contains("oops\n"));
}

#[test]
fn a_killed_agent_names_its_signal() {
    let ran = Bench::with_script("kill -9 $$", ExitCode).run(|_| {});
    assert_eq!(ran.outcome().exit, Some(Exit::Signal(9)));
    let (reason, message) = ran.failure();
    assert_eq!(reason, "process_killed");
    assert!(message.contains("SIGKILL"), "{message}");
}

#[test]
fn a_missing_program_is_its_own_reason() {
    let mut bench = Bench::new();
    bench.add_agent(std::path::Path::new("/nonexistent/agent"), ExitCode);
    let ran = bench.run(|_| {});
    assert_eq!(ran.failure().0, "missing_executable");
    assert_eq!(ran.outcome().exit, None);
}

#[test]
fn done_counts_while_the_agent_still_lives() {
    let bench = Bench::with_script(
        "echo x >made.txt; : >\"$CREWBOSS_DONE_FILE\"; echo bye; exec sleep 600",
        Sentinel,
    );
    let before = bench.millis();
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    assert!(bench.millis() - before < 10_000);
    assert!(ran.outcome().branch.is_some());
    assert!(ran.outcome().warnings[0].contains("did not end"));
    assert!(bench.log_text(&ran.session).contains("bye\n"));
}

#[test]
fn sentinel_files_may_lie_where_a_layout_has_them() {
    let script = ": >B/tasks/$CREWBOSS_TASK.done; exec sleep 600";
    let mut bench = Bench::with_script(script, Sentinel);
    let folder = bench.config.project_root.join("B/tasks");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("task_1.done"), "another's").unwrap();
    bench.config.sentinel_directory = Some("B/tasks".into());
    bench.config.workspace = Some(WorkspaceMode::InPlace);
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    let left: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the own task's is taken");
}

#[test]
fn exit_code_0_alone_is_no_sentinel_but_it_is_either() {
    let ran = Bench::with_script("true", Sentinel).run(|_| {});
    assert_eq!(ran.failure().0, "no_completion");
    let ran = Bench::with_script("true", Either).run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed);
}

#[test]
fn an_error_file_is_read_and_a_done_file_beats_it() {
    let json = r#"{"error":"Network timeout","details":"stack"}"#;
    let error = format!("printf '%s' '{json}' >\"$CREWBOSS_ERROR_FILE\"");
    let ran = Bench::with_script(&error, Sentinel).run(|_| {});
    assert_eq!(
        ran.failure(),
        ("agent_error".to_owned(), "Network timeout".to_owned())
    );
    assert_eq!(
        ran.task.failure().unwrap().details.as_deref(),
        Some("stack")
    );

    let both = format!("{error}; : >\"$CREWBOSS_DONE_FILE\"");
    let ran = Bench::with_script(&both, Sentinel).run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed);
}

#[test]
fn a_cancelled_file_cancels_and_a_timeout_file_times_out() {
    let cancelled = ": >\"${CREWBOSS_DONE_FILE%.done}.cancelled\"";
    let ran = Bench::with_script(cancelled, Sentinel).run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Cancelled);
    let timeout = "printf '{\"timeout\":30}' >\"${CREWBOSS_DONE_FILE%.done}.timeout\"";
    let ran = Bench::with_script(timeout, Sentinel).run(|_| {});
    let expected = "Task timed out after 30 seconds".to_owned();
    assert_eq!(ran.failure(), ("timeout".to_owned(), expected));
}

#[test]
fn standard_input_is_at_its_end() {
    let bench = Bench::with_script("cat; echo eof", ExitCode);
    let ran = bench.run(|_| {});
    assert!(bench.log_text(&ran.session).contains("eof\n"));
}

#[test]
fn an_agent_in_place_works_in_the_project_and_nothing_is_committed() {
    let bench = Bench::with_script("pwd -P; echo x >made.txt", ExitCode);
    let head = bench.repo.head();
    let ran = bench.run(|task| task.workspace = Some(WorkspaceMode::InPlace));
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    assert!(bench.config.project_root.join("made.txt").exists());
    assert_eq!(bench.repo.head(), head);
    assert_eq!(
        (&ran.outcome().commit, &ran.outcome().branch),
        (&None, &None)
    );
    let root = bench.config.project_root.to_str().unwrap();
    assert!(bench.log_text(&ran.session).contains(root));
}

#[test]
fn a_plain_folder_keeps_what_was_made() {
    let bench = Bench::with_script("echo x >made.txt", ExitCode);
    let ran = bench.run(|task| task.workspace = Some(WorkspaceMode::Folder));
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    let folder = &ran.session.workspace.as_ref().unwrap().path;
    assert!(folder.join("made.txt").exists());
}

#[test]
fn a_second_runner_starts_nothing() {
    let mut bench = Bench::with_script("echo started; exec sleep 600", ExitCode);
    let deep = format!("{}/{}", "x".repeat(90), "y".repeat(90));
    bench.config.run_directory = bench.config.run_directory.join(deep);
    let running = bench.start(|_| {});
    let session = running.session.clone();
    let again = runner::run(bench.deps(), session.id, session.fence + 1);
    assert_eq!(again, RunnerExit::NotOurs);
    let run_directory = &bench.config.run_directory;
    let socket = run_directory.join(format!("{}.sock", session.id));
    assert!(socket.as_os_str().len() > 107, "too long for an address");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(run_directory)), (0o600, 0o700));
    let sockets = RunnerSockets::new(run_directory.clone());
    let status = sockets.status(session.id).unwrap();
    assert_eq!((status.session, status.task), (session.id, session.task));
    assert_eq!(bench.processes.members(session.id).len(), 1);
    bench.interrupt.raise();
    assert_eq!(bench.finish(running).exit, RunnerExit::Down);
}

#[test]
fn other_work_on_the_branch_is_kept_and_said() {
    let script = r#"echo hello >made.txt
other=$(git -c user.name=x -c user.email=x@y commit-tree -m other 'HEAD^{tree}')
git branch "crewboss/$CREWBOSS_TASK-do-the-work" "$other""#;
    let bench = Bench::with_script(script, ExitCode);
    let ran = bench.run(|_| {});
    assert_eq!(ran.task.status(), TaskStatus::Completed, "{ran:?}");
    let kept = format!("refs/crewboss/salvage/{}-branch", ran.session.id);
    assert_eq!(
        bench.repo.git(&["log", "-1", "--format=%s", &kept]),
        "other"
    );
    let warnings = &ran.outcome().warnings;
    assert!(warnings.iter().any(|w| w.contains(&kept)), "{warnings:?}");
}
