//! What is locked: a name like a path.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bytes of a whole resource.
const BYTES_MAX: usize = 512;

/// A name of segments between slashes. With a slash at its end it stands for itself and for all
/// that is beneath it.
///
/// There is one way to write each: `./src//api/` is `src/api/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Resource {
    /// The segments, without a slash at the end.
    path: String,
    /// Whether it stands for all that is beneath it too.
    is_tree: bool,
}

/// A text that names no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is no resource: {why}")]
pub struct InvalidResource {
    shown: String,
    why: &'static str,
}

impl Resource {
    /// The name without a slash at its end.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it stands for all that is beneath it too.
    #[must_use]
    pub fn is_tree(&self) -> bool {
        self.is_tree
    }

    /// A resource of a path that was one before.
    ///
    /// # Errors
    /// [`InvalidResource`] where it was not.
    pub fn of_path(path: &str, is_tree: bool) -> Result<Self, InvalidResource> {
        let resource: Self = path.parse()?;
        Ok(Self {
            is_tree,
            ..resource
        })
    }

    /// The same with all that is beneath it.
    #[must_use]
    pub fn with_all_beneath(self) -> Self {
        Self {
            is_tree: true,
            ..self
        }
    }

    /// Whether everything that `other` stands for is part of this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if self.path == other.path {
            return self.is_tree || !other.is_tree;
        }
        self.is_tree && is_beneath(&other.path, &self.path)
    }

    /// Whether something is part of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.path == other.path
            || (self.is_tree && is_beneath(&other.path, &self.path))
            || (other.is_tree && is_beneath(&self.path, &other.path))
    }

    /// The paths that this one is beneath, the nearest first.
    pub fn above(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.path.as_str();
        std::iter::from_fn(move || {
            rest = &rest[..rest.rfind('/')?];
            Some(rest)
        })
    }

    /// Where paths beneath this one begin and end, in the order of bytes: those that are at least
    /// the first and less than the second.
    #[must_use]
    pub fn beneath(&self) -> (String, String) {
        // What comes after `/` among bytes is `0`.
        (format!("{}/", self.path), format!("{}0", self.path))
    }

    /// In the order of their paths, each once, without those that another one covers.
    #[must_use]
    pub fn canonical(resources: Vec<Self>) -> Vec<Self> {
        let mut sorted = resources;
        sorted.sort_by(|a, b| a.path.cmp(&b.path).then(b.is_tree.cmp(&a.is_tree)));
        let mut kept: Vec<Self> = Vec::with_capacity(sorted.len());
        for resource in sorted {
            if !kept.iter().any(|other| other.covers(&resource)) {
                kept.push(resource);
            }
        }
        kept
    }
}

fn is_beneath(path: &str, above: &str) -> bool {
    path.len() > above.len() && path.starts_with(above) && path.as_bytes()[above.len()] == b'/'
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(if self.is_tree { "/" } else { "" })
    }
}

impl FromStr for Resource {
    type Err = InvalidResource;

    fn from_str(text: &str) -> Result<Self, InvalidResource> {
        let refuse = |why| InvalidResource {
            shown: text.escape_debug().take(60).collect(),
            why,
        };
        if text.len() > BYTES_MAX {
            return Err(refuse("a name has 512 bytes at most"));
        }
        if text.starts_with('/') {
            return Err(refuse(
                "name it from the project on, without a slash at the beginning",
            ));
        }
        if text.trim() != text {
            return Err(refuse("a name neither begins nor ends with a space"));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(refuse("a name holds no backslash and no control character"));
        }
        let mut path = String::with_capacity(text.len());
        for segment in text.split('/') {
            match segment {
                "" | "." => {}
                ".." => return Err(refuse("`..` leads out of what a name can say")),
                segment => {
                    if !path.is_empty() {
                        path.push('/');
                    }
                    path.push_str(segment);
                }
            }
        }
        if path.is_empty() {
            return Err(refuse("give it a name, as in `src/api/` or `deploy`"));
        }
        Ok(Self {
            path,
            is_tree: text.ends_with('/'),
        })
    }
}

impl TryFrom<String> for Resource {
    type Error = InvalidResource;

    fn try_from(text: String) -> Result<Self, InvalidResource> {
        text.parse()
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> Self {
        resource.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(text: &str) -> Resource {
        text.parse().unwrap()
    }

    #[test]
    fn each_has_one_way_to_be_written() {
        for (text, canonical) in [
            ("deploy", "deploy"),
            ("./src//api/", "src/api/"),
            ("src/./api", "src/api"),
            ("db:main", "db:main"),
            ("Übung/für alle", "Übung/für alle"),
        ] {
            assert_eq!(resource(text).to_string(), canonical);
            assert_eq!(resource(canonical), resource(text));
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        for text in [
            "",
            "/",
            "./",
            "/etc",
            "a/../b",
            " a",
            "a\n",
            "a\\b",
            &"x".repeat(513),
        ] {
            let error = text.parse::<Resource>().unwrap_err().to_string();
            assert!(error.contains("is no resource: "), "{error}");
        }
    }

    #[test]
    fn a_slash_at_the_end_takes_all_beneath() {
        let overlaps = |a: &str, b: &str| {
            let (a, b) = (resource(a), resource(b));
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlaps("src/api/", "src/api/users.rs"));
        assert!(overlaps("src/api/", "src/api"));
        assert!(overlaps("src/", "src/api/"));
        assert!(!overlaps("src/api", "src/api/users.rs"));
        assert!(!overlaps("src/api/", "src/apis"));
        assert!(!overlaps("src/api/", "src"));
        assert!(resource("src/").covers(&resource("src/a")));
        assert!(!resource("src").covers(&resource("src/")));
    }

    #[test]
    fn what_is_beneath_lies_in_one_range() {
        let (from, to) = resource("src/api").beneath();
        for beneath in ["src/api/a", "src/api/ü", "src/api/a/b"] {
            assert!((from.as_str()..to.as_str()).contains(&beneath));
        }
        for other in ["src/api", "src/api.rs", "src/api0", "src/apis/a"] {
            assert!(!(from.as_str()..to.as_str()).contains(&other));
        }
        let deep = resource("a/b/c");
        assert_eq!(deep.above().collect::<Vec<_>>(), ["a/b", "a"]);
    }

    #[test]
    fn batches_are_sorted_and_hold_nothing_twice() {
        let batch = ["b", "src/x", "a", "src/", "b"].map(resource).to_vec();
        let texts: Vec<String> = Resource::canonical(batch)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(texts, ["a", "b", "src/"]);
    }
}
