//! Checks that are commands.

use std::{error::Error, fmt::Write, io, path::Path, sync::Arc, time::Duration};

use app::ports::{
    clock::Clock,
    gates::{GateRun, Gates},
    processes::{Launch, ProcessTree, Processes},
};
use domain::{
    gate::{GateResult, GateSpec, GateStatus},
    process::Exit,
    time::Due,
};

use crate::output::Collector;

/// How long a check that took too long may take to end itself.
const GRACE_AFTER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what a check left behind may take to end.
const GRACE_OF_LEFTOVERS: Duration = Duration::from_secs(2);

/// How long the clock is not asked: the longest by which a jump of it is noticed late.
const CLOCK_STEP_MS: u64 = 1_000;

/// With these a shell says that it could not execute what the line names.
const SHELL_COULD_NOT: [Exit; 2] = [Exit::Code(126), Exit::Code(127)];

/// Runs checks as processes of the session.
#[derive(Debug)]
pub struct CommandGates {
    processes: Arc<dyn Processes>,
    clock: Arc<dyn Clock>,
}

/// What became of a check.
struct Verdict {
    status: GateStatus,
    exit: Option<Exit>,
    tail: String,
    has_output: bool,
}

impl CommandGates {
    /// Checks that run through `processes` and are timed by `clock`.
    pub fn new(processes: Arc<dyn Processes>, clock: Arc<dyn Clock>) -> Self {
        Self { processes, clock }
    }

    fn judge(&self, spec: &GateSpec, request: &GateRun) -> Verdict {
        let due = self
            .clock
            .now()
            .after_millis(u64::from(spec.timeout_seconds) * 1_000);
        let argv = match spec.argv() {
            Ok(argv) => argv,
            Err(error) => return Verdict::unavailable(&error),
        };
        let file = request.session_dir.join(&request.output);
        let collector = Collector::new(&file, request.redactor.clone());
        let collector = match collector {
            Ok(collector) => collector,
            Err(error) => return Verdict::unavailable(&error),
        };
        let tree = match self.processes.spawn(launch(argv, request)) {
            Ok(tree) => tree,
            Err(error) => return Verdict::unavailable(&error),
        };
        self.watch(spec, tree, collector, &due)
    }

    /// Waits for the check's end or time limit, ends what is left of it, and judges.
    fn watch(
        &self,
        spec: &GateSpec,
        mut tree: Box<dyn ProcessTree>,
        mut collector: Collector,
        due: &Due,
    ) -> Verdict {
        let streams = [tree.take_stdout(), tree.take_stderr()];
        let reading = streams
            .into_iter()
            .flatten()
            .try_for_each(|stream| collector.read(stream));
        let waited = reading.and_then(|()| self.wait(tree.as_mut(), due));
        let in_time = matches!(waited, Ok(Some(_)));
        tree.end(if in_time {
            GRACE_OF_LEFTOVERS
        } else {
            GRACE_AFTER_TIMEOUT
        });
        let exit = tree.wait(Duration::ZERO).ok().flatten();
        let tail = match (waited, collector.finish()) {
            (Err(error), _) | (_, Err(error)) => {
                return Verdict {
                    exit,
                    has_output: true,
                    ..Verdict::unavailable(&error)
                };
            }
            (Ok(_), Ok(tail)) => tail,
        };
        let status = match exit {
            _ if !in_time => GateStatus::Timeout,
            Some(exit) if exit.is_success() => GateStatus::Passed,
            Some(exit) if spec.run.is_some() && SHELL_COULD_NOT.contains(&exit) => {
                GateStatus::Unavailable
            }
            Some(_) => GateStatus::Failed,
            None => GateStatus::Unavailable,
        };
        Verdict {
            status,
            exit,
            tail,
            has_output: true,
        }
    }

    fn wait(&self, tree: &mut dyn ProcessTree, due: &Due) -> io::Result<Option<Exit>> {
        loop {
            let left = due.millis_left(&self.clock.now());
            let exit = tree.wait(Duration::from_millis(left.min(CLOCK_STEP_MS)))?;
            if exit.is_some() || left == 0 {
                return Ok(exit);
            }
        }
    }
}

impl Gates for CommandGates {
    fn run(&self, spec: &GateSpec, request: &GateRun) -> GateResult {
        let start = self.clock.now();
        let verdict = self.judge(spec, request);
        GateResult {
            name: spec.name.clone(),
            required: spec.required,
            status: verdict.status,
            exit: verdict.exit,
            duration_ms: self.clock.now().millis_since(&start.moment).unwrap_or(0),
            tail: verdict.tail,
            output: verdict.has_output.then(|| shown(&request.output)),
        }
    }
}

impl Verdict {
    fn unavailable(error: &dyn Error) -> Self {
        let mut tail = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Writing to a string cannot fail.
            let _ = write!(tail, ": {error}");
            cause = error.source();
        }
        Self {
            status: GateStatus::Unavailable,
            exit: None,
            tail,
            has_output: false,
        }
    }
}

fn launch(argv: Vec<String>, request: &GateRun) -> Launch {
    let mut words = argv.into_iter();
    Launch {
        session: request.session,
        program: words.next().unwrap_or_default(),
        args: words.collect(),
        env: request.env.clone(),
        directory: request.directory.clone(),
        stdin: Vec::new(),
    }
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
