//! `history`: what happened in the course of a task.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use api_types::{Body as _, FileFinding, HistoryDocument, HistoryVerifyDocument, SCHEMA_VERSION};
use app::{
    hex::hex,
    history::{EventRecord, entry},
    ports::journal::{Finding, Journal, Level, LogEntry, LogFilter, LogItem},
};
use domain::{id::TaskId, time::Timestamp};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    history,
    interrupt::Interrupt,
    render::duration,
};

/// How often more is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// The file's name in a finding that means all of it.
const LOG: &str = "logs.jsonl";

/// Text is printed in pieces of about this size.
const PIECE: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task: its id, the end of one, or its key
    #[arg(value_name = "ID")]
    task: String,
    /// Also a deleted one
    #[arg(long)]
    include_deleted: bool,
    /// Only what is at least as grave: debug, info, warn, error
    #[arg(long, value_name = "LEVEL", default_value = "debug", hide_default_value = true, value_parser = level)]
    level: Level,
    /// Only from this time on: 2026-11-20T18:00:00Z, or 30m ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only up to this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last so many
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,
    /// Only entries of these numbers: 5..9, 5.., ..9
    #[arg(long, value_name = "A..B", value_parser = range)]
    range: Option<(Option<u64>, Option<u64>)>,
    /// Stay, and print what comes, until the task ends
    #[arg(long, short, conflicts_with_all = ["until", "range", "verify"])]
    follow: bool,
    /// Hold every line to the chain and to the store instead; exit 1 where one does not fit
    #[arg(long, conflicts_with_all = ["since", "until", "last", "range"])]
    verify: bool,
}

pub(super) fn level(word: &str) -> Result<Level, String> {
    let word = word.to_ascii_lowercase();
    Level::parse(if word == "warning" { "warn" } else { &word })
        .ok_or_else(|| "expected debug, info, warn or error".to_owned())
}

fn range(text: &str) -> Result<(Option<u64>, Option<u64>), String> {
    let wrong = || "expected numbers of entries: 5..9, 5.. or ..9".to_owned();
    let number = |text: &str| match text {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| wrong()),
    };
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    match (number(first)?, number(last)?) {
        (None, None) => Err(wrong()),
        (Some(first), Some(last)) if first > last => Err(wrong()),
        bounds => Ok(bounds),
    }
}

/// In a layout a task's folder is another program's.
pub(super) fn refuse_layout(context: &Context) -> Result<(), Fail> {
    match context.places.layout {
        None => Ok(()),
        Some(_) => Err(
            Fail::usage("a task of a layout has no log and no decisions")
                .hint("`crewboss logs ID` shows what its agent printed"),
        ),
    }
}

/// Nothing is left of what was purged, and nothing is to be made again.
pub(super) fn refuse_purged(context: &Context, task: TaskId) -> Result<(), Fail> {
    let found = context.tasks_of(&[task])?;
    match found.iter().find_map(|task| task.purged_at) {
        None => Ok(()),
        Some(at) => Err(Fail::new(
            Exit::Conflict,
            format!("{task} was purged at {at}: what it held is gone"),
        )
        .hint(format!(
            "`crewboss audit verify --stream {task}` holds what is left of its events to the chain"
        ))),
    }
}

/// A task's log, as complete as the store is.
#[derive(Debug)]
struct Log {
    task: TaskId,
    root: PathBuf,
    journal: Box<dyn Journal>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        refuse_layout(context)?;
        if self.follow && context.out.json {
            return Err(Fail::usage("--follow prints lines, --json one document"));
        }
        let filter = self.filter(context)?;
        let task = context.find(&self.task, self.include_deleted)?;
        refuse_purged(context, task)?;
        context.reconcile()?;
        let log = Log {
            task,
            root: context.places.project.clone(),
            journal: context.journal()?,
        };
        if self.verify {
            return log.verify(context);
        }
        match (self.follow, context.out.json) {
            (true, _) => log.follow(context, filter),
            (false, true) => {
                let lag = log.lags(context)?;
                log.print_document(context, &filter, lag)
            }
            (false, false) => {
                if let Some(lag) = log.lags(context)? {
                    context.out.warn(lag);
                }
                log.print(context, &filter).map(|_| Exit::Ok)
            }
        }
    }

    fn filter(&self, context: &Context) -> Result<LogFilter, Fail> {
        let (first, last) = self.range.unwrap_or_default();
        Ok(LogFilter {
            level: self.level,
            since: time(context, "--since", self.since.as_deref())?,
            until: time(context, "--until", self.until.as_deref())?,
            first,
            last,
            tail: self.last,
        })
    }
}

