//! Random histories: two stores that live through the same one must answer the same and hold the
//! same, down to the bytes of the log.

use app::{
    command::{Command, NewTask, Output, RecoveryPolicy, Rekey, Reply},
    error::Error,
    ports::clock::Clock as _,
    restore::{Restored, Source, Told, restore},
};
use domain::{
    id::TaskId,
    plan::Policy,
    quota::{QuotaKey, QuotaResource},
    session::{Outcome, Session, SessionCommand, SessionResult, StopReason},
    task::{Limits, TaskKind, TaskMode, epoch_of},
    usage::Usage,
};
use proptest::{prelude::*, test_runner::TestRunner};

use super::{
    Make,
    world::{
        LEASE_MILLIS, World, agent, create_command, failed, meta, priority, process, starts, work,
    },
};

/// Something that happens. Numbers pick among what exists, wrapping around.
#[derive(Debug, Clone)]
enum Step {
    Create {
        priority: u8,
        agent: u8,
        owner: u8,
        depends_on: Vec<usize>,
        delay_millis: Option<u64>,
        auto_retry: bool,
        external: bool,
    },
    Claim {
        starts: u32,
        cap: Option<u32>,
    },
    ClaimNamed(usize),
    Finish(usize, bool),
    Orphan(usize),
    Stop(usize),
    Retry(usize),
    Delete(usize),
    DeleteOne(usize),
    Undelete(usize, bool),
    Purge(usize),
    Archive(usize, bool),
    Attach(usize, u8),
    Detach(usize),
    EndExternal(usize),
    Advance(u64),
    SetWall(i64),
    Reboot,
    SetQuota(u8, bool, Option<u8>, Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>;
    prop_oneof![
        6 => (1..=10_u8, 0..3_u8, 0..2_u8, prop::collection::vec(which(), 0..3),
              prop::option::weighted(0.3, 0..5_000_u64), any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(priority, agent, owner, depends_on, delay_millis, auto_retry, external)| {
                Step::Create {
                    priority, agent, owner, depends_on, delay_millis, auto_retry, external,
                }
            }),
        6 => (1..4_u32, prop::option::of(1..3_u32))
            .prop_map(|(starts, cap)| Step::Claim { starts, cap }),
        1 => which().prop_map(Step::ClaimNamed),
        8 => (which(), any::<bool>()).prop_map(|(n, well)| Step::Finish(n, well)),
        2 => which().prop_map(Step::Orphan),
        1 => which().prop_map(Step::Stop),
        2 => which().prop_map(Step::Retry),
        1 => which().prop_map(Step::Delete),
        1 => which().prop_map(Step::DeleteOne),
        2 => (which(), any::<bool>()).prop_map(|(n, same)| Step::Undelete(n, same)),
        1 => which().prop_map(Step::Purge),
        1 => (which(), any::<bool>()).prop_map(|(n, out)| Step::Archive(n, out)),
        2 => (which(), 0..2_u8).prop_map(|(n, agent)| Step::Attach(n, agent)),
        1 => which().prop_map(Step::Detach),
        1 => which().prop_map(Step::EndExternal),
        2 => (0..4_000_u64).prop_map(Step::Advance),
        1 => (1_799_999_990_000..1_800_000_010_000_i64).prop_map(Step::SetWall),
        1 => Just(Step::Reboot),
        2 => (0..3_u8, any::<bool>(), prop::option::of(0..3_u8), prop::option::of(0..30_u64))
            .prop_map(|(of, here, owner, max)| Step::SetQuota(of, here, owner, max)),
    ]
}

/// What a history knows of itself.
#[derive(Debug, Default)]
struct Known {
    tasks: Vec<TaskId>,
    sessions: Vec<Session>,
}

impl Known {
    fn task(&self, n: usize) -> Option<TaskId> {
        self.tasks.get(n.checked_rem(self.tasks.len())?).copied()
    }

    fn session(&self, n: usize) -> Option<&Session> {
        self.sessions.get(n.checked_rem(self.sessions.len())?)
    }

    fn learn(&mut self, output: &Output) {
        match output {
            Output::Task { task, .. } => self.tasks.push(task.id),
            Output::Claimed { claims, .. } => {
                let sessions = claims.iter().map(|(session, _)| session.clone());
                self.sessions.extend(sessions);
            }
            Output::Session { session } => self.sessions.push((**session).clone()),
            _ => {}
        }
    }

