//! `lock`: who may work on what, first come, first served.

mod acquire;
mod backend;
mod run;
mod show;

use std::sync::Arc;

use api_types::{LockDocument, LockReleasedDocument, LockRow, LockTakenDocument};
use app::{
    ports::locks::{Grant, Locks},
    query::{Query, View},
};
use domain::{
    id::SessionId,
    lock::{Holder, HolderName, Lock, Mode, Release, Resource, Token},
};

use self::backend::locks_of;
use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    render::{count, duration},
};

/// The token of the lock under which `lock run` runs a command.
const TOKEN_VARIABLE: &str = "CREWBOSS_LOCK_TOKEN";
/// Who holds it.
const HOLDER_VARIABLE: &str = "CREWBOSS_LOCK_HOLDER";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show who holds what, and who waits for it
    List(show::List),
    /// Take a lock, and print its token
    Acquire(acquire::Acquire),
    /// Renew the lease of a lock
    Renew(Renew),
    /// Give a lock back, or take it away from its holder
    Release(ReleaseArgs),
    /// Wait until nobody is in the way any more
    Wait(acquire::Wait),
    /// Hold a lock while a command runs
    Run(run::Run),
    /// Count what has happened to locks
    Stats(show::Stats),
    /// Take away everything that a holder has or waits for
    Cleanup(Cleanup),
}

#[derive(Debug, clap::Args)]
struct Renew {
    /// The token that was given with the lock
    #[arg(long, value_name = "TOKEN", env = TOKEN_VARIABLE)]
    token: String,
    /// Another lease from now on: seconds, or 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    ttl: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct ReleaseArgs {
    /// The resource that is meant; the token alone says it too
    #[arg(value_name = "RESOURCE", required_unless_present = "token")]
    resource: Option<String>,
    /// The token that was given with the lock
    #[arg(
        long,
        value_name = "TOKEN",
        env = TOKEN_VARIABLE,
        required_unless_present = "force"
    )]
    token: Option<String>,
    /// Take it away from whoever holds it; that stands in the project's log
    #[arg(long, requires = "resource")]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct Cleanup {
    /// The holder, as `lock list` names it
    #[arg(value_name = "HOLDER")]
    holder: String,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.verb {
            Verb::List(list) => list.run(context),
            Verb::Acquire(acquire) => acquire.run(context),
            Verb::Renew(renew) => renew.run(context),
            Verb::Release(release) => release.run(context),
            Verb::Wait(wait) => wait.run(context),
            Verb::Run(run) => run.run(context),
            Verb::Stats(stats) => stats.run(context),
            Verb::Cleanup(cleanup) => cleanup.run(context),
        }
    }
}

impl Renew {
    fn run(self, context: &Context) -> Outcome {
        let token = token(&self.token)?;
        let ttl = self.ttl.map(|seconds| u64::from(seconds) * 1_000);
        let grant = locks(context)?.renew(token, ttl)?;
        context.out.line(format_args!(
            "Renewed {}; the lease ends in {}.",
            list(&grant.resources),
            duration::of_millis(grant.left_millis)
        ))?;
        context.out.print(&document(&grant))?;
        Ok(Exit::Ok)
    }
}

impl ReleaseArgs {
    fn run(self, context: &Context) -> Outcome {
        let resource = self.resource.as_deref().map(resource).transpose()?;
        let locks = locks(context)?;
        if let (true, Some(resource)) = (self.force, &resource) {
            let taken = locks.force_release(resource, &context.owner())?;
            if taken.is_empty() {
                return Err(Fail::from(app::error::Error::not_found("Lock", resource))
                    .hint("`crewboss lock list` shows what is held, by its exact name"));
            }
            return tell_taken(context, &taken);
        }
        let text = self.token.unwrap_or_default();
        let release = Release {
            token: token(&text)?,
            holder: None,
            resource,
        };
        let depth = locks.release(&release)?;
        context.out.line(match depth {
            0 => format!("Released token {}.", release.token),
            depth => format!(
                "Left token {}, which is entered {depth} more times.",
                release.token
            ),
        })?;
        context.out.print(&LockReleasedDocument {
            token: release.token,
            depth,
        })?;
        Ok(Exit::Ok)
    }
}

