//! The project's `.crewboss/`: made by `init`, or by the first command that writes.

use std::fs;

use crate::{config::replace, fail::Fail, places::Places};

/// What of `.crewboss/` belongs into the repository.
const GITIGNORE: &str = "/*\n!/config.toml\n!/agents/\n!/templates/\n";

/// Makes the folder and its `.gitignore` where they are missing.
pub(crate) fn prepare(places: &Places) -> Result<(), Fail> {
    let folder = places.project_folder();
    fs::create_dir_all(&folder)
        .map_err(|error| Fail::io(format!("cannot make {}", folder.display()), &error))?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        replace(&ignore, GITIGNORE.as_bytes())?;
    }
    Ok(())
}
