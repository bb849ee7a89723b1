//! Signs the log's head when it is due, so that what is cut off the log's end is found.

use std::{path::PathBuf, sync::Arc};

use app::{
    audit::Head,
    ports::{clock::Clock, store::Store},
    query::{Query, View},
};
use audit_heads::{Heads, HeadsError, SignedHead, Written, gather};

use crate::{
    config::{Config, Origin},
    context::{Context, unexpected},
    fail::{Exit, Fail},
    output::Output,
    places::Places,
    stores::LogPlace,
};

const KEY: &str = "audit.heads";

/// The heads of a store, with a second place where the user has named one.
///
/// # Errors
/// Where a project names one: what is logged belongs to every project of the store.
pub(crate) fn of(config: &Config, places: &Places) -> Result<Heads, Fail> {
    let second = config.settings.audit.heads.as_ref().map(PathBuf::from);
    if let Origin::File { path, line } = config.origin(KEY)
        && *path == places.project_config()
        && *path != places.user_config
    {
        return Err(Fail::usage(format!(
            "{}:{line}: `{KEY}` belongs into your own configuration: the log is that of every \
             project",
            path.display()
        ))
        .hint(format!("`crewboss config set --user {KEY} FILE` sets it")));
    }
    Ok(Heads::new(&heads_folder(places), second))
}

/// Each store has heads of its own, and a key.
fn heads_folder(places: &Places) -> PathBuf {
    match &places.server {
        None => places.home.clone(),
        Some(server) => places.home.join("stores").join(server.name()),
    }
}

/// Whoever signs when it is due.
#[derive(Debug)]
pub(crate) struct Signer {
    heads: Heads,
    log: LogPlace,
    events: u64,
    millis: i64,
    clock: Arc<dyn Clock>,
}

