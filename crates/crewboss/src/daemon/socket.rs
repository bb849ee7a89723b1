//! The daemon's socket, whatever the length of its path: it is reached through its open folder.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, open},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};

/// The longest path that fits into a socket's address, which ends with a zero byte.
const PATH_MAX: usize = 107;

/// A path that fits into a socket's address, as long as the folder is open.
struct Reached {
    _folder: Option<File>,
    path: PathBuf,
}

fn reach(path: &Path) -> io::Result<Reached> {
    if path.as_os_str().len() <= PATH_MAX {
        return Ok(Reached {
            _folder: None,
            path: path.to_owned(),
        });
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = File::from(open(folder, flags, Mode::empty())?);
    let path = Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name);
    Ok(Reached {
        _folder: Some(folder),
        path,
    })
}

/// Listens, in place of whatever socket file is there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(&reach(path)?.path)
}

/// Connects without waiting: a daemon that does not accept is as good as none.
pub(crate) fn dial(path: &Path) -> io::Result<UnixStream> {
    let reached = reach(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(&reached.path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_long_path_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("daemon.sock");
        let listener = listen(&path).unwrap();
        let mut dialled = dial(&path).unwrap();
        dialled.write_all(b"x").unwrap();
        let mut heard = [0];
        listener.accept().unwrap().0.read_exact(&mut heard).unwrap();
        assert_eq!(heard, *b"x");
    }

    #[test]
    fn nobody_waits_for_a_daemon_that_does_not_accept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.sock");
        let _listener = listen(&path).unwrap();
        let mut open = Vec::new();
        let refused = loop {
            match dial(&path) {
                Ok(stream) => open.push(stream),
                Err(error) => break error,
            }
            assert!(open.len() < 100_000);
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    }
}