    fn command(&self, step: &Step, world: &World) -> Option<Command> {
        let recovery = RecoveryPolicy::default();
        let project = world.project;
        Some(match *step {
            Step::Create { .. } => create_command(project, self.new_task(step, world)?),
            Step::Claim { starts: n, cap } => Command::Claim {
                project: Some(project),
                task: None,
                policy: Policy {
                    per_agent_max: cap.map(|cap| (agent("a0"), cap)).into_iter().collect(),
                    store_max: None,
                    ageing_millis: 1_000,
                    ..starts(n)
                },
                launcher: process(1),
                node: None,
                lease_millis: LEASE_MILLIS,
            },
            Step::ClaimNamed(n) => Command::Claim {
                project: None,
                task: Some(self.task(n)?),
                policy: starts(1),
                launcher: process(1),
                node: None,
                lease_millis: LEASE_MILLIS,
            },
            Step::Finish(n, well) => {
                let result = if well {
                    SessionResult::Completed
                } else {
                    failed()
                };
                let session = self.session(n)?;
                let usage = Usage {
                    output: 10,
                    ..Usage::default()
                };
                let outcome = Box::new(Outcome {
                    usage,
                    ..Outcome::bare(result, world.clock.now().wall)
                });
                Command::Session {
                    session: session.id,
                    fence: session.fence,
                    command: SessionCommand::Finish { outcome },
                    recovery,
                }
            }
            Step::Orphan(n) => {
                let session = self.session(n)?;
                let command = SessionCommand::Orphan {
                    why: "lost".to_owned(),
                    runner: session.runner.clone(),
                    lease_until: session.lease_until.clone(),
                    counts: true,
                };
                Command::Session {
                    session: session.id,
                    fence: session.fence,
                    command,
                    recovery,
                }
            }
            Step::Stop(n) => Command::StopTask {
                task: self.task(n)?,
                reason: StopReason::Cancel,
            },
            Step::Retry(n) => Command::RetryTask {
                task: self.task(n)?,
                retries_max: None,
                auto_retry: None,
                continues: false,
            },
            Step::Delete(n) => Command::DeleteTasks {
                tasks: vec![self.task(n)?],
            },
            Step::DeleteOne(n) => Command::DeleteTask {
                task: self.task(n)?,
            },
            Step::Undelete(n, same) => Command::UndeleteTask {
                task: self.task(n)?,
                key: if same { Rekey::Same } else { Rekey::Without },
            },
            Step::Purge(n) => Command::PurgeTasks {
                tasks: vec![self.task(n)?],
            },
            Step::Archive(n, archived) => Command::ArchiveTasks {
                tasks: vec![self.task(n)?],
                archived,
            },
            Step::Attach(n, name) => Command::Attach {
                task: self.task(n)?,
                agent: agent(&format!("a{name}")),
                launcher: process(9),
                lease_millis: LEASE_MILLIS,
            },
            Step::Detach(n) => Command::Detach {
                task: self.task(n)?,
                agent: None,
            },
            Step::EndExternal(n) => Command::EndExternal {
                task: self.task(n)?,
                agent: None,
                failure: None,
                summary: None,
                gates: vec![],
                recovery,
            },
            Step::SetQuota(of, here, owner, max) => {
                let key = QuotaKey {
                    resource: QuotaResource::ALL[usize::from(of)],
                    project: here.then_some(project),
                    owner: owner.map(|owner| format!("o{owner}")),
                };
                match max {
                    Some(max) => Command::SetQuota { project, key, max },
                    None => Command::RemoveQuota { project, key },
                }
            }
            Step::Advance(_) | Step::SetWall(_) | Step::Reboot => return None,
        })
    }

    fn new_task(&self, step: &Step, world: &World) -> Option<NewTask> {
        let Step::Create {
            priority: importance,
            agent: name,
            owner,
            depends_on,
            delay_millis,
            auto_retry,
            external,
        } = step
        else {
            return None;
        };
        let others = depends_on.iter().filter_map(|n| self.task(*n));
        Some(NewTask {
            priority: priority(*importance),
            agent: agent(&format!("a{name}")),
            owner: format!("o{owner}"),
            depends_on: others.map(|id| id.to_string()).collect(),
            not_before: delay_millis.map(|millis| world.clock.now().after_millis(millis)),
            kind: if *external {
                TaskKind::External
            } else {
                TaskKind::Managed
            },
            mode: TaskMode::Collaborative,
            limits: Limits {
                auto_retry: *auto_retry,
                ..Limits::default()
            },
            ..work("x")
        })
    }
}

/// What the clocks have shown. No boot comes back, and after one the wall clock is never behind
/// what it has shown and what has passed since: whether a time that was seen to have come is judged again in another boot, by
/// a wall clock that was set back meanwhile, is left to each store.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    boots: u32,
    latest: i64,
}

