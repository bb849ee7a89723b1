//! Keeps the session's lease, and hears with each renewal what is wanted of it.
//!
//! It never waits for the store: requests go through a thread that does nothing else, so that one
//! that hangs does not keep anybody from noticing that the lease has run out.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use app::{
    command::{Reply, Request},
    error::Error,
    ports::{
        clock::Clock,
        store::{Answer, Store},
    },
};
use domain::{session::Session, time::Moment};

use crate::{
    voice::{Voice, is_loss, session_of},
    wishes::{Loss, Wishes},
};

/// Between a refused renewal and the next attempt.
const RETRY_MILLIS: u64 = 500;

/// A pause that took so much longer than it was to be was the machine's sleep, or its being
/// stopped, and not ours: the lease has run out unheard.
const SLEEP_MILLIS: u64 = 2_000;

/// After a sleep the store is asked once more, for so long, before the session counts as lost: it
/// refuses where somebody else has taken over meanwhile.
const AFTER_SLEEP_MILLIS: u64 = 3_000;

/// How long one who pokes waits for the renewal.
const POKE_PATIENCE: Duration = Duration::from_millis(900);

/// How long the agent's end waits until the store knows of its beginning.
const SAID_PATIENCE: Duration = Duration::from_secs(5);

enum Note {
    /// Renew at once, and say so.
    Poke(SyncSender<()>),
    /// Tell the store, again and again until it answers.
    Say(Box<Request>),
    /// Say when all that was to be said has been answered.
    Hush(SyncSender<()>),
    Renewed(Result<Reply, Error>),
    Said(Box<Request>, Result<Reply, Error>),
    Close,
}

/// A request on its way to the store.
type Spoken = (Request, Answer);

/// Submits requests one after the other, however long each takes.
fn speak(store: &dyn Store, requests: &Receiver<Spoken>) {
    for (request, answer) in requests {
        store.submit(request, answer);
    }
}

/// Makes a note of an answer, also of one that the store drops instead of giving it.
struct Scribe<F: FnOnce(Result<Reply, Error>) -> Note> {
    sender: Sender<Note>,
    note: Option<F>,
}

impl<F: FnOnce(Result<Reply, Error>) -> Note> Scribe<F> {
    fn tell(&mut self, reply: Result<Reply, Error>) {
        if let Some(note) = self.note.take() {
            // A keeper that is gone needs no answers.
            drop(self.sender.send(note(reply)));
        }
    }
}

impl<F: FnOnce(Result<Reply, Error>) -> Note> Drop for Scribe<F> {
    fn drop(&mut self) {
        self.tell(Err(Error::unavailable("the store did not answer")));
    }
}

/// A way to a [`Keeper`].
#[derive(Debug, Clone)]
pub(crate) struct KeeperHandle(Sender<Note>);

impl KeeperHandle {
    /// Makes it renew the lease; `true` once that was done.
    pub(crate) fn poke(&self) -> bool {
        let (done, wait) = sync_channel(1);
        self.0.send(Note::Poke(done)).is_ok() && wait.recv_timeout(POKE_PATIENCE).is_ok()
    }

    /// Tells the store without waiting; where it cannot be reached, again later.
    pub(crate) fn say(&self, request: Request) {
        // A keeper that is gone has lost the session.
        drop(self.0.send(Note::Say(Box::new(request))));
    }

    /// Waits a while until all of that has been answered, so that what follows comes after it.
    pub(crate) fn wait_until_said(&self) {
        let (done, wait) = sync_channel(1);
        if self.0.send(Note::Hush(done)).is_ok() {
            // Without an answer the rest is said all the same.
            let _ = wait.recv_timeout(SAID_PATIENCE);
        }
    }
}