/// A time, or how long ago it was.
fn time(context: &Context, flag: &str, text: Option<&str>) -> Result<Option<Timestamp>, Fail> {
    let Some(text) = text else {
        return Ok(None);
    };
    if let Ok(seconds) = duration::parse(text.trim_end_matches(" ago")) {
        let now = context.clock()?.now().wall.as_millis();
        let millis = i64::from(seconds) * 1_000;
        return Ok(Some(Timestamp::from_millis(now - millis)));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        Fail::usage(format!("{flag}: `{}` is no time", text.escape_debug()))
            .hint("write it with its zone, 2026-11-20T18:00:00Z, or how long ago it was, 30m")
    })?;
    Ok(Some(Timestamp::from_millis(time.as_millisecond())))
}

impl Log {
    fn bring_up(&self, context: &Context) -> Result<(), Fail> {
        let store = context.store()?;
        history::bring_up(&*store, &*self.journal, &self.root, self.task)?;
        Ok(())
    }

    /// What keeps the log from telling all that the store knows; what it does tell is shown.
    fn lags(&self, context: &Context) -> Result<Option<Finding>, Fail> {
        let store = context.store()?;
        let brought = history::bring_up(&*store, &*self.journal, &self.root, self.task);
        Ok(brought.err().map(|behind| Finding {
            file: LOG.to_owned(),
            line: 0,
            what: format!("not all events could be added: {}", behind.reason()),
        }))
    }

    /// Prints lines; answers the number of the last.
    fn print(&self, context: &Context, filter: &LogFilter) -> Result<Option<u64>, Fail> {
        let (mut text, mut last, mut failed) = (String::new(), None, None);
        self.journal
            .read(&self.root, self.task, filter, &mut |item| {
                match item {
                    LogItem::Entry(entry) => {
                        last = Some(entry.seq);
                        line(context, &mut text, &entry);
                    }
                    LogItem::Finding(finding) => context.out.warn(finding),
                }
                if text.len() < PIECE {
                    return ControlFlow::Continue(());
                }
                let piece = std::mem::take(&mut text);
                flow(context.out.told(&piece), &mut failed)
            })?;
        match failed {
            Some(fail) => Err(fail),
            None => context.out.told(&text).map(|()| last),
        }
    }

    /// The document, written as it is read.
    fn print_document(
        &self,
        context: &Context,
        filter: &LogFilter,
        lag: Option<Finding>,
    ) -> Outcome {
        let out = &context.out;
        out.begin_document();
        out.raw(
            format!(
                "{{\n  \"schema\": \"{}\",\n  \"schema_version\": {SCHEMA_VERSION},\n  \"task\": \"{}\",\n  \"entries\": [",
                HistoryDocument::SCHEMA, self.task
            )
            .as_bytes(),
        )?;
        let (mut text, mut is_first, mut failed) = (String::new(), true, None);
        let mut findings = VecDeque::from_iter(lag);
        self.journal
            .read(&self.root, self.task, filter, &mut |item| {
                match item {
                    LogItem::Finding(finding) => findings.push_back(finding),
                    LogItem::Entry(entry) => {
                        let comma = if std::mem::take(&mut is_first) {
                            ""
                        } else {
                            ","
                        };
                        match serde_json::to_string(&Complete::from(&entry)) {
                            Ok(json) => {
                                let _ = write!(text, "{comma}\n    {json}");
                            }
                            Err(error) => context.out.warn(error),
                        }
                    }
                }
                if text.len() < PIECE {
                    return ControlFlow::Continue(());
                }
                let piece = std::mem::take(&mut text);
                flow(out.raw(piece.as_bytes()), &mut failed)
            })?;
        if let Some(fail) = failed {
            return Err(fail);
        }
        let end = if is_first { "" } else { "\n  " };
        let found: Vec<FileFinding> = findings.into_iter().map(shown).collect();
        let found = serde_json::to_string(&found).map_err(|error| {
            Fail::caused(Exit::Failed, "cannot write the answer as JSON", &error)
        })?;
        out.raw(format!("{text}{end}],\n  \"findings\": {found}\n}}\n").as_bytes())?;
        Ok(Exit::Ok)
    }

