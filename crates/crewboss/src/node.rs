//! Which node this home is.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use domain::{id::NodeId, time::Timestamp};

use crate::{
    fail::{Exit, Fail},
    places::Places,
};

/// Bits of a node's number below its milliseconds.
const RANDOM_BITS: u32 = 21;

/// The node that this home is; none where it never was one.
pub(crate) fn known(places: &Places) -> Result<Option<NodeId>, Fail> {
    if places.layout.is_some() {
        return Ok(None);
    }
    read(&places.node_file())
}

/// The node that this home is from now on.
pub(crate) fn ensure(places: &Places, now: Timestamp) -> Result<NodeId, Fail> {
    let file = places.node_file();
    let cannot = |error: &io::Error| Fail::io(format!("cannot write {}", file.display()), error);
    if let Some(node) = read(&file)? {
        return Ok(node);
    }
    fs::create_dir_all(&places.home).map_err(|error| cannot(&error))?;
    let node = fresh(now).map_err(|error| cannot(&error))?;
    // Whole from its first moment, and only the first one's.
    let draft = places.home.join(format!("node.{}", std::process::id()));
    write(&draft, &format!("{node}\n")).map_err(|error| cannot(&error))?;
    let linked = fs::hard_link(&draft, &file);
    drop(fs::remove_file(&draft));
    match linked {
        Ok(()) => Ok(node),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(&file)?.ok_or_else(|| cannot(&error))
        }
        Err(error) => Err(cannot(&error)),
    }
}

fn read(file: &Path) -> Result<Option<NodeId>, Fail> {
    match fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| {
            Fail::caused(
                Exit::Usage,
                format!("{} does not name a node", file.display()),
                &error,
            )
            .hint("remove the file if this home is to be a new node")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fail::io(format!("cannot read {}", file.display()), &error)),
    }
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn fresh(now: Timestamp) -> io::Result<NodeId> {
    let mut random = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let low = u64::from(u32::from_be_bytes(random)) & ((1 << RANDOM_BITS) - 1);
    let number = now.as_millis().max(1).unsigned_abs() << RANDOM_BITS | low;
    NodeId::from_number(number).ok_or_else(|| io::Error::other("the clock is out of range"))
}

/// What two ways to write the same address have in common.
pub(crate) fn same_address(address: &str) -> String {
    let place = Path::new(address);
    let real = place.is_absolute().then(|| place.canonicalize().ok());
    let real = real
        .flatten()
        .and_then(|real| real.into_os_string().into_string().ok());
    let plain = real.as_deref().unwrap_or(address).trim_end_matches('/');
    plain.strip_suffix(".git").unwrap_or(plain).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn a_home_keeps_its_node() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let variables = [("CREWBOSS_HOME", home.as_os_str())];
        let env = Environment::default().with(dir.path().to_owned(), &variables);
        let places = Places::find(&env, None).unwrap();
        assert_eq!(known(&places).unwrap(), None);
        let now = Timestamp::from_millis(1_700_000_000_000);
        let node = ensure(&places, now).unwrap();
        assert_eq!(ensure(&places, now).unwrap(), node);
        assert_eq!(known(&places).unwrap(), Some(node));
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
        fs::write(places.node_file(), "nonsense").unwrap();
        assert!(known(&places).is_err() && ensure(&places, now).is_err());
    }

    #[test]
    fn one_repository_has_one_name() {
        for address in ["git@h:a/b", "git@h:a/b.git", "git@h:a/b.git/", "git@h:a/b/"] {
            assert_eq!(same_address(address), "git@h:a/b");
        }
    }
}
