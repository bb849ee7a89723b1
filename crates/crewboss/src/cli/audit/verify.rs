//! `audit verify`.

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use api_types::{AuditBadHead, AuditFault, AuditVerifyDocument, ProblemCode};
use app::{
    audit::{self, Beginning, Head, Report, Tampering},
    error::Error,
    event::Stream,
    hex::hex,
    ports::clock::Clock,
};
use audit_heads::{Gathered, gather};

use super::{export::ExportFile, logs::Logs, stream_of};
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    heads,
    output::Output,
    render::symbols::Symbol,
};

/// Whatever takes longer says how far it is.
const SILENT_MILLIS: u64 = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the stream of one project, task or session
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    stream: Option<String>,
    /// Verify an export instead of the store
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Hold the log against the signed heads of this file too; may be repeated
    #[arg(long, value_name = "FILE")]
    heads: Vec<PathBuf>,
}

/// What was looked at, and what was found.
struct Findings {
    stream: Option<Stream>,
    report: Report,
    gathered: Gathered,
    logs: Logs,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let findings = match &self.file {
            Some(file) => self.export(context, file)?,
            None => self.store(context)?,
        };
        findings.say(&context.out)?;
        let document = findings.document();
        context.out.print(&document)?;
        Ok(if document.whole {
            Exit::Ok
        } else {
            Exit::Failed
        })
    }

    fn export(&self, context: &Context, file: &Path) -> Result<Findings, Fail> {
        let gathered = self.gather(&[], None)?;
        let export = ExportFile::open(file)?;
        let report = if let Some(stream) = export.stream {
            audit::verify_stream(&export, stream)?
        } else {
            let mut progress = Progress::new(context, None)?;
            let mut show = |read| progress.show(read);
            audit::verify(&export, export.beginning, &gathered.heads, &mut show)?
        };
        Ok(Findings {
            stream: export.stream,
            report,
            gathered,
            logs: Logs::default(),
        })
    }

    fn store(&self, context: &Context) -> Result<Findings, Fail> {
        let own = heads::of(context.config()?, &context.places)?;
        let anchor = own.current_key()?;
        // Before the log: a head that is signed meanwhile is of a later position.
        let gathered = self.gather(&own.files(), anchor.as_deref())?;
        if !context.has_store()? {
            let report = ended_before(&gathered.heads);
            return Ok(Findings {
                stream: None,
                report,
                gathered,
                logs: Logs::default(),
            });
        }
        let log = context.log_place()?.open()?;
        let Some(name) = &self.stream else {
            // A last row that is broken is found by the walk.
            let end = log.end().ok().flatten().map(|end| end.position);
            let mut progress = Progress::new(context, end)?;
            let mut show = |read| progress.show(read);
            let report = audit::verify(&log, Beginning::default(), &gathered.heads, &mut show)?;
            drop(progress);
            return Ok(Findings {
                stream: None,
                report,
                gathered,
                logs: Logs::of_store(context)?,
            });
        };
        let stream = stream_of(context, name)?;
        let report = audit::verify_stream(&log, stream)?;
        if report == Report::default() {
            return Err(Error::not_found("Stream", stream).into());
        }
        Ok(Findings {
            stream: Some(stream),
            report,
            gathered: Gathered::default(),
            logs: Logs::of_stream(context, stream)?,
        })
    }

    /// A file that is named has to be there; those of the store may not be yet.
    fn gather(&self, own: &[&Path], anchor: Option<&str>) -> Result<Gathered, Fail> {
        let named = self.heads.iter().map(PathBuf::as_path);
        let files: Vec<&Path> = own.iter().copied().chain(named).collect();
        let gathered = gather(&files, anchor)?;
        match gathered
            .missing
            .iter()
            .find(|file| self.heads.contains(file))
        {
            Some(file) => Err(Fail::new(
                Exit::NotFound,
                format!("there is no file {}", file.display()),
            )),
            None => Ok(gathered),
        }
    }
}

/// Of a log that is gone.
fn ended_before(heads: &[Head]) -> Report {
    let nothing: Vec<audit::Row> = vec![];
    audit::verify(&nothing, Beginning::default(), heads, &mut |_| ()).unwrap_or_default()
}

