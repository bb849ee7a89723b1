//! `runner`: the process that owns one session. Started by others, never by hand.

use std::{path::PathBuf, sync::Arc};

use domain::id::SessionId;
use runner::{Interrupt, RunnerExit};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    wiring,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The session
    #[arg(long)]
    session: SessionId,
    /// The fence under which it was claimed
    #[arg(long)]
    fence: u64,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let host = wiring::host(&context.program()?, &context.places)?;
        host.become_subreaper()
            .map_err(|error| Fail::io("the runner cannot adopt orphans", &error))?;
        let processes: Arc<dyn app::ports::processes::Processes> = Arc::new(host);
        runner::end_session_on_panic(Arc::clone(&processes), self.session);
        let interrupt = Interrupt::default();
        interrupt
            .on_signals()
            .map_err(|error| Fail::io("the runner cannot listen to signals", &error))?;
        let root = PathBuf::from(context.places.root()?);
        let deps = wiring::deps(context, processes, root, interrupt)?;
        let exit = runner::run(deps, self.session, self.fence);
        crate::layout::show_after(context, self.session);
        // A daemon brings the images up to date itself; else whoever comes next does what is left.
        if !context.has_daemon() {
            drop(context.carried_out());
        }
        match exit {
            RunnerExit::Settled(_) | RunnerExit::NotOurs => Ok(Exit::Ok),
            RunnerExit::Lost => Ok(Exit::Conflict),
            RunnerExit::Down => Ok(Exit::Interrupted),
            RunnerExit::Unsettled(why) | RunnerExit::Unreachable(why) => {
                Err(Fail::new(Exit::Unavailable, why))
            }
            RunnerExit::Broken(why) => Err(Fail::new(Exit::Failed, why)),
        }
    }
}
