//! Taking a lock, and waiting for one.

use std::sync::Arc;

use api_types::LockWaitDocument;
use app::{
    error::Error,
    ports::locks::{Attempt, Grant, LOOK_EVERY, Locks},
};
use domain::{
    lock::{Ask, LockRefused, Release, TTL_DEFAULT_MILLIS, TTL_MIN_MILLIS, WAIT_MAX_MILLIS},
    task::Priority,
};

use super::{ModeWord, document, holder, list, locks, resources, token};
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    interrupt::Interrupt,
    render::duration,
};

/// What is asked for, by whichever verb.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// What to lock, all of it or nothing: a name, a file, or a folder with a slash at its end
    #[arg(value_name = "RESOURCE", required = true)]
    resources: Vec<String>,
    /// Whether others may be beside it
    #[arg(long, value_enum, default_value = "exclusive", value_name = "MODE")]
    mode: ModeWord,
    /// Who holds it; where it is not said, the session or the calling process
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// From 1 to 10; the more important goes first, and each 30 seconds of waiting count as one step
    #[arg(long, value_name = "N", default_value_t = 5)]
    priority: u8,
}

#[derive(Debug, clap::Args)]
pub(super) struct Acquire {
    #[command(flatten)]
    wanted: Wanted,
    /// The lease: the lock ends unless it is renewed in this time
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    ttl: u32,
    /// Wait in the queue for so long; without it the lock is free now or is not taken
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<u32>,
    /// Enter a lock once more that is held under this token
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Print the token alone
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Wait {
    #[command(flatten)]
    wanted: Wanted,
    /// Give up after so long
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    timeout: Option<u32>,
}

/// Times and the rest of a request.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) ttl_millis: u64,
    pub(super) wait_millis: u64,
}

impl Wanted {
    pub(super) fn ask(&self, context: &Context, terms: &Terms, pid: u32) -> Result<Ask, Fail> {
        let priority = Priority::try_from(self.priority);
        let priority = priority.map_err(|error| Fail::usage(format!("--priority: {error}")))?;
        let ask = Ask {
            resources: resources(&self.resources)?,
            mode: self.mode.into(),
            holder: holder(context, self.holder.as_deref(), pid)?,
            priority,
            ttl_millis: terms.ttl_millis,
            wait_millis: terms.wait_millis,
            token: None,
            wake: None,
        };
        ask.checked().map_err(|refused| explained(refused.into()))
    }
}

impl Acquire {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let terms = Terms {
            ttl_millis: u64::from(self.ttl) * 1_000,
            wait_millis: u64::from(self.wait.unwrap_or(0)) * 1_000,
        };
        let mut ask = self.wanted.ask(context, &terms, parent())?;
        ask.token = self.token.as_deref().map(token).transpose()?;
        let locks = locks(context)?;
        let mut grant = take(context, &locks, &ask)?;
        if grant.left_millis < grant.ttl_millis {
            grant = locks.renew(grant.token, None)?;
        }
        if self.quiet {
            context.out.line(grant.token)?;
        } else {
            context.out.line(format_args!(
                "Locked {} ({}) for {}.\nToken {}; the lease ends in {}.",
                list(&grant.resources),
                grant.mode,
                grant.holder,
                grant.token,
                duration::of_millis(grant.left_millis)
            ))?;
        }
        context.out.print(&document(&grant))?;
        Ok(Exit::Ok)
    }
}

impl Wait {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let wait_millis = self
            .timeout
            .map_or(WAIT_MAX_MILLIS, |time| u64::from(time) * 1_000);
        let terms = Terms {
            ttl_millis: TTL_MIN_MILLIS.max(TTL_DEFAULT_MILLIS),
            wait_millis,
        };
        let ask = self.wanted.ask(context, &terms, std::process::id())?;
        let locks = locks(context)?;
        let grant = take(context, &locks, &ask)?;
        locks.release(&Release::of(grant.token))?;
        context
            .out
            .line(format_args!("{} is free.", list(&grant.resources)))?;
        context.out.print(&LockWaitDocument {
            resources: grant.resources,
            waited_ms: grant.waited_millis,
        })?;
        Ok(Exit::Ok)
    }
}

/// The lock, waited for as long as was asked. Ctrl+C leaves the queue.
pub(super) fn take(context: &Context, locks: &Arc<dyn Locks>, ask: &Ask) -> Result<Grant, Fail> {
    let interrupt = if ask.wait_millis > 0 {
        Some(Interrupt::listen()?)
    } else {
        None
    };
    let came = || interrupt.as_ref().is_some_and(Interrupt::came);
    let mut attempt = locks.begin(ask).map_err(explained)?;
    let mut is_told = false;
    loop {
        let ticket = match attempt {
            Attempt::Granted { grant } => return Ok(grant),
            Attempt::Queued { ticket } => ticket,
        };
        if let (false, Some(first)) = (is_told, ticket.by.first()) {
            is_told = true;
            context.out.say(format_args!(
                "waiting for {}, which {} {}; {} in the way",
                first.resource,
                first.holder,
                if first.waits {
                    "waits for too"
                } else {
                    "holds"
                },
                ticket.by.len()
            ));
        }
        if came() {
            locks.leave(ticket.id)?;
            return Err(Fail::new(Exit::Interrupted, "left the queue"));
        }
        // A signal ends the wait for a bell early only where the bell is ours to hear: look often.
        attempt = locks.wait(ticket.id, LOOK_EVERY / 4).map_err(explained)?;
    }
}

/// With what to do about it.
pub(super) fn explained(error: Error) -> Fail {
    let hint = match &error {
        Error::Lock { refused } => match refused {
            LockRefused::Busy { .. } => Some(
                "`--wait TIME` waits in the queue, and `crewboss lock list` shows who is there",
            ),
            LockRefused::TimedOut { .. } => Some("`crewboss lock list` shows who is there"),
            LockRefused::Deadlock { .. } => {
                Some("release what you hold and ask for all of it in one request")
            }
            LockRefused::Invalid { field, .. } if field == "ttl" => {
                Some("`crewboss lock run` renews a lock for as long as its command runs")
            }
            LockRefused::Invalid { .. }
            | LockRefused::NotHeld { .. }
            | LockRefused::NotYours { .. }
            | LockRefused::NotCovered { .. }
            | LockRefused::NotWaiting { .. }
            | LockRefused::FenceLost { .. }
            | LockRefused::QueueFull { .. } => None,
        },
        _ => None,
    };
    let fail = Fail::from(error);
    match hint {
        Some(hint) => fail.hint(hint),
        None => fail,
    }
}

/// The process that has asked for this command: it is there when this one has ended.
fn parent() -> u32 {
    std::os::unix::process::parent_id()
}