    /// Prints what comes until the task has ended.
    fn follow(&self, context: &Context, mut filter: LogFilter) -> Outcome {
        let interrupt = Interrupt::listen()?;
        loop {
            // Read before the log, so that a task seen as ended has no more to print.
            let has_ended = context.details(self.task)?.view.task.status().is_terminal();
            self.bring_up(context)?;
            if let Some(last) = self.print(context, &filter)? {
                filter.first = Some(last + 1);
                // From the end backwards, up to what was printed.
                filter.tail = Some(usize::MAX);
            }
            if has_ended {
                return Ok(Exit::Ok);
            }
            context.reconcile()?;
            if interrupt.pause(LOOK) {
                return Ok(Exit::Interrupted);
            }
        }
    }

    /// The log is held to the chain as it is found, then brought up and held to the store.
    fn verify(&self, context: &Context) -> Outcome {
        let verdict = self.journal.verify(&self.root, self.task)?;
        self.bring_up(context)?;
        let differs = match &verdict.breach {
            Some(_) => None,
            None => self.compare(context)?,
        };
        let breach = verdict.breach.as_ref().map(|(breach, _)| breach.as_str());
        let finding = verdict.breach.map(|(_, finding)| finding).or(differs);
        let intact = finding.is_none();
        context.out.print(&HistoryVerifyDocument {
            task: self.task,
            intact,
            entries: verdict.entries,
            first: verdict.first,
            last: verdict.last,
            breach: breach.map(str::to_owned),
            finding: finding.clone().map(shown),
        })?;
        let Some(finding) = finding else {
            context.out.line(format_args!(
                "{} entries, {} to {}: each follows the one before, and every event is as the store has it",
                verdict.entries, verdict.first, verdict.last
            ))?;
            return Ok(Exit::Ok);
        };
        let what = breach.map_or(String::new(), |breach| format!("{breach}: "));
        context.out.line(format_args!("{what}{finding}"))?;
        Ok(Exit::Failed)
    }

    /// The first event that the log has otherwise than the store.
    fn compare(&self, context: &Context) -> Result<Option<Finding>, Fail> {
        let store = context.store()?;
        let mut known = Known {
            events: VecDeque::new(),
            after: 0,
        };
        let (mut found, mut failed) = (None, None);
        self.journal
            .read(&self.root, self.task, &LogFilter::all(), &mut |item| {
                let LogItem::Entry(said) = item else {
                    return ControlFlow::Continue(());
                };
                let tells = |data: &str| data.starts_with("{\"position\":");
                if !said.data.as_ref().is_some_and(|data| tells(data.get())) {
                    return ControlFlow::Continue(());
                }
                match known
                    .next(&*store, self.task)
                    .map(|event| holds(event, &said))
                {
                    Ok(None) => ControlFlow::Continue(()),
                    Ok(Some(what)) => {
                        found = Some(Finding {
                            file: format!("entry {}", said.seq),
                            line: 0,
                            what,
                        });
                        ControlFlow::Break(())
                    }
                    Err(error) => flow(Err(error.into()), &mut failed),
                }
            })?;
        match (failed, found) {
            (Some(fail), _) => Err(fail),
            (None, None) => Ok(known.next(&*store, self.task)?.map(|event| Finding {
                file: format!("event {}", event.position),
                line: 0,
                what: "the log does not hold it".to_owned(),
            })),
            (None, found) => Ok(found),
        }
    }
}

