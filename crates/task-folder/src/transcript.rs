//! The transcript: one JSON object per line, numbered from 1 without gaps.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
};

use app::ports::{
    agents::{EntryBody, TranscriptEntry},
    folders::{FolderError, TranscriptSink},
};
use domain::{redact::Redactor, time::Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::dir::{Dir, failed};

/// See the module.
#[derive(Debug)]
pub(crate) struct FileTranscript {
    file: File,
    redactor: Redactor,
    next: u64,
    written: u64,
    limit: u64,
    is_cut: bool,
    fault: Option<String>,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl FileTranscript {
    pub(crate) fn open(
        folder: &Dir,
        name: &str,
        limit: u64,
        redactor: Redactor,
    ) -> Result<Self, FolderError> {
        let mut file = folder.open_append(name)?;
        let (next, written) =
            repair(&mut file).map_err(|error| failed("repair", folder.path().join(name), error))?;
        Ok(Self {
            file,
            redactor,
            next,
            written,
            limit,
            is_cut: false,
            fault: None,
        })
    }

    fn try_append(&mut self, entry: TranscriptEntry, at: Timestamp) -> io::Result<()> {
        let mut line = self.line(entry, at)?;
        if self.written.saturating_add(line.len() as u64) > self.limit {
            self.is_cut = true;
            let message = format!("the transcript was cut here, after {} bytes", self.written);
            let name = "transcript_cut".to_owned();
            let cut = TranscriptEntry {
                turn: 0,
                body: EntryBody::Error { name, message },
                raw: None,
            };
            line = self.line(cut, at)?;
        }
        if let Err(error) = self.file.write_all(&line) {
            // Half a line would spoil the next one.
            drop(self.file.set_len(self.written));
            return Err(error);
        }
        self.written += line.len() as u64;
        self.next += 1;
        Ok(())
    }

    fn line(&self, entry: TranscriptEntry, at: Timestamp) -> io::Result<Vec<u8>> {
        let mut value = serde_json::to_value(entry.numbered(self.next, at))?;
        mask(&mut value, &self.redactor);
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        Ok(line)
    }
}

impl TranscriptSink for FileTranscript {
    fn append(&mut self, entry: TranscriptEntry, at: Timestamp) {
        if self.is_cut {
            return;
        }
        if let Err(error) = self.try_append(entry, at) {
            self.fault.get_or_insert_with(|| error.to_string());
        }
    }

    fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

/// Masks every string, keys included.
fn mask(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(masked) = redactor.text(text) {
                *text = masked;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, redactor)),
        Value::Object(fields) => {
            let masked = std::mem::take(fields).into_iter().map(|(key, mut item)| {
                mask(&mut item, redactor);
                (redactor.text(&key).into_owned(), item)
            });
            *fields = masked.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Cuts off a torn last line; returns the next number and the size.
fn repair(file: &mut File) -> io::Result<(u64, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(&*file);
    let (mut whole, mut last) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if length == 0 || !line.ends_with(b"\n") {
            break;
        }
        whole += length as u64;
        last = serde_json::from_slice::<Numbered>(&line).map_or(last + 1, |line| line.seq);
    }
    file.set_len(whole)?;
    Ok((last + 1, whole))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use app::ports::agents::TranscriptRecord;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_795_164_511_000);

    fn open(dir: &Path, limit: u64) -> FileTranscript {
        let redactor = Redactor::new(["top\"secret"]);
        FileTranscript::open(
            &Dir::root(dir).unwrap(),
            "transcript.jsonl",
            limit,
            redactor,
        )
        .unwrap()
    }

    fn message(text: &str) -> TranscriptEntry {
        TranscriptEntry {
            turn: 1,
            body: EntryBody::Message {
                text: text.to_owned(),
            },
            raw: Some(format!("{{\"text\":{}}}", Value::from(text))),
        }
    }

    fn records(dir: &Path) -> Vec<TranscriptRecord> {
        let text = fs::read_to_string(dir.join("transcript.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn numbers_go_on_behind_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let mut transcript = open(dir.path(), 1_000_000);
        transcript.append(message("one"), AT);
        transcript.append(message("two"), AT);
        let file = dir.path().join("transcript.jsonl");
        let mut torn = fs::read(&file).unwrap();
        torn.extend_from_slice(b"{\"v\":1,\"seq\":3,\"at");
        fs::write(&file, torn).unwrap();
        open(dir.path(), 1_000_000).append(message("three"), AT);
        let records = records(dir.path());
        let numbers: Vec<u64> = records.iter().map(|record| record.seq).collect();
        assert_eq!(numbers, [1, 2, 3]);
        let text = "three".to_owned();
        assert_eq!(records[2].body, EntryBody::Message { text });
    }

    #[test]
    fn secrets_are_masked_in_every_string() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 1_000_000).append(message("it is top\"secret here"), AT);
        let record = records(dir.path()).remove(0);
        let text = "it is *** here".to_owned();
        assert_eq!(record.body, EntryBody::Message { text });
        assert_eq!(record.raw.unwrap(), "{\"text\":\"it is *** here\"}");
    }

    #[test]
    fn after_the_limit_one_entry_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut transcript = open(dir.path(), 300);
        for _ in 0..10 {
            transcript.append(message("0123456789"), AT);
        }
        let last = records(dir.path()).pop().unwrap();
        assert!(matches!(last.body, EntryBody::Error { name, .. } if name == "transcript_cut"));
        assert!(
            fs::metadata(dir.path().join("transcript.jsonl"))
                .unwrap()
                .len()
                < 600
        );
    }
}
