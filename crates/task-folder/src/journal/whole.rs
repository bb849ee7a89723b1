//! Reading only what is as it was written: a line counts where it continues the chain, or where the
//! line behind it vouches for it. Every other line is a finding.

use std::{io::BufReader, ops::ControlFlow};

use app::{
    event::{GENESIS, Hash},
    ports::{
        folders::FolderError,
        journal::{Finding, LogEntry, LogItem, LogReceiver},
    },
};

use super::{
    line::Line,
    lines::{self, LINE_MAX, Next},
    reader::{self, Part},
};
use crate::dir::Dir;

/// See [`app::ports::journal::Journal::read_whole`].
pub(super) fn read(folder: &Dir, receive: &mut LogReceiver<'_>) -> Result<(), FolderError> {
    read_parts(folder, reader::parts(folder)?, receive);
    Ok(())
}

pub(super) fn read_parts(folder: &Dir, parts: Vec<Part>, receive: &mut LogReceiver<'_>) {
    let mut walk = Walk::default();
    for part in parts {
        if walk.part(folder, part, receive).is_break() {
            return;
        }
    }
    // Nobody vouches for the last line.
    let _seen: ControlFlow<()> = walk.settle(None, receive);
}

#[derive(Debug, Default)]
struct Walk {
    /// The hash that the last entry says of itself; `None` where what stood there was none.
    said: Option<Hash>,
    seq: u64,
    doubt: Option<Doubt>,
}

/// A line whose hash is not that of what it says.
#[derive(Debug)]
struct Doubt {
    entry: LogEntry,
    finding: Finding,
    /// What its hash would have to be.
    owed: Hash,
}

impl Walk {
    fn part(&mut self, folder: &Dir, part: Part, receive: &mut LogReceiver<'_>) -> ControlFlow<()> {
        let file = part.name();
        let finding = |line: u64, what: String| Finding {
            file: file.clone(),
            line,
            what,
        };
        let mut reader = match part.bytes(folder, 0) {
            Ok(bytes) => BufReader::with_capacity(64 << 10, bytes),
            Err(what) => return self.spoiled(finding(0, what), receive),
        };
        let mut line = Vec::new();
        for number in 1.. {
            match lines::next(&mut reader, &mut line) {
                Ok(Next::End) => break,
                Ok(Next::Torn) => {
                    let what = "the last line is not whole".to_owned();
                    return self.spoiled(finding(number, what), receive);
                }
                Err(error) => {
                    let what = format!("cannot be read from here on: {error}");
                    return self.spoiled(finding(number, what), receive);
                }
                Ok(Next::TooLong) => {
                    let what = format!("it is longer than {LINE_MAX} bytes");
                    self.spoiled(finding(number, what), receive)?;
                }
                Ok(Next::Line) => match Line::parse(&line) {
                    Ok(line) => self.line(&line, |what| finding(number, what), receive)?,
                    Err(what) => self.spoiled(finding(number, what), receive)?,
                },
            }
        }
        ControlFlow::Continue(())
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        finding: impl Fn(String) -> Finding,
        receive: &mut LogReceiver<'_>,
    ) -> ControlFlow<()> {
        self.settle(Some(line), receive)?;
        let before = match line.seq() {
            1 => Some(GENESIS),
            _ => self.said.or_else(|| line.previous()),
        };
        let seq = std::mem::replace(&mut self.seq, line.seq());
        self.said = Some(line.hash);
        match before {
            Some(before) if line.follows(&before) => receive(LogItem::Entry(line.entry())),
            Some(before) => {
                let what = if seq > 0 && line.seq() != seq + 1 {
                    format!("entry {} stands behind entry {seq}", line.seq())
                } else {
                    format!("entry {} is not as it was written", line.seq())
                };
                self.doubt = Some(Doubt {
                    entry: line.entry(),
                    finding: finding(what),
                    owed: line.owed(&before),
                });
                ControlFlow::Continue(())
            }
            None => {
                let what = format!("nothing vouches for entry {}", line.seq());
                receive(LogItem::Finding(finding(what)))
            }
        }
    }

    /// What is known of the line before, now that the next one is there. Where only its hash was
    /// spoiled, the next one was written behind what it says.
    fn settle(
        &mut self,
        next: Option<&Line<'_>>,
        receive: &mut LogReceiver<'_>,
    ) -> ControlFlow<()> {
        let Some(doubt) = self.doubt.take() else {
            return ControlFlow::Continue(());
        };
        receive(LogItem::Finding(doubt.finding))?;
        if next.is_some_and(|next| next.follows(&doubt.owed)) {
            self.said = Some(doubt.owed);
            return receive(LogItem::Entry(doubt.entry));
        }
        ControlFlow::Continue(())
    }

    fn spoiled(&mut self, finding: Finding, receive: &mut LogReceiver<'_>) -> ControlFlow<()> {
        self.settle(None, receive)?;
        self.said = None;
        receive(LogItem::Finding(finding))
    }
}