impl Signer {
    pub(crate) fn new(
        config: &Config,
        places: &Places,
        log: LogPlace,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Fail> {
        let settings = &config.settings.audit;
        Ok(Self {
            heads: of(config, places)?,
            log,
            events: settings.head_events,
            millis: i64::try_from(settings.head_minutes.saturating_mul(60_000)).unwrap_or(i64::MAX),
            clock,
        })
    }

    /// Signs where enough was logged since the last head, or anything long enough ago. Where
    /// nothing is due this reads the end of one file and asks one question.
    pub(crate) fn sign_if_due(&self, store: &dyn Store, out: &Output) -> Result<(), Fail> {
        if self.is_due(store)? {
            self.sign(out)?;
        }
        Ok(())
    }

    /// Signs whatever was logged since the last head.
    pub(crate) fn sign_rest(&self, store: &dyn Store, out: &Output) -> Result<(), Fail> {
        let last = self.heads.last()?;
        let position = last.map_or(0, |last| last.head.position);
        if goes_on_behind(store, position)? {
            self.sign(out)?;
        }
        Ok(())
    }

    fn is_due(&self, store: &dyn Store) -> Result<bool, Fail> {
        let Some(last) = self.heads.last()? else {
            return goes_on_behind(store, 0);
        };
        let age = self.clock.now().wall.as_millis() - last.at.as_millis();
        let unsigned = if age >= self.millis { 1 } else { self.events };
        goes_on_behind(store, last.head.position.saturating_add(unsigned - 1))
    }

    fn sign(&self, out: &Output) -> Result<(), Fail> {
        let Some(head) = end(&self.log)? else {
            return Ok(());
        };
        // Somebody else may be signing right now: then that is enough.
        if let Some(written) = self.heads.sign(head, self.clock.now().wall, false)? {
            report_second(&written.second, out);
            out.debug(format_args!(
                "signed the log's head at position {}",
                written.head.head.position
            ));
        }
        Ok(())
    }
}

/// Signs the present head whatever is due; nothing where nothing was logged.
pub(crate) fn sign_now(context: &Context) -> Result<Option<(SignedHead, Heads)>, Fail> {
    let heads = of(context.config()?, &context.places)?;
    let Some(head) = end(&context.log_place()?)? else {
        return Ok(None);
    };
    let at = context.clock()?.now().wall;
    let Some(Written { head, second }) = heads.sign(head, at, true)? else {
        return Ok(None);
    };
    report_second(&second, &context.out);
    Ok(Some((head, heads)))
}

/// At the end of a command that may have changed something. What goes wrong here is no failure of
/// the command.
pub(crate) fn after_command(context: &Context) {
    // A layout's folder holds what others expect in it, and nothing else. The daemon signs itself.
    let is_others = context.places.layout.is_some() || context.is_served();
    if is_others || !context.has_store().unwrap_or(false) {
        return;
    }
    let sign = || {
        let signer = Signer::new(
            context.config()?,
            &context.places,
            context.log_place()?,
            context.clock()?,
        )?;
        signer.sign_if_due(&*context.store()?, &context.out)
    };
    if let Err(fail) = sign() {
        let why = fail.render();
        let why = why.trim().trim_start_matches("error: ");
        context
            .out
            .warn(format_args!("the log's head was not signed: {why}"));
    }
}

/// Heads and key of the store in the file vouch for what was moved out of it, too.
pub(crate) fn carry_over(places: &Places) -> Result<(), Fail> {
    let (from, to) = (&places.home, heads_folder(places));
    for file in ["keys/audit", "audit/heads.jsonl"] {
        let (old, new) = (from.join(file), to.join(file));
        if new.exists() || !old.is_file() {
            continue;
        }
        let folder = new.parent().unwrap_or(&to);
        let cannot =
            |error: &std::io::Error| Fail::io(format!("cannot write {}", new.display()), error);
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .recursive(true)
            .create(folder)
            .map_err(|error| cannot(&error))?;
        std::fs::copy(&old, &new).map_err(|error| cannot(&error))?;
    }
    Ok(())
}

/// The heads of this store whose signatures hold.
pub(crate) fn trusted(context: &Context) -> Result<Vec<Head>, Fail> {
    let heads = of(context.config()?, &context.places)?;
    let anchor = heads.current_key()?;
    Ok(gather(&heads.files(), anchor.as_deref())?.heads)
}

/// Heads that were signed for another log than the one that is there now would be taken for proof
/// that it was rewritten, which is known: their file is kept under another name.
pub(crate) fn set_aside_those_of_another_log(context: &Context, epoch: u64) -> Result<(), Fail> {
    let heads = of(context.config()?, &context.places)?;
    let log = context.log_place()?.open()?;
    let holds = |head: &Head| {
        let there = log.at(head.position)?;
        Ok::<_, Fail>(there.is_some_and(|there| there.global_hash == head.global_hash))
    };
    let mut is_other = false;
    for head in trusted(context)? {
        is_other |= !holds(&head)?;
    }
    if !is_other {
        return Ok(());
    }
    let anchor = heads.current_key()?;
    if let Some(aside) = heads.set_aside(&format!("before-epoch-{epoch}"))? {
        context.out.warn(format_args!(
            "signed heads speak of events that are not in this store: they are kept in {}",
            aside.display()
        ));
    }
    if let Some(second) = heads.second()
        && !gather(&[second], anchor.as_deref())?.heads.is_empty()
    {
        context.out.warn(format_args!(
            "so does the second place, {}: move it aside, or `audit verify` goes on saying so",
            second.display()
        ));
    }
    Ok(())
}

pub(crate) fn report_second(second: &Result<(), HeadsError>, out: &Output) {
    if let Err(error) = second {
        let fail = Fail::caused(Exit::Unavailable, "", error);
        let why = fail.render().replace("error: \ncaused by: ", "");
        out.warn(format_args!(
            "the second place of the log's heads is behind: {}",
            why.trim()
        ));
    }
}

fn end(log: &LogPlace) -> Result<Option<Head>, Fail> {
    Ok(log.open()?.end()?)
}

fn goes_on_behind(store: &dyn Store, position: u64) -> Result<bool, Fail> {
    match store.read(&Query::LogBehind { position })? {
        View::LogBehind { goes_on } => Ok(goes_on),
        _ => Err(unexpected("log")),
    }
}

impl From<HeadsError> for Fail {
    fn from(error: HeadsError) -> Self {
        match &error {
            HeadsError::Io { source, .. } => Self::io(error.to_string(), source),
            HeadsError::Key { .. } => Self::new(Exit::Failed, error.to_string()),
            HeadsError::KeyLost { heads, .. } => {
                let hint = format!(
                    "bring the key back, or move {} aside: what it says can then no longer be \
                     held against the log",
                    heads.display()
                );
                Self::new(Exit::Failed, error.to_string()).hint(hint)
            }
        }
    }
}