/// The keeper's thread; ends when dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    handle: KeeperHandle,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts to keep the lease of a session that has just begun.
    pub(crate) fn start(
        voice: Voice,
        clock: Arc<dyn Clock>,
        wishes: Wishes,
        lease: Duration,
        session: &Session,
    ) -> io::Result<Self> {
        let (sender, inbox) = channel();
        let (speaker, requests) = channel();
        let store = Arc::clone(&voice.store);
        thread::Builder::new()
            .name("voice".to_owned())
            .spawn(move || speak(&*store, &requests))?;
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(10);
        let lease_start = session.lease_until.millis.saturating_sub(lease_millis);
        let keeping = Keeping {
            voice,
            clock,
            wishes,
            lease_millis,
            renewed: Moment {
                boot: session.lease_until.boot.clone(),
                millis: lease_start,
            },
            next: lease_start + lease_millis / 3,
            retry: None,
            unsaid: vec![],
            saying: 0,
            listening: vec![],
            is_asking: false,
            expected: lease_start,
            patience: 0,
            waiting: vec![],
            served: vec![],
            sender: sender.clone(),
            speaker,
        };
        let thread = thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || keeping.run(&inbox))?;
        Ok(Self {
            handle: KeeperHandle(sender),
            thread: Some(thread),
        })
    }

    pub(crate) fn handle(&self) -> KeeperHandle {
        self.handle.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.handle.0.send(Note::Close));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Keeping {
    voice: Voice,
    clock: Arc<dyn Clock>,
    wishes: Wishes,
    lease_millis: u64,
    /// When the lease was last renewed for certain.
    renewed: Moment,
    next: u64,
    /// When to say again what the store did not take.
    retry: Option<u64>,
    unsaid: Vec<Request>,
    /// How many requests have not been answered for good, and who waits for that.
    saying: usize,
    listening: Vec<SyncSender<()>>,
    is_asking: bool,
    /// When the pause that is on was to be over.
    expected: u64,
    /// Until when the end of the lease does not count.
    patience: u64,
    /// Who waits for the renewal after this one, and who for this one.
    waiting: Vec<SyncSender<()>>,
    served: Vec<SyncSender<()>>,
    sender: Sender<Note>,
    speaker: Sender<Spoken>,
}

