//! Where the documentation is.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.join("../..").canonicalize().unwrap()
}

/// The pages of the book.
pub(crate) fn book() -> PathBuf {
    root().join("docs/src")
}

/// Every page that is written by hand: the README and the book, by path from the repository.
pub(crate) fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    collect(&book(), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "generated") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.strip_prefix(root()).unwrap();
            found.push(name.to_str().unwrap().to_owned());
        }
    }
}

/// A page's text.
pub(crate) fn read(page: &str) -> String {
    let path = root().join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
