//! System packages: installed only where they are missing, root is available and the system has
//! Debian's package manager; else it is said what is missing.

use std::process::Stdio;

use anyhow::{Result, bail};

use crate::shell;

/// A program and the package that has it.
pub(crate) struct Package {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

/// What OpenCode and the workspaces need.
pub(crate) const RUN: &[Package] = &[
    Package {
        program: "git",
        package: "git",
    },
    Package {
        program: "rg",
        package: "ripgrep",
    },
];

/// What the tests need besides.
pub(crate) const TEST: &[Package] = &[
    Package {
        program: "redis-server",
        package: "redis-server",
    },
    Package {
        program: "setsid",
        package: "util-linux",
    },
    Package {
        program: "ip",
        package: "iproute2",
    },
    Package {
        program: "strace",
        package: "strace",
    },
    Package {
        program: "cc",
        package: "gcc",
    },
    Package {
        program: "initdb",
        package: "postgresql",
    },
];

/// Where Debian keeps the programs of PostgreSQL, by version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

fn is_there(package: &Package) -> bool {
    let versions = || {
        std::fs::read_dir(POSTGRESQL)
            .into_iter()
            .flatten()
            .flatten()
    };
    let of_postgresql = package.package == "postgresql"
        && versions().any(|version| version.path().join("bin").join(package.program).exists());
    of_postgresql || shell::which(package.program).is_some()
}

/// Makes sure that these programs are there.
pub(crate) fn require(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| !is_there(package))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|package| package.package).collect();
    if shell::which("apt-get").is_none() || !is_root() {
        bail!(
            "these programs are missing: {}; install the packages {} and try again",
            missing
                .iter()
                .map(|package| package.program)
                .collect::<Vec<_>>()
                .join(", "),
            names.join(", ")
        );
    }
    println!("Installing {} …", names.join(", "));
    let quietly = |arguments: &[&str]| {
        shell::run(
            shell::program("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null())
                .stdout(Stdio::null()),
        )
    };
    quietly(&["update", "-qq"])?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    quietly(&[&install[..], &names[..]].concat())
}

pub(crate) fn is_root() -> bool {
    shell::output(shell::program("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}