impl Keeping {
    fn run(mut self, inbox: &Receiver<Note>) {
        loop {
            let now = self.clock.now().moment;
            self.notice_sleep(now.millis);
            // After a reboot, or in a test's, nothing of the old boot counts.
            if now.boot != self.renewed.boot || now.millis >= self.expiry() {
                return self.wishes.lose(Loss::Lease);
            }
            let is_due = now.millis >= self.next || !self.waiting.is_empty();
            if is_due && !self.is_asking {
                self.renew(now.millis);
                continue;
            }
            if self.retry.is_some_and(|retry| now.millis >= retry) {
                self.retry = None;
                for request in std::mem::take(&mut self.unsaid) {
                    self.submit(request);
                }
            }
            let pause = self.pause(now.millis);
            self.expected = now.millis + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            match inbox.recv_timeout(pause) {
                Ok(Note::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(note) => {
                    if self.take(note).is_break() {
                        return self.wishes.lose(Loss::Fence);
                    }
                }
            }
        }
    }

    /// The last fifth of a lease is not used: the store's clock decides, and it may be ahead.
    fn expiry(&self) -> u64 {
        (self.renewed.millis + self.lease_millis - self.lease_millis / 5).max(self.patience)
    }

    fn notice_sleep(&mut self, now: u64) {
        if now > self.expected.saturating_add(SLEEP_MILLIS) && now >= self.expiry() {
            self.patience = now + AFTER_SLEEP_MILLIS;
            self.next = now;
            self.expected = now;
        }
    }

    fn pause(&self, now: u64) -> Duration {
        let next = if self.is_asking { u64::MAX } else { self.next };
        let due = next
            .min(self.expiry())
            .min(self.retry.unwrap_or(u64::MAX))
            .saturating_sub(now);
        Duration::from_millis(due.max(1))
    }

    fn renew(&mut self, now: u64) {
        self.is_asking = true;
        self.served.append(&mut self.waiting);
        self.next = now + self.lease_millis / 3;
        let request = self.voice.renewal(self.lease_millis);
        self.send(request, Note::Renewed);
    }

    fn submit(&self, request: Request) {
        let again = Box::new(request.clone());
        self.send(request, move |reply| Note::Said(again, reply));
    }

    fn send(
        &self,
        request: Request,
        note: impl FnOnce(Result<Reply, Error>) -> Note + Send + 'static,
    ) {
        let mut scribe = Scribe {
            sender: self.sender.clone(),
            note: Some(note),
        };
        // Where the speaker is gone the answer is dropped, which is an answer.
        drop(
            self.speaker
                .send((request, Box::new(move |reply| scribe.tell(reply)))),
        );
    }

    fn take(&mut self, note: Note) -> std::ops::ControlFlow<()> {
        match note {
            Note::Poke(done) => self.waiting.push(done),
            Note::Say(request) => {
                self.saying += 1;
                self.submit(*request);
            }
            Note::Hush(done) => {
                self.listening.push(done);
                self.tell_listeners();
            }
            Note::Said(request, Err(error)) if is_passing(&error) => {
                self.unsaid.push(*request);
                self.retry = Some(self.clock.now().moment.millis + RETRY_MILLIS);
            }
            Note::Renewed(Err(error)) if is_passing(&error) => {
                self.is_asking = false;
                self.served.clear();
                self.next =
                    self.clock.now().moment.millis + RETRY_MILLIS.min(self.lease_millis / 5);
            }
            Note::Said(_, reply) => {
                self.saying -= 1;
                self.tell_listeners();
                match reply.and_then(|reply| session_of(reply.output)) {
                    Ok(session) => self.wishes.hear(&session),
                    Err(error) if is_loss(&error) => return std::ops::ControlFlow::Break(()),
                    // What is refused is refused for good; the renewals go on.
                    Err(_) => {}
                }
            }
            Note::Renewed(reply) => match reply.and_then(|reply| session_of(reply.output)) {
                Ok(session) => self.renewed(&session),
                Err(_) => return std::ops::ControlFlow::Break(()),
            },
            Note::Close => {}
        }
        std::ops::ControlFlow::Continue(())
    }

    fn tell_listeners(&mut self) {
        if self.saying == 0 {
            for done in self.listening.drain(..) {
                // Whoever asked may have given up.
                let _ = done.try_send(());
            }
        }
    }

    fn renewed(&mut self, session: &Session) {
        self.is_asking = false;
        let lease_start = session.lease_until.millis.saturating_sub(self.lease_millis);
        self.renewed = Moment {
            boot: session.lease_until.boot.clone(),
            millis: lease_start,
        };
        self.wishes.hear(session);
        for done in self.served.drain(..) {
            // Whoever asked may have given up.
            let _ = done.try_send(());
        }
    }
}

/// Whether asking again may help.
fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable { .. } | Error::Conflict { .. } | Error::Corrupt { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    };

    use app::{
        command::{Output, RecoveryPolicy},
        query::{Query, View},
    };
    use domain::{
        session::{SessionKind, SessionStatus, StopReason},
        time::{Now, Timestamp},
    };
    use sandbox_host::{HostOptions, HostProcesses, SystemClock};

    use super::*;
    use crate::event::Event;