impl Times {
    fn pass(&mut self, step: &Step, world: &World) {
        self.latest = self.latest.max(world.clock.now().wall.as_millis());
        match step {
            Step::Advance(millis) => self.latest += i64::try_from(*millis).unwrap_or(0),
            Step::Reboot => self.boots += 1,
            _ => {}
        }
    }

    fn wall(self, wanted: i64) -> i64 {
        if self.boots == 0 {
            wanted
        } else {
            wanted.max(self.latest)
        }
    }
}

/// Lives through one step in one world.
fn live(world: &World, known: &Known, times: Times, step: &Step) -> Option<Result<Output, Error>> {
    match step {
        Step::Advance(millis) => world.clock.advance(*millis),
        Step::SetWall(millis) => world.clock.set_wall(times.wall(*millis)),
        Step::Reboot => {
            world.clock.reboot(&format!("boot-{}", times.boots));
            world.clock.set_wall(times.latest);
        }
        _ => return known.command(step, world).map(|command| world.run(command)),
    }
    None
}

/// Two stores live through the same histories and stay the same; the log of each verifies.
pub fn two_stores_agree(left: Make, right: Make, histories: u32) {
    let config = ProptestConfig {
        cases: histories,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let (left, right) = (World::new(left), World::new(right));
        let mut known = Known::default();
        let mut times = Times::default();
        for step in &steps {
            times.pass(step, &left);
            let ours = live(&left, &known, times, step);
            let theirs = live(&right, &known, times, step);
            prop_assert_eq!(&ours, &theirs, "after {:?}", step);
            if let Some(Ok(output)) = &ours {
                known.learn(output);
            }
            prop_assert_eq!(left.contents(), right.contents(), "after {:?}", step);
        }
        super::log::verify(&left.contents().log);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Whatever has happened in a store, its events make the same rows in an empty one, and the same log.
/// Taking them in again changes nothing.
pub fn events_make_the_same_rows(make: Make, histories: u32) {
    let config = ProptestConfig {
        cases: histories,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&prop::collection::vec(step(), 1..60), |steps| {
        let world = World::new(make);
        let (mut known, mut times) = (Known::default(), Times::default());
        for step in &steps {
            times.pass(step, &world);
            if let Some(Ok(output)) = live(&world, &known, times, step) {
                known.learn(&output);
            }
        }
        let source = source(&world);
        let other = World {
            store: make(std::sync::Arc::clone(&world.clock)),
            clock: std::sync::Arc::clone(&world.clock),
            project: world.project,
        };
        let restored = taken_in(&other, &source);
        prop_assert_eq!(restored.events, source.events.len() as u64);
        prop_assert!(restored.left.is_empty(), "{:?}", restored.left);
        let (ours, theirs) = (world.contents(), other.contents());
        prop_assert_eq!(ours.as_events_tell(), theirs.as_events_tell());
        let again = taken_in(&other, &source);
        prop_assert_eq!((again.events, again.known), (0, restored.events));
        // What is claimed from now on is of a new epoch.
        if let Some((session, _)) = other.claim() {
            prop_assert_eq!(epoch_of(session.fence), 1);
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// All that a store can tell of itself.
fn source(world: &World) -> Source {
    let log = world.contents().log;
    let mut source = Source::default();
    for entry in log {
        source.events.push(Told {
            stream: entry.stream,
            seq: entry.seq,
            header: entry.header,
            payload: entry.payload,
            dropped: entry.dropped,
        });
    }
    source
}

fn taken_in(world: &World, source: &Source) -> Restored {
    let mut restored = None;
    let reply = world.store.transact(&mut |tx| {
        restored = Some(restore(tx, source, &meta())?);
        Ok(Reply {
            output: Output::Tasks { tasks: vec![] },
            effects: vec![],
        })
    });
    reply.expect("it can be taken in");
    restored.expect("it was taken in")
}
