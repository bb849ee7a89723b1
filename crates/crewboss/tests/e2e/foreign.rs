//! Numbers of processes that now belong to somebody else.

use std::{
    process::{Child, Command as Program, Stdio},
    sync::Arc,
};

use app::{
    command::{Command, Meta, Output, RecoveryPolicy, Request},
    event::{Actor, ActorKind, Door},
    ports::{clock::Clock, store::Store as _},
};
use domain::{
    plan::Policy,
    process::ProcessIdentity,
    retry::Backoff,
    session::{Session, SessionCommand},
    time::BootId,
};
use sandbox_host::SystemClock;
use store_sqlite::SqliteStore;

use crate::{arena::Arena, census};

/// A process that has nothing to do with us.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let child = Program::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// How it would be named had another process had its number before, or in another boot.
    fn mistaken(&self, start_ticks: u64, boot: BootId) -> ProcessIdentity {
        ProcessIdentity {
            pid: self.0.id(),
            start_ticks,
            boot,
            namespace: None,
        }
    }

    fn start_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields = stat.rsplit(')').next().unwrap();
        fields.split_whitespace().nth(19).unwrap().parse().unwrap()
    }

    #[track_caller]
    fn assert_unharmed(&mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        assert!(stat.contains(") S "), "{stat}");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        census::kill(self.0.id());
        drop(self.0.wait());
    }
}

/// Who speaks to the store, and when.
struct Forger {
    store: SqliteStore,
    clock: Arc<dyn Clock>,
}

impl Forger {
    fn of(arena: &Arena) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let file = arena.store().join("crewboss.db");
        let store = SqliteStore::open(&file, Arc::clone(&clock)).unwrap();
        Self { store, clock }
    }

    fn boot(&self) -> BootId {
        self.clock.now().moment.boot
    }

    fn change(&self, command: Command) -> Output {
        let meta = Meta {
            actor: Actor {
                kind: ActorKind::System,
                id: "test".to_owned(),
            },
            door: Door::System,
            idempotency_key: None,
            correlation: None,
        };
        let request = Request {
            meta,
            done: vec![],
            command,
        };
        self.store.execute(request).unwrap().output
    }

    /// Claims a task and says that this runner and this agent are at work on it.
    fn forge(&self, task: &str, runner: &ProcessIdentity, agent: &ProcessIdentity) {
        let Output::Claimed { mut claims, .. } = self.change(Command::Claim {
            project: None,
            task: Some(task.parse().unwrap()),
            policy: Policy {
                running_max: None,
                starts_max: 1,
                per_agent_max: std::collections::BTreeMap::default(),
                store_max: None,
                ageing_millis: 0,
            },
            launcher: runner.clone(),
            node: None,
            lease_millis: 600_000,
        }) else {
            panic!("no claim");
        };
        let session = claims.remove(0).0;
        self.say(
            &session,
            SessionCommand::Begin {
                runner: runner.clone(),
            },
        );
        let launched = SessionCommand::Launched {
            process: agent.clone(),
            deadline: Some(self.clock.now().after_millis(1)),
        };
        self.say(&session, launched);
    }

    fn say(&self, session: &Session, command: SessionCommand) {
        let recovery = RecoveryPolicy {
            requeues_max: 3,
            backoff: Backoff {
                base_millis: 1,
                cap_millis: 1,
            },
        };
        self.change(Command::Session {
            session: session.id,
            fence: session.fence,
            command,
            recovery,
        });
    }
}

#[test]
fn are_never_signalled() {
    let commands: [&[&str]; 5] = [
        &["status"],
        &["cancel", "ID"],
        &["timeout", "ID"],
        &["run"],
        &["wait", "ID", "--timeout", "1"],
    ];
    for has_other_boot in [false, true] {
        for command in commands {
            let arena = Arena::folder();
            let id = arena.start("exit 0", &[]);
            let (mut runner, mut agent) = (Bystander::new(), Bystander::new());
            let forger = Forger::of(&arena);
            let mistake = |one: &Bystander| {
                if has_other_boot {
                    let boot = BootId("00000000-0000-0000-0000-000000000000".to_owned());
                    one.mistaken(one.start_ticks(), boot)
                } else {
                    one.mistaken(one.start_ticks() - 1, forger.boot())
                }
            };
            forger.forge(&id, &mistake(&runner), &mistake(&agent));
            let args: Vec<&str> = command
                .iter()
                .map(|arg| if *arg == "ID" { &id } else { *arg })
                .collect();
            let ran = arena.run(&args);
            assert_ne!(ran.code, None, "{ran:#?}");
            runner.assert_unharmed();
            agent.assert_unharmed();
            // It is known to be lost, and the task goes on.
            arena.until("recovered", || arena.status_of(&id) != "running");
            if arena.status_of(&id) == "pending" {
                arena.run(&["run", "--wait", &id]).ok();
            }
            let status = arena.status_of(&id);
            let expected = if command[0] == "cancel" {
                "cancelled"
            } else {
                "completed"
            };
            assert_eq!(status, expected, "{args:?}: {ran:#?}");
            runner.assert_unharmed();
            agent.assert_unharmed();
        }
    }
}