    /// What the store does with requests.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Mood {
        Hangs,
        Drops,
        Answers,
    }

    #[derive(Debug)]
    struct Moody {
        mood: Mutex<Mood>,
        asked: AtomicUsize,
        session: Session,
        clock: Arc<Sleeping>,
    }

    /// A clock of a machine that can be made to have slept.
    #[derive(Debug)]
    struct Sleeping(SystemClock, AtomicU64);

    impl Clock for Sleeping {
        fn now(&self) -> Now {
            let mut now = self.0.now();
            now.moment.millis += self.1.load(Ordering::SeqCst);
            now
        }
    }

    impl Store for Moody {
        fn submit(&self, _request: Request, answer: Answer) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let mood = *self.mood.lock().unwrap();
            match mood {
                Mood::Hangs => thread::park(),
                Mood::Drops => drop(answer),
                Mood::Answers => {
                    let mut session = Box::new(self.session.clone());
                    session.lease_until = self.clock.now().moment.plus_millis(600);
                    answer(Ok(Reply {
                        output: Output::Session { session },
                        effects: vec![],
                    }));
                }
            }
        }

        fn read(&self, _query: &Query) -> Result<View, Error> {
            Err(Error::unavailable("not asked here"))
        }

        fn generation(&self) -> Result<u64, Error> {
            Ok(0)
        }
    }

    fn session(clock: &dyn Clock) -> Session {
        use app::ports::processes::Processes as _;
        let launcher = HostProcesses::new(HostOptions::default()).unwrap();
        let at = Timestamp::from_millis(1);
        Session {
            id: "ses_1".parse().unwrap(),
            task: "task_1".parse().unwrap(),
            project: "prj_1".parse().unwrap(),
            fence: 1,
            agent: "a".parse().unwrap(),
            kind: SessionKind::Managed,
            status: SessionStatus::Preparing,
            node: None,
            launcher: launcher.own_identity(),
            runner: None,
            process: None,
            lease_until: clock.now().moment.plus_millis(600),
            stop: Some(StopReason::Cancel),
            deadline: None,
            workspace: None,
            gates: vec![],
            outcome: None,
            started_at: None,
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }

    /// A keeper of a lease of 600 ms, and what it tells.
    fn keeper(mood: Mood) -> (Keeper, Arc<Moody>, Wishes, Receiver<Event>) {
        let clock = Arc::new(Sleeping(SystemClock::new().unwrap(), AtomicU64::new(0)));
        let session = session(&*clock);
        let store = Arc::new(Moody {
            mood: Mutex::new(mood),
            asked: AtomicUsize::new(0),
            session: session.clone(),
            clock: Arc::clone(&clock),
        });
        let voice = Voice {
            store: store.clone(),
            session: session.id,
            fence: 1,
            recovery: RecoveryPolicy::default(),
        };
        let (events, inbox) = channel();
        let wishes = Wishes::new(events);
        let lease = Duration::from_millis(600);
        let keeper = Keeper::start(voice, clock, wishes.clone(), lease, &session).unwrap();
        (keeper, store, wishes, inbox)
    }

    #[test]
    fn a_store_that_hangs_loses_the_lease_in_time() {
        let (keeper, _store, wishes, inbox) = keeper(Mood::Hangs);
        let told = inbox.recv_timeout(Duration::from_secs(10));
        assert_eq!(told, Ok(Event::Wishes));
        assert_eq!(wishes.now().loss, Some(Loss::Lease));
        assert!(!keeper.handle().poke());
    }

    #[test]
    fn a_dropped_answer_is_asked_for_again() {
        let (_keeper, store, wishes, inbox) = keeper(Mood::Drops);
        let told = inbox.recv_timeout(Duration::from_secs(10));
        assert_eq!(told, Ok(Event::Wishes));
        assert_eq!(wishes.now().loss, Some(Loss::Lease));
        assert!(store.asked.load(Ordering::SeqCst) > 1);
    }

    #[test]
    fn a_poke_hears_what_is_wanted() {
        let (keeper, _store, wishes, _inbox) = keeper(Mood::Answers);
        assert!(keeper.handle().poke());
        assert_eq!(wishes.now().stop, Some(StopReason::Cancel));
        assert_eq!(wishes.now().loss, None);
    }

    #[test]
    fn a_machine_that_slept_past_the_lease_asks_before_it_gives_up() {
        let (keeper, store, wishes, inbox) = keeper(Mood::Answers);
        store.clock.1.store(3_600_000, Ordering::SeqCst);
        assert!(keeper.handle().poke());
        assert_eq!(wishes.now().loss, None);
        *store.mood.lock().unwrap() = Mood::Drops;
        store.clock.1.store(7_200_000, Ordering::SeqCst);
        while wishes.now().loss.is_none() {
            inbox.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        assert_eq!(wishes.now().loss, Some(Loss::Lease));
    }
}
