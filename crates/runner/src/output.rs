//! What the agent prints: masked, written to the log, and read by its driver's parser.
//!
//! The threads that read the agent's streams do all of it, so that a flood of output delays
//! neither a cancellation nor a deadline.

use std::{
    io::Read,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use app::ports::{
    agents::{OutputParser, ProtocolReport, Stream},
    clock::Clock,
    folders::{LogSink, TranscriptSink},
};
use domain::{
    completion::ProtocolVerdict,
    process::Exit,
    redact::{Carry, Redactor},
};

use crate::{
    event::Event,
    lines::{Line, Lines},
};

/// How much is read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// How long the streams may stay open once every process of the session is gone.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The log of a session, and its transcript while an agent speaks.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    inner: Arc<Mutex<Inner>>,
    clock: Arc<dyn Clock>,
}

/// Told of each turn that the agent begins.
pub(crate) type OnTurn = Box<dyn Fn(u32) + Send>;

struct Inner {
    log: Box<dyn LogSink>,
    redactor: Redactor,
    agent: Option<Agent>,
    turn: u32,
    on_turn: Option<OnTurn>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("log", &self.log)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// How the agent that is speaking is understood.
#[derive(Debug)]
struct Agent {
    parser: Box<dyn OutputParser>,
    /// For agents with a protocol.
    transcript: Option<Box<dyn TranscriptSink>>,
    must_stop: bool,
}

impl Output {
    pub(crate) fn new(log: Box<dyn LogSink>, redactor: Redactor, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            log,
            redactor,
            agent: None,
            turn: 0,
            on_turn: None,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log_path(&self) -> std::path::PathBuf {
        self.lock().log.path().to_path_buf()
    }

    /// Writes a line of our own between the agent's.
    pub(crate) fn note(&self, text: &str) {
        let at = self.clock.now().wall;
        let mut inner = self.lock();
        let text = inner.redactor.text(text).replace('\n', " ");
        inner
            .log
            .append(format!("[crewboss {at}] {text}\n").as_bytes());
    }

    /// Tells of each turn that the agent begins from now on. What is called must not wait.
    pub(crate) fn tell_turns(&self, told: OnTurn) {
        self.lock().on_turn = Some(told);
    }

    pub(crate) fn forget_turns(&self) {
        drop(self.lock().on_turn.take());
    }

    /// From here on the lines are an agent's.
    pub(crate) fn listen_to(
        &self,
        parser: Box<dyn OutputParser>,
        transcript: Option<Box<dyn TranscriptSink>>,
        redactor: Redactor,
    ) {
        let mut inner = self.lock();
        inner.redactor = redactor;
        inner.agent = Some(Agent {
            parser,
            transcript,
            must_stop: false,
        });
    }

    /// What the parser knows at the end, without secrets.
    pub(crate) fn report(&self, exit: Option<Exit>) -> ProtocolReport {
        let mut inner = self.lock();
        let mut report = inner
            .agent
            .as_mut()
            .map(|agent| agent.parser.finish(exit))
            .unwrap_or_default();
        let mask = |text: &mut String| *text = inner.redactor.text(text).into_owned();
        report.last_text.iter_mut().for_each(mask);
        if let Some(ProtocolVerdict::Failed(failure)) = &mut report.verdict {
            mask(&mut failure.message);
            failure.details.iter_mut().for_each(mask);
        }
        report
    }

    pub(crate) fn redactor(&self) -> Redactor {
        self.lock().redactor.clone()
    }

    /// What could not be written.
    pub(crate) fn faults(&self) -> Vec<String> {
        let inner = self.lock();
        let log = inner
            .log
            .fault()
            .map(|why| format!("the log is incomplete: {why}"));
        let transcript = inner
            .agent
            .as_ref()
            .and_then(|agent| agent.transcript.as_ref()?.fault())
            .map(|why| format!("the transcript is incomplete: {why}"));
        log.into_iter().chain(transcript).collect()
    }

    /// Takes the whole lines of one read; `true` once if the agent must be ended.
    fn take(&self, stream: Stream, carry: &mut Carry, lines: &[(Vec<u8>, usize)]) -> bool {
        let at = self.clock.now().wall;
        let mut inner = self.lock();
        let Inner {
            log,
            redactor,
            agent,
            turn,
            on_turn,
        } = &mut *inner;
        let has_protocol = agent
            .as_ref()
            .is_some_and(|agent| agent.transcript.is_some());
        let mut masked = Vec::new();
        let mut must_stop = false;
        for (line, dropped) in lines {
            if has_protocol {
                // A line of JSON is whole in itself: nothing in it reaches into the next.
                masked.extend_from_slice(&redactor.bytes(line));
            } else {
                masked.extend_from_slice(&redactor.line(carry, line));
            }
            if *dropped > 0 {
                masked.extend_from_slice(format!(" [{dropped} bytes cut]").as_bytes());
            }
            masked.push(b'\n');
            let Some(agent) = agent else { continue };
            for entry in agent.parser.line(stream, line) {
                if entry.turn > *turn {
                    *turn = entry.turn;
                    if let Some(told) = on_turn {
                        told(*turn);
                    }
                }
                if let Some(transcript) = &mut agent.transcript {
                    transcript.append(entry, at);
                }
            }
            if !agent.must_stop && agent.parser.must_stop().is_some() {
                agent.must_stop = true;
                must_stop = true;
            }
        }
        log.append(&masked);
        must_stop
    }

    /// Reads a stream to its end in a thread of its own.
    fn pump(
        self,
        stream: Stream,
        mut source: Box<dyn Read + Send>,
        limit: usize,
        events: Sender<Event>,
        closed: Sender<()>,
    ) -> std::io::Result<()> {
        let name = format!("{stream:?}").to_lowercase();
        let run = move || {
            let mut lines = Lines::new(limit);
            let mut carry = Carry::default();
            let mut chunk = vec![0; CHUNK];
            let mut whole: Vec<(Vec<u8>, usize)> = Vec::new();
            loop {
                let keep = |line: &Line<'_>| whole.push((line.bytes.to_vec(), line.dropped));
                let is_end = match source.read(&mut chunk) {
                    Ok(0) => true,
                    Ok(count) => {
                        lines.feed(&chunk[..count], keep);
                        false
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => true,
                };
                if is_end {
                    lines.finish(|line| whole.push((line.bytes.to_vec(), line.dropped)));
                }
                if !whole.is_empty() && self.take(stream, &mut carry, &whole) {
                    let _ = events.send(Event::MustStop);
                }
                whole.clear();
                if is_end {
                    break;
                }
            }
            drop(closed);
        };
        thread::Builder::new().name(name).spawn(run).map(drop)
    }

    /// Reads both streams of an agent.
    pub(crate) fn read(
        &self,
        streams: [(Stream, Option<Box<dyn Read + Send>>); 2],
        limit: usize,
        events: &Sender<Event>,
    ) -> std::io::Result<Closing> {
        let (closed, closing) = channel();
        for (stream, source) in streams {
            let Some(source) = source else { continue };
            self.clone()
                .pump(stream, source, limit, events.clone(), closed.clone())?;
        }
        Ok(Closing(closing))
    }
}

/// Both streams, until they are closed.
#[derive(Debug)]
pub(crate) struct Closing(Receiver<()>);

impl Closing {
    /// Waits for the last line; `false` where someone who is not of the session keeps a stream
    /// open.
    pub(crate) fn wait(&self) -> bool {
        self.0.recv_timeout(CLOSE_PATIENCE) == Err(RecvTimeoutError::Disconnected)
    }
}
