//! Which processes of an arena are alive. Zombies do not count: they only wait for a parent.

use std::{fs, path::Path};

/// A living process of an arena.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// Every living process whose environment names this home.
pub(crate) fn residents(home: &Path) -> Vec<Resident> {
    let mark = format!("HOME={}", home.display()).into_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environment
            .split(|byte| *byte == 0)
            .any(|pair| pair == mark);
        if marked && !is_zombie(&entry.path()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            found.push(Resident { pid, command });
        }
    }
    found
}

/// The runners among them.
pub(crate) fn runners(home: &Path) -> Vec<Resident> {
    let mut found = residents(home);
    found.retain(|resident| resident.command.contains(" runner "));
    found
}

fn is_zombie(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_none_or(|rest| rest.trim_start().starts_with('Z'))
}
