//! Every state against every command, to be reviewed as a whole.

use domain::states;

#[test]
fn every_task_command_in_every_state() {
    insta::assert_snapshot!(states::task_table());
}

#[test]
fn every_session_command_in_every_status() {
    insta::assert_snapshot!(states::session_table());
}

#[test]
fn the_lives_of_tasks_and_sessions() {
    let both = format!("{}\n{}", states::task_diagram(), states::session_diagram());
    insta::assert_snapshot!(both);
}
