//! The agent of these rounds, and the configuration that names it.

/// Tells of its beginning and end, works or waits or fails as its first argument says, and cries
/// where another agent of its task is alive.
pub(super) const SCRIPT: &str = r#"#!/bin/sh
exec 9>"$ARENA_LOCKS/$CREWBOSS_TASK"
flock --nonblock 9 || { echo "DOUBLE $CREWBOSS_TASK $CREWBOSS_SESSION" >> "$ARENA_LOG"; exit 1; }
echo "start $CREWBOSS_TASK $CREWBOSS_SESSION" >> "$ARENA_LOG"
echo "at work"
test "$1" = idle || echo "$CREWBOSS_SESSION" > result.txt
if test "$1" = slow; then
  for _ in $(seq 1000); do test -e "$ARENA_LOCKS/go-$CREWBOSS_TASK" && break; sleep 0.02; done
fi
echo "end $CREWBOSS_TASK $CREWBOSS_SESSION" >> "$ARENA_LOG"
test "$1" != bad
"#;

pub(super) fn config(agent: &str) -> String {
    let mut config = String::from(
        "[workspace]\nmode = \"folder\"\n\n[run]\nrequeues_max = 1000\ncancel_grace_seconds = 1\n\n\
         [limits]\nhistory_file_entries = 9\nhistory_files_kept = 2\n",
    );
    for name in ["good", "bad", "slow", "idle"] {
        let section = format!(
            "\n[agents.{name}]\ndriver = \"command\"\ncommand = \"{agent}\"\nargs = [\"{name}\"]\n\
             env = [\"ARENA_LOCKS\", \"ARENA_LOG\"]\n"
        );
        config.push_str(&section);
    }
    config
}