impl Cleanup {
    fn run(self, context: &Context) -> Outcome {
        let taken = locks(context)?.emergency_cleanup(&self.holder, &context.owner())?;
        tell_taken(context, &taken)
    }
}

fn tell_taken(context: &Context, taken: &[Lock]) -> Outcome {
    if !taken.is_empty() {
        context.tell_project(&context.ensure_project()?, true);
    }
    for lock in taken {
        let verb = if lock.is_waiting() {
            "Took out of the queue for"
        } else {
            "Released"
        };
        context.out.line(format_args!(
            "{verb} {} of {}.",
            list(&lock.resources),
            lock.holder
        ))?;
    }
    if taken.is_empty() {
        context.out.line("There was nothing to release.")?;
    } else {
        context
            .out
            .debug(format_args!("{} taken away", count(taken.len(), "lock")));
    }
    let taken = taken
        .iter()
        .map(|lock| LockRow::of(lock, 0, 0, &[]))
        .collect();
    context.out.print(&LockTakenDocument { taken })?;
    Ok(Exit::Ok)
}

/// The locks of this project.
fn locks(context: &Context) -> Result<Arc<dyn Locks>, Fail> {
    let project = context.ensure_project()?;
    locks_of(context, project.id)
}

fn resource(text: &str) -> Result<Resource, Fail> {
    text.parse()
        .map_err(|error: domain::lock::InvalidResource| {
            Fail::usage(error.to_string()).hint(
                "a resource is a name such as `deploy`, a file `src/main.rs` or a folder `src/`",
            )
        })
}

fn resources(texts: &[String]) -> Result<Vec<Resource>, Fail> {
    texts.iter().map(|text| resource(text)).collect()
}

fn token(text: &str) -> Result<Token, Fail> {
    text.parse().map_err(|error: domain::lock::InvalidToken| {
        Fail::usage(format!("--token: {error}"))
            .hint("`crewboss lock acquire` prints it, and `crewboss lock list` shows it")
    })
}

/// Who asks: as it was said, else the session that this runs in, else the command that this runs
/// under, else the process that calls.
fn holder(context: &Context, said: Option<&str>, pid: u32) -> Result<Holder, Fail> {
    if let Some(said) = said.or_else(|| context.env.text(HOLDER_VARIABLE)) {
        if let Ok(session) = said.parse() {
            return of_session(context, session);
        }
        let error = |error: domain::lock::InvalidHolder| Fail::usage(format!("--holder: {error}"));
        return said.parse().map_err(error);
    }
    if let Some(session) = context.env.text(app::ports::processes::SESSION_VARIABLE)
        && let Ok(session) = session.parse()
    {
        return of_session(context, session);
    }
    let plain = |text: &str| -> String {
        let kept = text.chars().map(|c| {
            if c.is_whitespace() || c.is_control() {
                '_'
            } else {
                c
            }
        });
        kept.take(60).collect()
    };
    let host = rustix::system::uname();
    let host = plain(&host.nodename().to_string_lossy());
    let name = format!("{}@{host}:{pid}", plain(&context.owner()));
    let name = HolderName::try_from(name)
        .map_err(|_| Fail::usage("who asks has no name that can be used").hint("--holder NAME"))?;
    Ok(Holder::Named { name })
}

fn of_session(context: &Context, session: SessionId) -> Result<Holder, Fail> {
    match context.store()?.read(&Query::Session { id: session })? {
        View::Session { session } => Ok(Holder::Session {
            session: session.id,
            fence: session.fence,
        }),
        _ => Err(unexpected("session")),
    }
}

fn list(resources: &[Resource]) -> String {
    let texts: Vec<String> = resources.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn document(grant: &Grant) -> LockDocument {
    LockDocument {
        id: grant.id,
        token: grant.token,
        holder: grant.holder.to_string(),
        resources: grant.resources.clone(),
        mode: grant.mode,
        depth: grant.depth,
        ttl_ms: grant.ttl_millis,
        left_ms: grant.left_millis,
        waited_ms: grant.waited_millis,
    }
}

/// As [`Mode`], as it is typed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ModeWord {
    /// With nobody
    Exclusive,
    /// With everybody else who shares
    Shared,
    /// Of a path and all beneath it, with nobody
    Intent,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::Exclusive => Self::Exclusive,
            ModeWord::Shared => Self::Shared,
            ModeWord::Intent => Self::Intent,
        }
    }
}