impl Findings {
    fn document(&self) -> AuditVerifyDocument {
        let report = &self.report;
        let bad = self.gathered.bad.iter().filter(|bad| !bad.is_torn);
        let bad_heads: Vec<AuditBadHead> = bad
            .map(|bad| AuditBadHead {
                file: bad.file.clone(),
                line: bad.line,
                position: bad.position,
                why: bad.why.to_owned(),
            })
            .collect();
        let is_sound = report.fault.is_none() && self.logs.faults.is_empty();
        let whole = is_sound && bad_heads.is_empty();
        AuditVerifyDocument {
            whole,
            code: (!whole).then_some(ProblemCode::LogBroken),
            stream: self.stream.map(|stream| stream.to_string()),
            entries: report.entries,
            last_position: report.last,
            hash: hex(&report.hash),
            dropped: report.dropped,
            unknown: report.unknown,
            first_unknown: report.first_unknown,
            heads: report.heads,
            vouched_to: report.vouched,
            keys: self.gathered.keys.clone(),
            fault: report.fault.as_ref().map(|fault| AuditFault {
                position: fault.position,
                until: fault.until,
                what: fault.tampering.as_str().to_owned(),
                evidence: fault.evidence.clone(),
            }),
            bad_heads,
            logs: self.logs.checked,
            log_faults: self.logs.faults.clone(),
            notes: self.notes(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let report = &self.report;
        let mut notes = Vec::new();
        if let Some(first) = report.first_unknown {
            notes.push(format!(
                "{} entries are of a form that this version does not know (the first at position \
                 {first}); their hashes hold",
                report.unknown
            ));
        }
        if report.dropped > 0 {
            notes.push(format!(
                "the content of {} entries was dropped when their tasks were purged; their hashes hold",
                report.dropped
            ));
        }
        for bad in self.gathered.bad.iter().filter(|bad| bad.is_torn) {
            notes.push(format!(
                "{}:{}: {}; it may have been cut off while it was written",
                bad.file.display(),
                bad.line,
                bad.why
            ));
        }
        if report.fault.is_none() {
            notes.extend(self.unseen());
        }
        notes.extend(self.logs.notes.iter().cloned());
        notes
    }

    /// What could be wrong and not be found.
    fn unseen(&self) -> Option<String> {
        if self.stream.is_some() {
            return Some(
                "of one stream alone it is not to be seen whether entries were cut off its end"
                    .to_owned(),
            );
        }
        let unsigned = self.report.last - self.report.vouched.unwrap_or(0).min(self.report.last);
        match self.report.vouched {
            None if self.report.entries > 0 => Some(
                "no signed head was held against it: entries cut off its end are not missed"
                    .to_owned(),
            ),
            Some(_) if unsigned > 0 => Some(format!(
                "{unsigned} entries stand behind the last signed head: what is cut off there is \
                 not missed"
            )),
            _ => None,
        }
    }

    fn say(&self, out: &Output) -> Result<(), Fail> {
        let report = &self.report;
        let document = self.document();
        let sign = |symbol: Symbol| out.paint(symbol.color(), symbol.text(out.unicode));
        let what = match self.stream {
            Some(stream) => format!("The stream of {stream}"),
            None => "The log".to_owned(),
        };
        if let Some(fault) = &report.fault {
            let place = match fault.until {
                Some(until) => format!("positions {} to {until}", fault.position),
                None => format!("position {}", fault.position),
            };
            out.line(format_args!(
                "{} {what} is not what was written: {} at {place}: {}",
                sign(Symbol::Failed),
                fault.tampering.as_str(),
                fault.evidence
            ))?;
            let unless = matches!(fault.tampering, Tampering::Rewritten | Tampering::Truncated);
            if report.entries > 0 && !unless {
                out.line(format_args!(
                    "  {} entries before it are whole",
                    report.entries
                ))?;
            }
        } else {
            out.line(format_args!(
                "{} {what} is whole: {} entries, the last at position {}",
                sign(Symbol::Check),
                report.entries,
                report.last
            ))?;
        }
        if let Some(vouched) = report.vouched {
            out.line(format_args!(
                "  Signed heads that hold: {}, the last at position {vouched}",
                report.heads
            ))?;
        }
        for bad in &document.bad_heads {
            out.line(format_args!(
                "{} {}:{}: a head proves nothing: {}",
                sign(Symbol::Failed),
                bad.file.display(),
                bad.line,
                bad.why
            ))?;
        }
        for fault in &document.log_faults {
            let line = match fault.line {
                0 => String::new(),
                line => format!(":{line}"),
            };
            out.line(format_args!(
                "{} {}/{}{line}: {}: {}",
                sign(Symbol::Failed),
                fault.task,
                fault.file,
                fault.what,
                fault.evidence
            ))?;
        }
        for note in &document.notes {
            out.line(format_args!("  {note}"))?;
        }
        Ok(())
    }
}

/// A line on a terminal that says how far it is.
pub(in crate::cli) struct Progress {
    clock: std::sync::Arc<dyn Clock>,
    begun: u64,
    total: Option<u64>,
    is_watched: bool,
    shown: u64,
}

impl Progress {
    pub(in crate::cli) fn new(context: &Context, total: Option<u64>) -> Result<Self, Fail> {
        let clock = context.clock()?;
        Ok(Self {
            begun: clock.now().moment.millis,
            clock,
            total,
            is_watched: std::io::stderr().is_terminal() && !context.out.json,
            shown: 0,
        })
    }

    pub(in crate::cli) fn show(&mut self, read: u64) {
        if !self.is_watched {
            return;
        }
        let elapsed = self.clock.now().moment.millis.saturating_sub(self.begun);
        // Five times a second is as much as anybody reads.
        if elapsed < SILENT_MILLIS || elapsed / 200 == self.shown {
            return;
        }
        self.shown = elapsed / 200;
        let of = self
            .total
            .map_or_else(String::new, |total| format!(" of {total}"));
        let mut stderr = std::io::stderr().lock();
        drop(write!(stderr, "\r{read}{of} entries verified"));
        drop(stderr.flush());
    }
}

/// Leaves the line to what comes next.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown > 0 {
            drop(write!(std::io::stderr().lock(), "\r\x1b[K"));
        }
    }
}