/// The store's events, a page at a time.
struct Known {
    events: VecDeque<EventRecord>,
    after: u64,
}

impl Known {
    fn next(
        &mut self,
        store: &dyn app::ports::store::Store,
        task: TaskId,
    ) -> Result<Option<EventRecord>, app::error::Error> {
        if self.events.is_empty() {
            self.events = history::events(store, task, self.after)?.into();
            self.after = self.events.back().map_or(self.after, |last| last.position);
        }
        Ok(self.events.pop_front())
    }
}

/// What is wrong with an entry that is to tell of this event.
fn holds(event: Option<EventRecord>, said: &LogEntry) -> Option<String> {
    let Some(event) = event else {
        return Some("it tells of an event that the store does not have".to_owned());
    };
    let expected = entry(&event).ok()?;
    let data = |data: &Option<Box<serde_json::value::RawValue>>| {
        data.as_ref().map(|data| data.get().to_owned())
    };
    let is_same = (expected.at, expected.level, expected.message)
        == (said.timestamp, said.level, said.message.clone())
        && data(&expected.data) == data(&said.data);
    (!is_same).then(|| format!("it is not what the store has as event {}", event.position))
}

/// An entry with every field, as documents have them.
#[derive(serde::Serialize)]
struct Complete<'a> {
    timestamp: Timestamp,
    seq: u64,
    position: Option<u64>,
    level: Level,
    message: &'a str,
    data: Option<&'a serde_json::value::RawValue>,
    hash: String,
}

impl<'a> From<&'a LogEntry> for Complete<'a> {
    fn from(entry: &'a LogEntry) -> Self {
        Self {
            timestamp: entry.timestamp,
            seq: entry.seq,
            position: entry.position,
            level: entry.level,
            message: &entry.message,
            data: entry.data.as_deref(),
            hash: hex(&entry.hash),
        }
    }
}

fn line(context: &Context, text: &mut String, entry: &LogEntry) {
    let word = format!("{:<5}", entry.level);
    let word = match entry.level {
        Level::Debug => context.out.paint(90, &word),
        Level::Info => word,
        Level::Warn => context.out.paint(33, &word),
        Level::Error => context.out.paint(31, &word),
    };
    let message = entry.message.replace('\n', "\\n");
    let _ = writeln!(
        text,
        "{:>5}  {}  {word}  {message}",
        entry.seq, entry.timestamp
    );
}

pub(super) fn shown(finding: Finding) -> FileFinding {
    FileFinding {
        file: finding.file,
        line: finding.line,
        what: finding.what,
    }
}

fn flow(done: Result<(), Fail>, failed: &mut Option<Fail>) -> ControlFlow<()> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(fail) => {
            *failed = Some(fail);
            ControlFlow::Break(())
        }
    }
}

/// Text from an argument, or from standard input where that is `-`.
pub(super) fn text_of(context: &Context, what: &str, argument: &str) -> Result<String, Fail> {
    use std::io::Read as _;
    let bytes_max = context.config()?.settings.limits.prompt_bytes_max;
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        let read = std::io::stdin()
            .lock()
            .take(bytes_max.saturating_add(1))
            .read_to_string(&mut text);
        read.map_err(|error| {
            Fail::caused(
                Exit::Usage,
                format!("the {what} on standard input is unusable"),
                &error,
            )
        })?;
    }
    if text.len() as u64 > bytes_max {
        return Err(
            Fail::usage(format!("the {what} is longer than {bytes_max} bytes"))
                .hint("put it into a file of the project, and say which"),
        );
    }
    Ok(domain::redact::Redactor::default().text(&text).into_owned())
}

/// The directory under which a task's folder is.
pub(super) fn root(context: &Context) -> &Path {
    &context.places.project
}
