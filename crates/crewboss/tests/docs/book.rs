//! The book holds together: every page is in its summary, every link leads somewhere.

use std::path::{Component, Path, PathBuf};

use crate::paths;

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = paths::read("docs/src/SUMMARY.md");
    for page in paths::pages() {
        let Some(inside) = page.strip_prefix("docs/src/") else {
            continue;
        };
        if inside == "SUMMARY.md" {
            continue;
        }
        assert!(
            links(&summary).any(|link| link == inside),
            "{page} is not in SUMMARY.md"
        );
    }
}

#[test]
fn every_link_leads_to_a_file() {
    for page in paths::pages() {
        let text = paths::read(&page);
        let folder = paths::root().join(&page).parent().unwrap().to_owned();
        let local = links(&text).filter(|link| !link.starts_with("http") && !link.starts_with('#'));
        for link in local {
            let target = normal(&folder.join(link.split('#').next().unwrap_or_default()));
            assert!(target.exists(), "{page}: {link} leads nowhere");
        }
        for included in text.split("{{#include ").skip(1) {
            let name = included.split("}}").next().unwrap_or_default();
            assert!(folder.join(name).is_file(), "{page}: {name} is not there");
        }
    }
}
