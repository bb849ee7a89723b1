//! What an agent keeps of its conversation is compressed file by file (gzip): the manifest, which
//! lists them, is not.

use std::{
    fs::File,
    io::{self, Write as _},
};

use app::ports::folders::FolderError;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::dir::{Dir, failed};

const PACKED: &str = ".gz";

/// Compresses every file of a folder that is not yet.
pub(super) fn pack_all(folder: &Dir) -> Result<(), FolderError> {
    for name in folder.sorted_names()? {
        if name.ends_with(PACKED) {
            continue;
        }
        if let Some(plain) = folder.open_existing(&name)? {
            let packed = folder.create(&format!("{name}{PACKED}"))?;
            pack(&plain, packed)
                .map_err(|error| failed("compress", folder.path().join(&name), error))?;
            folder.remove(&name)?;
        }
    }
    Ok(())
}

/// Writes every file of a folder into another as it was before it was compressed.
pub(super) fn unpack_all(folder: &Dir, into: &Dir) -> Result<(), FolderError> {
    for name in folder.sorted_names()? {
        let Some(kept) = folder.open_existing(&name)? else {
            continue;
        };
        let plain = name.strip_suffix(PACKED);
        let target = into.create(plain.unwrap_or(&name))?;
        unpack(kept, plain.is_some(), target)
            .map_err(|error| failed("unpack", folder.path().join(&name), error))?;
    }
    Ok(())
}

fn pack(mut plain: &File, target: File) -> io::Result<()> {
    let mut packed = GzEncoder::new(target, Compression::default());
    io::copy(&mut plain, &mut packed)?;
    packed.finish()?.flush()
}

fn unpack(mut kept: File, is_packed: bool, mut target: File) -> io::Result<()> {
    if is_packed {
        io::copy(&mut GzDecoder::new(kept), &mut target)?;
    } else {
        io::copy(&mut kept, &mut target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_as_it_was_and_so_is_what_was_not() {
        let place = tempfile::tempdir().unwrap();
        let [folder, into] = ["kept", "into"].map(|name| {
            fs::create_dir(place.path().join(name)).unwrap();
            Dir::root(&place.path().join(name)).unwrap()
        });
        let content = b"the same again and again ".repeat(10_000);
        fs::write(folder.path().join("session.db"), &content).unwrap();
        fs::write(folder.path().join("empty"), "").unwrap();
        pack_all(&folder).unwrap();
        pack_all(&folder).unwrap();
        assert_eq!(
            folder.sorted_names().unwrap(),
            ["empty.gz", "session.db.gz"]
        );
        let packed = fs::metadata(folder.path().join("session.db.gz")).unwrap();
        assert!(packed.len() * 10 < content.len() as u64, "{packed:?}");
        fs::write(folder.path().join("of an earlier version"), "plain").unwrap();
        unpack_all(&folder, &into).unwrap();
        assert_eq!(fs::read(into.path().join("session.db")).unwrap(), content);
        assert_eq!(fs::read(into.path().join("empty")).unwrap(), b"");
        let plain = fs::read(into.path().join("of an earlier version")).unwrap();
        assert_eq!(plain, b"plain");
    }
}
