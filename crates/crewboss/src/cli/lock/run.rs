//! `lock run`: a command under a lock, and never without it.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command, ExitStatus},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use app::locks::{Keeper, Lost};
use domain::lock::WAIT_MAX_MILLIS;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals},
};

use super::{
    HOLDER_VARIABLE, TOKEN_VARIABLE,
    acquire::{Terms, Wanted, take},
    list, locks,
};
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::duration,
};

/// A command that is told to end has so long.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    #[command(flatten)]
    wanted: Wanted,
    /// The lease; it is renewed while the command runs
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    ttl: u32,
    /// Give up after so long in the queue; 24 hours where it is not said
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    wait: Option<u32>,
    /// The command and its arguments, behind `--`
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// What ends the wait for the command.
enum News {
    Ended(io::Result<ExitStatus>),
    Lost(Lost),
    Signal(i32),
}

impl Run {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let wait = self
            .wait
            .map_or(WAIT_MAX_MILLIS, |seconds| u64::from(seconds) * 1_000);
        let terms = Terms {
            ttl_millis: u64::from(self.ttl) * 1_000,
            wait_millis: wait,
        };
        let ask = self.wanted.ask(context, &terms, std::process::id())?;
        let locks = locks(context)?;
        let grant = take(context, &locks, &ask)?;
        let (news, heard) = channel();
        let lost = news.clone();
        let keeper = Keeper::start(
            Arc::clone(&locks),
            context.clock()?,
            &grant,
            Box::new(move |why| drop(lost.send(News::Lost(why)))),
        )?;
        let signals = Forwarded::listen(&news)?;
        let variables = [
            (TOKEN_VARIABLE, grant.token.to_string()),
            (HOLDER_VARIABLE, grant.holder.to_string()),
        ];
        let started = start(&self.command, &variables);
        let result = started.and_then(|(child, group)| {
            watch(child, group, news, &heard).map_err(|lost| {
                let message = format!("the lock on {} is lost", list(&grant.resources));
                Fail::caused(Exit::Conflict, message, &lost)
                    .hint("the command was ended; what it had done is not undone")
            })
        });
        signals.close();
        let released = keeper.release();
        let status = result?;
        if let Err(error) = released {
            context
                .out
                .warn(format_args!("the lock was not released: {error}"));
        }
        pass_on(status)
    }
}

/// Starts the command, in a group of its own unless it may want the terminal.
#[expect(
    clippy::disallowed_methods,
    reason = "the user's own command in the user's own environment, beside no session"
)]
fn start(words: &[OsString], variables: &[(&str, String)]) -> Result<(Child, bool), Fail> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Fail::usage("name a command behind `--`"));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    for (name, value) in variables {
        command.env(name, value);
    }
    let own_group = !io::stdin().is_terminal();
    if own_group {
        command.process_group(0);
    }
    let child = command.spawn().map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Unavailable,
        };
        Fail::caused(
            exit,
            format!("{} cannot be started", program.to_string_lossy()),
            &error,
        )
    })?;
    Ok((child, own_group))
}

/// Until the command has ended. A lost lock ends it.
fn watch(
    mut child: Child,
    group: bool,
    news: Sender<News>,
    heard: &Receiver<News>,
) -> Result<ExitStatus, Lost> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let signal = move |signal: Signal| {
        if let Some(pid) = pid {
            // It may have ended by itself in between.
            let _gone = if group {
                kill_process_group(pid, signal)
            } else {
                kill_process(pid, signal)
            };
        }
    };
    let waiter = thread::spawn(move || drop(news.send(News::Ended(child.wait()))));
    let mut lost = None;
    let status = loop {
        let next = match lost {
            None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => heard.recv_timeout(GRACE),
        };
        match next {
            Ok(News::Ended(status)) => break status,
            Ok(News::Lost(why)) => {
                signal(Signal::TERM);
                lost.get_or_insert(why);
            }
            Ok(News::Signal(number)) => {
                if let Some(named) = Signal::from_named_raw(number) {
                    signal(named);
                }
            }
            Err(RecvTimeoutError::Timeout) => signal(Signal::KILL),
            Err(RecvTimeoutError::Disconnected) => {
                break Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
        }
    };
    drop(waiter.join());
    match lost {
        Some(lost) => {
            // Nothing of its group goes on without the lock.
            if group {
                signal(Signal::KILL);
            }
            Err(lost)
        }
        None => Ok(status.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8))),
    }
}

/// Signals that end this program go to the command first.
struct Forwarded {
    handle: Handle,
    thread: thread::JoinHandle<()>,
}

impl Forwarded {
    fn listen(news: &Sender<News>) -> Result<Self, Fail> {
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
        let mut signals = signals.map_err(|error| Fail::io("cannot listen to signals", &error))?;
        let (handle, news) = (signals.handle(), news.clone());
        let thread = thread::spawn(move || {
            for number in signals.forever() {
                drop(news.send(News::Signal(number)));
            }
        });
        Ok(Self { handle, thread })
    }

    fn close(self) {
        self.handle.close();
        drop(self.thread.join());
    }
}

/// Ends as the command has.
#[expect(
    clippy::exit,
    reason = "a command's exit code is any number, not one of ours"
)]
fn pass_on(status: ExitStatus) -> Outcome {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(Exit::Ok),
        (Some(code), _) => std::process::exit(code),
        (None, Some(signal)) => std::process::exit(128 + signal),
        (None, None) => Ok(Exit::Failed),
    }
}
