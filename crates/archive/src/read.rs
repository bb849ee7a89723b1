//! Reading: nothing of an archive is believed before all of it has the hashes of its manifest.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
};

use app::{
    event::{self, GENESIS, Hash, Stream},
    export::{EventLine, Member},
    hex::{hex, unhex},
    restore::{Source, Told},
};
use domain::project::Project;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use crate::{ArchiveError, FileEntry, MANIFEST, Manifest, SCHEMA, SCHEMA_VERSION};

/// Longer than any manifest.
const MANIFEST_MAX: u64 = 1 << 20;

/// Longer than any line: a prompt of some MiB with everything around it.
const LINE_MAX: u64 = 64 << 20;

/// What an archive holds.
#[derive(Debug)]
pub struct Contents {
    /// Its manifest.
    pub manifest: Manifest,
    /// What is to be taken in.
    pub source: Source,
}

/// Reads an archive whole.
///
/// # Errors
/// Where it cannot be read, or anything in it is not as it was written.
pub fn read(file: &Path) -> Result<Contents, ArchiveError> {
    let cannot = |source| ArchiveError::Io {
        act: "read",
        path: file.to_owned(),
        source,
    };
    let opened = File::open(file).map_err(cannot)?;
    parse(BufReader::with_capacity(1 << 16, opened)).map_err(|why| ArchiveError::Broken {
        path: file.to_owned(),
        why,
    })
}

fn parse(from: impl Read) -> Result<Contents, String> {
    let no_tar = |error: io::Error| format!("it cannot be read as a tar archive: {error}");
    let mut archive = Archive::new(from);
    let mut entries = archive.entries().map_err(no_tar)?;
    let first = entries.next().ok_or("it is empty")?.map_err(no_tar)?;
    if first.path_bytes().as_ref() != MANIFEST.as_bytes() {
        return Err(format!("its first file is not {MANIFEST}"));
    }
    let manifest = manifest(first)?;
    let mut known = manifest.files.iter();
    let mut source = Source::default();
    let mut hashes = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(no_tar)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let shown = name.escape_debug().to_string();
        let Some(expected) = known.next().filter(|expected| expected.path == name) else {
            return Err(format!(
                "`{shown}` is not what its manifest says comes next"
            ));
        };
        if entry.header().entry_type() != EntryType::Regular {
            return Err(format!("`{shown}` is no plain file"));
        }
        member(entry, expected, &mut source, &mut hashes)
            .map_err(|why| format!("`{shown}`: {why}"))?;
    }
    match known.next() {
        Some(missing) => Err(format!("`{}` is missing", missing.path)),
        None => Ok(Contents { manifest, source }),
    }
}

fn manifest(entry: impl Read) -> Result<Manifest, String> {
    let mut text = Vec::new();
    let read = entry.take(MANIFEST_MAX).read_to_end(&mut text);
    read.map_err(|error| format!("{MANIFEST}: {error}"))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| format!("{MANIFEST}: {error}"))?;
    if manifest.schema != SCHEMA {
        return Err(format!("{MANIFEST} names the schema `{}`", manifest.schema));
    }
    if manifest.schema_version != SCHEMA_VERSION {
        return Err(format!(
            "it is of version {}, and this program reads {SCHEMA_VERSION}",
            manifest.schema_version
        ));
    }
    let known = Member::ALL.map(Member::file);
    let names = manifest.files.iter().map(|file| file.path.as_str());
    if !names.eq(known) {
        return Err(format!(
            "{MANIFEST} lists other files than this version has"
        ));
    }
    Ok(manifest)
}

fn member(
    entry: impl Read,
    expected: &FileEntry,
    source: &mut Source,
    hashes: &mut BTreeMap<Stream, Hash>,
) -> Result<(), String> {
    let mut reader = BufReader::with_capacity(1 << 16, entry);
    let (mut hash, mut bytes, mut lines) = (Sha256::new(), 0, 0_u64);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        hash.update(&line);
        bytes += read as u64;
        lines += 1;
        let at = |why: String| format!("line {lines}: {why}");
        take(&expected.path, &line, source, hashes).map_err(at)?;
    }
    if (bytes, lines) != (expected.bytes, expected.lines)
        || hex(&hash.finalize()) != expected.sha256
    {
        return Err("its content is not what its manifest says".to_owned());
    }
    Ok(())
}

/// Rows are made of events; of the rest only tasks are held against what comes out.
fn take(
    file: &str,
    line: &[u8],
    source: &mut Source,
    hashes: &mut BTreeMap<Stream, Hash>,
) -> Result<(), String> {
    let wrong = |error: serde_json::Error| error.to_string();
    if file == Member::Tasks.file() {
        source
            .tasks
            .push(serde_json::from_slice(line).map_err(wrong)?);
    }
    if file == Member::Projects.file() {
        let project: Project = serde_json::from_slice(line).map_err(wrong)?;
        source.roots.insert(project.id, project.root);
    }
    if file == Member::Events.file() {
        let event: EventLine = serde_json::from_slice(line).map_err(wrong)?;
        source.events.push(told(event, hashes)?);
    }
    Ok(())
}

fn told(event: EventLine, hashes: &mut BTreeMap<Stream, Hash>) -> Result<Told, String> {
    let stream: Stream = event.stream.parse().map_err(|error| format!("{error}"))?;
    let told = Told {
        stream,
        seq: event.seq,
        header: event.header.into_bytes(),
        payload: event.payload.into_bytes(),
        dropped: event
            .dropped
            .as_deref()
            .map(unhex)
            .transpose()
            .map_err(|error| format!("event {} of {stream}: {error}", event.seq))?,
    };
    let previous = hashes.entry(stream).or_insert(GENESIS);
    let hash = event::stream_hash(previous, &told.header, &told.payload_hash());
    if hex(&hash) != event.stream_hash {
        return Err(format!(
            "event {} of {stream} does not have its hash",
            told.seq
        ));
    }
    *previous = hash;
    Ok(told)
}
