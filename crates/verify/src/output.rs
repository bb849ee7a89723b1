//! What a check writes: kept in a file up to a limit, and its last lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use domain::redact::{Carry, Redactor};

/// What the file holds at most: enough for any failure that someone will read.
const FILE_MAX: usize = 10 << 20;

/// What the last lines are cut to.
const TAIL_MAX: usize = 4 << 10;

/// A longer line is cut into pieces of this size, so that no line fills the memory.
const LINE_MAX: u64 = 64 << 10;

/// How long a stream may stay open after all processes were ended.
const DRAIN: Duration = Duration::from_secs(2);

/// Reads the streams of a check until they end.
#[derive(Debug)]
pub(crate) struct Collector {
    sink: Arc<Mutex<Sink>>,
    redactor: Redactor,
    done: mpsc::Sender<()>,
    ended: mpsc::Receiver<()>,
    streams: usize,
}

#[derive(Debug)]
struct Sink {
    /// `None` once nothing more is to be written.
    file: Option<File>,
    written: usize,
    tail: Vec<u8>,
    fault: Option<io::Error>,
}

impl Collector {
    /// Output goes to this file, which is replaced.
    pub(crate) fn new(file: &Path, redactor: Redactor) -> io::Result<Self> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(file)?;
        let sink = Sink {
            file: Some(file),
            written: 0,
            tail: Vec::new(),
            fault: None,
        };
        let (done, ended) = mpsc::channel();
        Ok(Self {
            sink: Arc::new(Mutex::new(sink)),
            redactor,
            done,
            ended,
            streams: 0,
        })
    }

    /// Reads a stream on a thread of its own.
    pub(crate) fn read(&mut self, stream: Box<dyn Read + Send>) -> io::Result<()> {
        let (sink, done) = (Arc::clone(&self.sink), self.done.clone());
        let redactor = self.redactor.clone();
        thread::Builder::new()
            .name("gate output".to_owned())
            .spawn(move || {
                copy_lines(stream, &redactor, &sink);
                // Nobody waits any more where the check was given up.
                let _ = done.send(());
            })?;
        self.streams += 1;
        Ok(())
    }

    /// Waits for the streams to end, a short time where someone else holds them open, and returns
    /// the last lines, or why the output could not be kept.
    pub(crate) fn finish(self) -> io::Result<String> {
        for _ in 0..self.streams {
            if self.ended.recv_timeout(DRAIN).is_err() {
                break;
            }
        }
        let mut sink = lock(&self.sink);
        sink.file = None;
        match sink.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(last_lines(&sink.tail)),
        }
    }
}

fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes whole lines, so that those of two streams do not mix. After a fault it reads on, so that
/// the check is not held up.
fn copy_lines(stream: Box<dyn Read + Send>, redactor: &Redactor, sink: &Mutex<Sink>) {
    let mut stream = BufReader::new(stream);
    let (mut line, mut carry) = (Vec::new(), Carry::default());
    loop {
        line.clear();
        match stream.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => lock(sink).take(&redactor.line(&mut carry, &line)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Sink {
    fn take(&mut self, line: &[u8]) {
        self.tail.extend_from_slice(line);
        if self.tail.len() > 4 * TAIL_MAX {
            self.tail.drain(..self.tail.len() - TAIL_MAX);
        }
        let Some(file) = &mut self.file else { return };
        let (kept, cut) = if self.written + line.len() > FILE_MAX {
            (
                &b"[the rest of the output was not kept: it is longer than 10 MiB]\n"[..],
                true,
            )
        } else {
            (line, false)
        };
        self.written += line.len();
        self.fault = file.write_all(kept).err();
        if cut || self.fault.is_some() {
            self.file = None;
        }
    }
}

/// The end of the text, at most [`TAIL_MAX`] bytes, from the start of a line where one starts
/// there.
fn last_lines(tail: &[u8]) -> String {
    let text = String::from_utf8_lossy(tail);
    let text = text.trim_end();
    let mut start = text.len().saturating_sub(TAIL_MAX);
    if start > 0 {
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let is_line_start = text.as_bytes().get(start - 1) == Some(&b'\n');
        if !is_line_start && let Some(end) = text.get(start..).and_then(|rest| rest.find('\n')) {
            start += end + 1;
        }
    }
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole_and_within_the_limit() {
        assert_eq!(last_lines(b"a\nb\n\n"), "a\nb");
        let many: Vec<String> = (0..2_000).map(|n| format!("line {n}")).collect();
        let many = many.join("\n");
        let tail = last_lines(many.as_bytes());
        assert!(
            tail.len() <= TAIL_MAX && tail.len() > TAIL_MAX - 20,
            "{}",
            tail.len()
        );
        assert!(tail.starts_with("line ") && tail.ends_with("line 1999"));
        let one = "\u{e4}".repeat(TAIL_MAX);
        assert!(last_lines(one.as_bytes()).len() <= TAIL_MAX);
        assert!(last_lines(&vec![0xff; 3 * TAIL_MAX]).len() <= TAIL_MAX);
    }
}
