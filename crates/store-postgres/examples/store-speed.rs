//! How fast a store in PostgreSQL takes tasks in and gives them out, with everything that belongs to
//! it: `store-speed URL [CALLERS] [SECONDS]`. Each schema is new.

#![expect(clippy::print_stdout, reason = "a program that says what it measured")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::{
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use app::ports::{clock::Clock, store::Store as _};
use store_postgres::{PostgresStore, Target, Time, Upgrade};
use testkit::{
    contract::{
        clock::ManualClock,
        world::{claim_command, create_command, request, starts, work},
    },
    postgres::{in_schema, schema},
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("an address is needed")?;
    let callers: usize = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let target = Target::parse(&in_schema(&url, &schema()))?;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let store = PostgresStore::open(target, Time::Given(clock), Upgrade::ByItself)?;
    let project = store.execute(request(app::command::Command::RegisterProject {
        root: "/p".to_owned(),
        name: "p".to_owned(),
    }))?;
    let app::command::Output::Project { project } = project.output else {
        return Err("no project".into());
    };
    let create = || {
        let mut new = create_command(project.id, work("do it"));
        if let app::command::Command::CreateTask { queue, .. } = &mut new {
            queue.queue_max = u64::MAX;
        }
        store.execute(request(new)).map(|_| 1)
    };
    report("create", callers, measure(callers, seconds, &create)?);
    let claim = |batch: u32| {
        let command = claim_command(project.id, starts(batch));
        let reply = store.execute(request(command))?;
        Ok(match reply.output {
            app::command::Output::Claimed { claims, .. } => claims.len(),
            _ => 0,
        })
    };
    report("claim 1", 1, measure(1, seconds, &|| claim(1))?);
    report("claim 100", 1, measure(1, seconds, &|| claim(100))?);
    Ok(())
}

type Measured = (usize, Duration, Vec<Duration>);

/// What callers get done at once in so many seconds.
fn measure(
    callers: usize,
    seconds: u64,
    act: &(dyn Fn() -> Result<usize, app::error::Error> + Sync),
) -> Result<Measured, app::error::Error> {
    let ends = AtomicBool::new(false);
    let all = Mutex::new((0, vec![], Ok(())));
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                let (mut done, mut took) = (0, vec![]);
                let mut outcome = Ok(());
                while !ends.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    match act() {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(error) => {
                            outcome = Err(error);
                            break;
                        }
                    }
                    took.push(before.elapsed());
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.0 += done;
                all.1.extend(took);
                if outcome.is_err() {
                    all.2 = outcome;
                }
            });
        }
        thread::sleep(Duration::from_secs(seconds));
        ends.store(true, Ordering::Relaxed);
    });
    let (done, mut took, outcome) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcome?;
    took.sort_unstable();
    Ok((done, began.elapsed(), took))
}

fn report(what: &str, callers: usize, (done, elapsed, took): Measured) {
    let at = |part: usize| {
        took.get(took.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    let millis = done as u128 * 1_000 / elapsed.as_millis().max(1);
    println!(
        "{what:10} {callers:4} callers {millis:8}/s  p50 {:?}  p99 {:?}",
        at(50),
        at(99)
    );
}
