//! What happens between fork and exec, done by a program that is executed in between.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::setsid;

use super::report::{Reporter, Step};

/// The exit code with which a program should end that called [`exec_shim`] and got an error.
pub const EXIT_NOT_STARTED: i32 = 127;

pub(crate) const REPORT: &str = "--report";
pub(crate) const CGROUP: &str = "--cgroup";
pub(crate) const SETSID: &str = "--setsid";
pub(crate) const ARG0: &str = "--arg0";

/// What a prepared process does.
#[derive(Debug)]
pub enum Prepared {
    /// The program to execute is the one that already runs: it goes on with these arguments, its
    /// own name first, which saves it a second start.
    Own(Vec<OsString>),
    /// What prevented the program from being executed. Nothing of it has run.
    Refused(io::Error),
}

/// Prepares this process and then replaces it by a program; returns only where that program is
/// this one, or with what prevented it.
///
/// `args` are `[--report PATH] [--cgroup DIR] [--setsid] [--arg0 NAME] -- PROGRAM ARGS…`, as
/// `HostProcesses` writes them after the arguments of its shim. The program gets the environment,
/// directory and streams of this process, an empty signal mask and the default action for
/// `SIGPIPE`; other ignored signals stay ignored. It must be called before the process has
/// started threads. There is no parent death signal: that would fire when the *thread* that
/// started the tree ends; what a killed parent leaves is found by marker and control group.
///
/// The caller should print an error and end with [`EXIT_NOT_STARTED`].
#[must_use]
pub fn exec_shim(args: &[OsString]) -> Prepared {
    let order = match Order::parse(args) {
        Ok(order) => order,
        Err(error) => return Prepared::Refused(error),
    };
    let mut reporter = match order.report.as_deref().map(Reporter::open).transpose() {
        Ok(reporter) => reporter,
        Err(error) => return Prepared::Refused(error),
    };
    let refused = match order.prepare() {
        // The end of the report says that it is done.
        Ok(()) if order.is_own() => return Prepared::Own(order.own_arguments()),
        Ok(()) => (Step::Execute, order.execute()),
        Err(refused) => refused,
    };
    let (step, error) = refused;
    if let Some(reporter) = &mut reporter {
        reporter.refuse(step, &error);
    }
    Prepared::Refused(error)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Order {
    report: Option<PathBuf>,
    cgroup: Option<PathBuf>,
    setsid: bool,
    arg0: Option<OsString>,
    program: OsString,
    args: Vec<OsString>,
}

impl Order {
    fn parse(args: &[OsString]) -> io::Result<Self> {
        let missing =
            || io::Error::new(ErrorKind::InvalidInput, "expected `-- PROGRAM` at the end");
        let mut order = Self::default();
        let mut rest = args.iter().cloned();
        loop {
            let option = rest.next().ok_or_else(missing)?;
            match option.to_str() {
                Some("--") => break,
                Some(SETSID) => order.setsid = true,
                Some(REPORT) => order.report = Some(rest.next().ok_or_else(missing)?.into()),
                Some(CGROUP) => order.cgroup = Some(rest.next().ok_or_else(missing)?.into()),
                Some(ARG0) => order.arg0 = Some(rest.next().ok_or_else(missing)?),
                _ => return Err(missing()),
            }
        }
        order.program = rest.next().ok_or_else(missing)?;
        order.args = rest.collect();
        Ok(order)
    }

    fn prepare(&self) -> Result<(), (Step, io::Error)> {
        if let Some(error) = self.cgroup.as_deref().and_then(|dir| join(dir).err()) {
            return Err((Step::Join, error));
        }
        if let Some(error) = self.setsid.then(setsid).and_then(Result::err) {
            return Err((Step::Detach, error.into()));
        }
        Ok(())
    }

    /// Whether what is to be executed is what runs; not where its file was replaced meanwhile.
    fn is_own(&self) -> bool {
        std::env::current_exe().is_ok_and(|own| own == self.program)
    }

    fn own_arguments(&self) -> Vec<OsString> {
        let name = self.arg0.as_ref().unwrap_or(&self.program).clone();
        std::iter::once(name)
            .chain(self.args.iter().cloned())
            .collect()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this adapter starts the processes"
    )]
    fn execute(&self) -> io::Error {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .arg0(self.arg0.as_deref().unwrap_or(OsStr::new(&self.program)));
        command.exec()
    }
}

/// Moves this process into a control group.
fn join(dir: &Path) -> io::Result<()> {
    fs::write(dir.join("cgroup.procs"), "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(words: &[&str]) -> io::Result<Order> {
        Order::parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_follows_the_two_dashes_is_the_program_alone() {
        let order = order(&[
            "--setsid", "--arg0", "sh", "--", "/bin/sh", "--setsid", "--",
        ]);
        let expected = Order {
            setsid: true,
            arg0: Some("sh".into()),
            program: "/bin/sh".into(),
            args: vec!["--setsid".into(), "--".into()],
            ..Order::default()
        };
        assert_eq!(order.unwrap(), expected);
    }

    #[test]
    fn an_incomplete_order_is_refused() {
        for words in [
            &[][..],
            &["--"],
            &["--cgroup"],
            &["--what", "--", "x"],
            &["x"],
        ] {
            assert!(order(words).is_err(), "{words:?}");
        }
    }
}
