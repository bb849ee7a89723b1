//! `audit export`, and an export read back.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use api_types::AuditExportDocument;
use app::{
    audit::{self, Beginning, Opening, Row, Source, Visit},
    error::Error,
    event::{Hash, Stream},
};

use super::{nothing_logged, stream_of};
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    stores::Log,
};

/// Longer than any entry: a prompt of some MiB with everything around it.
const LINE_MAX: u64 = 64 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the stream of one project, task or session
    #[arg(long, value_name = "ID")]
    stream: Option<String>,
    /// Begin with this position
    #[arg(long, value_name = "POS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    since: u64,
    /// Write into this file, whole or not at all, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if !context.has_store()? {
            return Err(nothing_logged());
        }
        let stream = match &self.stream {
            Some(name) => Some(stream_of(context, name)?),
            None => None,
        };
        let log = context.log_place()?.open()?;
        let opening = self.opening(&log, stream)?;
        let log = log.since(self.since);
        let Some(file) = &self.out else {
            let mut stdout = BufWriter::with_capacity(1 << 16, io::stdout().lock());
            self.write(&log, stream, &opening, &mut stdout)?;
            stdout.flush().map_err(|error| failed(&error))?;
            return Ok(Exit::Ok);
        };
        let cannot =
            |error: &io::Error| Fail::io(format!("cannot write {}", file.display()), error);
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        let made = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part);
        let mut writer = BufWriter::with_capacity(1 << 16, made.map_err(|error| cannot(&error))?);
        let written = self.write(&log, stream, &opening, &mut writer);
        let entries = match written {
            Ok(entries) => entries,
            Err(fail) => {
                drop(std::fs::remove_file(&part));
                return Err(fail);
            }
        };
        let whole = writer
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&part, file));
        whole.map_err(|error| cannot(&error))?;
        context.out.line(format_args!(
            "Exported {entries} entries to {}",
            file.display()
        ))?;
        context.out.print(&AuditExportDocument {
            entries,
            file: file.clone(),
        })?;
        Ok(Exit::Ok)
    }

    fn opening(&self, log: &Log, stream: Option<Stream>) -> Result<Opening, Fail> {
        let after = self.since - 1;
        if after == 0 {
            return Ok(Opening::new(stream, 0, Beginning::default().global));
        }
        let Some(head) = log.at(after)? else {
            let end = log.end()?.map_or(0, |end| end.position);
            return Err(Fail::usage(format!(
                "--since {}: the log ends at position {end}",
                self.since
            )));
        };
        Ok(Opening::new(stream, after, head.global_hash))
    }

    fn write(
        &self,
        log: &Log,
        stream: Option<Stream>,
        opening: &Opening,
        to: &mut dyn Write,
    ) -> Result<u64, Fail> {
        put(to, opening)?;
        let mut entries = 0;
        audit::export(log, stream, self.since, &mut |entry| {
            entries += 1;
            put(to, entry)
        })?;
        if let (0, Some(stream)) = (entries, stream) {
            return Err(Error::not_found("Stream", stream).into());
        }
        Ok(entries)
    }
}

/// Whoever reads may have read enough.
fn failed(error: &io::Error) -> Fail {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Fail::closed(),
        _ => Fail::io("the export cannot be written", error),
    }
}

fn put(to: &mut dyn Write, line: &impl serde::Serialize) -> Result<(), Fail> {
    let mut text = serde_json::to_vec(line).map_err(|error| {
        Fail::caused(Exit::Failed, "an entry cannot be written as JSON", &error)
    })?;
    text.push(b'\n');
    to.write_all(&text).map_err(|error| failed(&error))
}

/// An export in a file.
#[derive(Debug)]
pub(super) struct ExportFile {
    path: PathBuf,
    pub(super) stream: Option<Stream>,
    pub(super) beginning: Beginning,
}

impl ExportFile {
    /// Reads how the export begins.
    pub(super) fn open(path: &Path) -> Result<Self, Fail> {
        let mut line = Vec::new();
        reader(path)?
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(path, &error))?;
        let opening = Opening::parse(&String::from_utf8_lossy(&line))?;
        let stream = opening.stream.as_deref().map(str::parse).transpose();
        let stream = stream.map_err(|error: domain::id::InvalidId| {
            Fail::usage(format!("{}: line 1: {error}", path.display()))
        })?;
        Ok(Self {
            path: path.to_owned(),
            stream,
            beginning: Beginning {
                after: opening.after,
                global: opening.previous_global_hash,
            },
        })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Fail {
    let message = format!("cannot read {}", path.display());
    match error.kind() {
        io::ErrorKind::NotFound => Fail::caused(Exit::NotFound, message, error),
        _ => Fail::io(message, error),
    }
}

fn reader(path: &Path) -> Result<BufReader<File>, Fail> {
    File::open(path)
        .map(|file| BufReader::with_capacity(1 << 16, file))
        .map_err(|error| unreadable(path, &error))
}

impl Source for ExportFile {
    fn walk(&self, _: Option<Stream>, visit: Visit<'_>) -> Result<(), Error> {
        let cannot = |error: io::Error| {
            Error::unavailable(format!("cannot read {}: {error}", self.path.display()))
        };
        let mut reader = BufReader::with_capacity(1 << 16, File::open(&self.path).map_err(cannot)?);
        let mut line = Vec::new();
        let mut position = i64::try_from(self.beginning.after).unwrap_or(i64::MAX);
        for number in 1_u64.. {
            line.clear();
            let read = (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line);
            if read.map_err(cannot)? == 0 {
                break;
            }
            if number == 1 {
                continue;
            }
            let row = match str::from_utf8(&line) {
                Ok(text) => Row::of_line(text, position.saturating_add(1)),
                Err(_) => Row::of_line("", position.saturating_add(1)),
            };
            position = row.position;
            if visit(row).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Each line says it by itself.
    fn before(&self, _: Stream, _: i64) -> Result<Option<(u64, Hash)>, Error> {
        Ok(None)
    }
}
