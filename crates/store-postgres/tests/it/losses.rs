//! Connections that are lost, a server that is killed, and a writer that stops in the middle.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use app::command::{Command, Output, Request};
use domain::{id::TaskId, task::TaskStatus};
use testkit::{
    contract::{
        log,
        world::{World, create_command, request, work},
    },
    poll::poll_until,
    postgres::{Durability, Server, in_schema},
};

use crate::processes::{again, named_world, world_at};

const LONG: Duration = Duration::from_mins(1);

/// Creates tasks under keys of their own from several threads while `trouble` goes on; whatever is
/// said to be made is there once afterwards, and whatever failed is there once or not at all.
fn nothing_is_lost_or_doubled(url: &str, trouble: impl FnOnce(&AtomicUsize)) {
    let world = world_at(url);
    let (made, ends) = (AtomicUsize::new(0), AtomicBool::new(false));
    let acknowledged = Mutex::new(BTreeSet::<TaskId>::new());
    let attempts = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (world, made, ends, acknowledged, attempts) =
                (&world, &made, &ends, &acknowledged, &attempts);
            scope.spawn(move || {
                let mut n = 0;
                while !ends.load(Ordering::SeqCst) {
                    n += 1;
                    attempts.fetch_add(1, Ordering::SeqCst);
                    let id = create_until_done(world, &format!("{worker}-{n}"));
                    assert!(
                        acknowledged.lock().expect("no panic").insert(id),
                        "{id} twice"
                    );
                    made.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        assert!(poll_until(LONG, || made.load(Ordering::SeqCst) > 20));
        trouble(&made);
        let before = made.load(Ordering::SeqCst);
        assert!(poll_until(LONG, || made.load(Ordering::SeqCst) > before + 20));
        ends.store(true, Ordering::SeqCst);
    });
    let acknowledged = acknowledged.into_inner().expect("no panic");
    assert_eq!(acknowledged.len(), attempts.load(Ordering::SeqCst));
    let total = u64::try_from(acknowledged.len()).expect("small");
    assert_eq!(world.counts(), [(TaskStatus::Pending, total)].into());
    for id in acknowledged {
        assert_eq!(world.task(id).id, id);
    }
    log::verify(&world.contents().log);
}

/// Asks under one key until there is an answer.
fn create_until_done(world: &World, key: &str) -> TaskId {
    let mut create: Request = request(create_command(world.project, work(key)));
    create.meta.idempotency_key = Some(key.to_owned());
    loop {
        match world.store.execute(create.clone()) {
            Ok(reply) => match reply.output {
                Output::Task { task, .. } => return task.id,
                other => panic!("{other:?}"),
            },
            Err(app::error::Error::Unavailable { .. }) => thread::sleep(Duration::from_millis(20)),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn lost_connections_lose_and_double_nothing() {
    let Some(server) = Server::start(Durability::Full) else {
        return;
    };
    let url = in_schema(&server.url(), "lost");
    nothing_is_lost_or_doubled(&url, |made| {
        for _ in 0..40 {
            let before = made.load(Ordering::SeqCst);
            server.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'crewboss'",
            );
            assert!(poll_until(LONG, || made.load(Ordering::SeqCst) > before));
        }
    });
}

#[test]
fn a_server_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let Some(mut server) = Server::start(Durability::Full) else {
        return;
    };
    let url = in_schema(&server.url(), "killed");
    nothing_is_lost_or_doubled(&url, |made| {
        for round in 0..5 {
            let before = made.load(Ordering::SeqCst);
            if round % 2 == 0 {
                server.kill();
            } else {
                server.stop_in_order();
            }
            server.start_again();
            assert!(poll_until(LONG, || made.load(Ordering::SeqCst) > before));
        }
    });
}

#[test]
#[ignore = "is started by the test below, in a process of its own"]
fn writes_until_killed() {
    let Some(world) = named_world() else { return };
    let mut stdout = std::io::stdout().lock();
    loop {
        let task = world.create(work("x"));
        writeln!(stdout, "\n{}", task.id).expect("the parent reads");
        stdout.flush().expect("the parent reads");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let Some(url) = testkit::postgres::store() else {
        return;
    };
    let mut acknowledged: Vec<TaskId> = vec![];
    for round in 0..8 {
        let mut child = again("losses::writes_until_killed", &url, Stdio::piped());
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut seen = 0;
        while seen < 3 + round {
            let line = lines.next().expect("it writes on").expect("text");
            if let Ok(id) = line.parse() {
                acknowledged.push(id);
                seen += 1;
            }
        }
        child.kill().expect("it lives");
        child.wait().expect("it has ended");
        let rest = lines.map_while(Result::ok);
        acknowledged.extend(rest.filter_map(|line| line.parse::<TaskId>().ok()));
    }
    let world = world_at(&url);
    for id in &acknowledged {
        assert_eq!(world.task(*id).id, *id);
    }
    log::verify(&world.contents().log);
}

/// Requests that share a commit and of which some fail after they have changed something.
#[test]
fn a_request_that_fails_leaves_its_neighbours_alone() {
    let Some(url) = testkit::postgres::store() else {
        return;
    };
    let world = world_at(&url);
    let first = world.create(work("first"));
    let total = 200;
    let (sender, answers) = std::sync::mpsc::channel();
    for n in 0..total {
        let command = match n % 4 {
            0 => Command::DeleteTask { task: first.id },
            1 => Command::RetryTask {
                task: first.id,
                retries_max: None,
                auto_retry: None,
                continues: false,
            },
            _ => create_command(world.project, work(&n.to_string())),
        };
        let sender = sender.clone();
        let answer = move |reply: Result<_, _>| sender.send((n, reply.is_ok())).expect("heard");
        world.store.submit(request(command), Box::new(answer));
    }
    drop(sender);
    let made = answers.iter().filter(|(n, ok)| n % 4 > 1 && *ok).count();
    assert_eq!(made, total / 2);
    log::verify(&world.contents().log);
}

/// What has its turn and then says nothing must not keep everybody else from writing for ever.
#[test]
fn a_writer_that_stops_in_its_turn_loses_it() {
    let Some(url) = testkit::postgres::store() else {
        return;
    };
    let stuck = world_at(&url);
    let other = Arc::new(world_at(&url));
    let holds = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopped = scope.spawn(|| {
            stuck.store.transact(&mut |tx| {
                holds.store(true, Ordering::SeqCst);
                thread::sleep(Duration::from_secs(17));
                app::command::apply(tx, &request(create_command(stuck.project, work("late"))))
            })
        });
        assert!(poll_until(LONG, || holds.load(Ordering::SeqCst)));
        assert_eq!(other.create(work("in time")).spec.prompt, "in time");
        let late = stopped.join().expect("no panic");
        assert!(late.is_err(), "its turn was over: {late:?}");
    });
    log::verify(&other.contents().log);
}
