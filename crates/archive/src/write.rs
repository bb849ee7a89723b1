//! Writing: streams are gathered first, because the manifest comes before them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Seek as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use app::{export::Member, hex::hex};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::{ArchiveError, FileEntry, MANIFEST, Manifest, SCHEMA, SCHEMA_VERSION, Scope};

/// Streams on their way into an archive, in unnamed files.
#[derive(Debug)]
pub struct Spool {
    streams: BTreeMap<Member, Stream>,
    folder: PathBuf,
}

#[derive(Debug)]
struct Stream {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    lines: u64,
}

/// The SHA-256 of a whole archive, in hexadecimal digits, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The digits.
    pub sha256: String,
    /// How long the archive is.
    pub bytes: u64,
}

impl Spool {
    /// An empty one; what is gathered lies in `folder` without a name.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            streams: BTreeMap::new(),
            folder: folder.to_owned(),
        }
    }

    /// Adds a line, which has its end.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, member: Member, line: &[u8]) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Io {
            act: "write into",
            path: self.folder.clone(),
            source,
        };
        if !self.streams.contains_key(&member) {
            let file = tempfile::tempfile_in(&self.folder).map_err(failed)?;
            let stream = Stream {
                file: BufWriter::with_capacity(1 << 16, file),
                hash: Sha256::new(),
                bytes: 0,
                lines: 0,
            };
            self.streams.insert(member, stream);
        }
        let Some(stream) = self.streams.get_mut(&member) else {
            return Ok(());
        };
        stream.file.write_all(line).map_err(failed)?;
        stream.hash.update(line);
        stream.bytes += line.len() as u64;
        stream.lines += 1;
        Ok(())
    }

    fn manifest(&self, scope: Scope) -> Manifest {
        let entry = |member: Member| {
            let stream = self.streams.get(&member);
            let hash = stream.map_or_else(Sha256::new, |stream| stream.hash.clone());
            FileEntry {
                path: member.file().to_owned(),
                bytes: stream.map_or(0, |stream| stream.bytes),
                lines: stream.map_or(0, |stream| stream.lines),
                sha256: hex(&hash.finalize()),
            }
        };
        Manifest {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            scope,
            files: Member::ALL.into_iter().map(entry).collect(),
        }
    }

    /// Writes the archive into a file, whole and durably or not at all.
    ///
    /// # Errors
    /// Where it cannot be written; then the file is as it was.
    pub fn write(self, scope: Scope, file: &Path) -> Result<(Manifest, Digest), ArchiveError> {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let part = PathBuf::from(name);
        let failed = |source| ArchiveError::Io {
            act: "write",
            path: file.to_owned(),
            source,
        };
        let made = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part);
        let mut to = BufWriter::with_capacity(1 << 16, made.map_err(failed)?);
        let written = self.write_to(scope, &mut to).and_then(|written| {
            let whole = to.into_inner().map_err(io::IntoInnerError::into_error);
            whole
                .and_then(|whole| whole.sync_all())
                .and_then(|()| std::fs::rename(&part, file))
                .and_then(|()| sync_folder_of(file))
                .map_err(failed)?;
            Ok(written)
        });
        if written.is_err() {
            drop(std::fs::remove_file(&part));
        }
        written
    }

    /// Writes the archive to whatever takes it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_to(
        mut self,
        scope: Scope,
        to: &mut dyn Write,
    ) -> Result<(Manifest, Digest), ArchiveError> {
        let manifest = self.manifest(scope);
        let folder = self.folder.clone();
        let mut hashed = Hashed {
            to,
            hash: Sha256::new(),
            bytes: 0,
        };
        self.build(&manifest, &mut hashed)
            .map_err(|source| ArchiveError::Io {
                act: "write the archive by way of",
                path: folder,
                source,
            })?;
        let digest = Digest {
            sha256: hex(&hashed.hash.finalize()),
            bytes: hashed.bytes,
        };
        Ok((manifest, digest))
    }

    fn build(&mut self, manifest: &Manifest, to: &mut dyn Write) -> io::Result<()> {
        let mut archive = Builder::new(to);
        let mut json = serde_json::to_vec_pretty(manifest).map_err(io::Error::from)?;
        json.push(b'\n');
        archive.append_data(&mut header(json.len() as u64), MANIFEST, &json[..])?;
        for member in Member::ALL {
            let Some(stream) = self.streams.get_mut(&member) else {
                archive.append_data(&mut header(0), member.file(), io::empty())?;
                continue;
            };
            stream.file.flush()?;
            let file = stream.file.get_mut();
            file.rewind()?;
            let content = BufReader::with_capacity(1 << 16, file);
            archive.append_data(&mut header(stream.bytes), member.file(), content)?;
        }
        archive.finish()
    }
}

/// The same for the same size, at any time, by anybody.
fn header(bytes: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes);
    header
}

fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

struct Hashed<'w> {
    to: &'w mut dyn Write,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
