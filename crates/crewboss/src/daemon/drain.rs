//! The end of the daemon: what is still to be done is done in order, each thing in a time of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

/// How long each thing may take.
const EACH: Duration = Duration::from_secs(5);

/// How often it is looked whether somebody is in a hurry.
const LOOK: Duration = Duration::from_millis(20);

/// How often the process was told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Arc<AtomicU32>);

impl Told {
    /// Once more; answers how often by now.
    pub(crate) fn again(&self) -> u32 {
        self.0.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The first time asks for an end in order, the second for an end.
    fn is_in_hurry(&self) -> bool {
        self.0.load(Ordering::Acquire) >= 2
    }
}

/// Something to do before the end.
pub(crate) struct Last {
    /// What it is, for who watches.
    pub(crate) what: &'static str,
    /// It.
    pub(crate) act: Box<dyn FnOnce() + Send>,
}

/// Does all of them, the first first. One that takes too long is left to itself, and all that are
/// left are where somebody is in a hurry; answers which were not done.
pub(crate) fn drain(all: Vec<Last>, told: &Told) -> Vec<&'static str> {
    let mut undone = Vec::new();
    for last in all {
        if told.is_in_hurry() || !is_done(last.act, told) {
            undone.push(last.what);
        }
    }
    undone
}

fn is_done(act: Box<dyn FnOnce() + Send>, told: &Told) -> bool {
    let (done, is_done) = channel::<()>();
    let run = move || {
        act();
        // Nobody waits for it any more where it took too long.
        let _ = done.send(());
    };
    let thread = thread::Builder::new().name("drain".to_owned());
    if thread.spawn(run).is_err() {
        return false;
    }
    let mut left = EACH;
    loop {
        match is_done.recv_timeout(LOOK) {
            Ok(()) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {
                left = left.saturating_sub(LOOK);
                if left.is_zero() || told.is_in_hurry() {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::Sender};

    use super::*;

    fn noting(what: &'static str, notes: &Arc<Mutex<Vec<&'static str>>>) -> Last {
        let notes = Arc::clone(notes);
        let act = Box::new(move || notes.lock().unwrap().push(what));
        Last { what, act }
    }

    fn stuck(what: &'static str) -> (Last, Sender<()>) {
        let (free, wait) = channel::<()>();
        let act = Box::new(move || {
            let _ = wait.recv();
        });
        (Last { what, act }, free)
    }

    #[test]
    fn one_after_the_other() {
        let notes = Arc::default();
        let all = vec![noting("a", &notes), noting("b", &notes)];
        assert_eq!(drain(all, &Told::default()), [""; 0]);
        assert_eq!(*notes.lock().unwrap(), ["a", "b"]);
    }

    #[test]
    fn one_that_hangs_holds_up_no_other() {
        let notes = Arc::default();
        let (hangs, _free) = stuck("hangs");
        let all = vec![hangs, noting("b", &notes)];
        assert_eq!(drain(all, &Told::default()), ["hangs"]);
        assert_eq!(*notes.lock().unwrap(), ["b"]);
    }

    #[test]
    fn who_is_in_a_hurry_waits_for_none() {
        let notes = Arc::default();
        let (hangs, _free) = stuck("hangs");
        let told = Told::default();
        told.again();
        told.again();
        let all = vec![hangs, noting("b", &notes)];
        assert_eq!(drain(all, &told), ["hangs", "b"]);
        assert_eq!(notes.lock().unwrap().len(), 0);
    }
}
