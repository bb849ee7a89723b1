//! A model that says what a scenario file tells it, over the chat completions API: real agents can
//! be run against it offline, and it always answers the same.
//!
//! It answers `GET /v1/models` and `POST /v1/chat/completions`, streamed or whole, on loopback.
//!
//! # The scenario
//! TOML or JSON; an unknown key is an error. Scripts are tried in order, and the first that matches
//! the prompt plays its turns, one for each model call after the prompt:
//!
//! ```
//! let scenario = testkit::scripted_model::Scenario::from_toml(r#"
//! title = "A short title"                 # for requests that ask for one
//! record_bodies = false                   # keep whole requests for assertions
//!
//! [[scripts]]
//! name = "two-files"                      # unique
//! match = ["write", "two files"]          # all must be in the prompt; one may be a plain string
//! against = "nearest"                     # or "first", "last": which user message is the prompt
//! past_end = "error"                      # or "repeat-last", for an agent that loops
//!
//! [[scripts.turns]]
//! text = "I write both files."
//! reasoning = "Two files, one call each."
//! delay_ms = 100                          # before the first byte
//! pace_ms = 0                             # before each further streamed piece
//! usage = { prompt = 1000, cached = 200, completion = 50, reasoning = 7 }
//! tools = [
//!   { name = "write", arguments = { filePath = "{{cwd}}/a.txt", content = "A\n" } },
//!   { name = "bash", arguments = { command = "echo B > b.txt", description = "Writes b" } },
//! ]
//! faults = [                              # first these, in order, and then the answer
//!   { kind = "status", status = 429, retry_after_s = 1, times = 2 },
//!   { kind = "drop-mid-stream" },
//! ]
//!
//! [[scripts.turns]]
//! text = "Both are there."
//! finish = "stop"                         # the default without tools; "tool_calls" with them
//! "#)?;
//! # assert_eq!(scenario.scripts[0].turns.len(), 2);
//! # Ok::<(), testkit::scripted_model::ScenarioError>(())
//! ```
//!
//! Faults are `status` (with `status`, `retry_after_s`, `retry_after_ms`, `message`, `code`),
//! `drop-before`, `drop-mid-stream`, `malformed` and `unfinished`; each strikes `times` times (1)
//! in every conversation, or `"always"`. An `unfinished` answer stays in the conversation, so the
//! next call plays the next turn. A tool may have `raw_arguments`, a string sent as it is,
//! instead of `arguments`.
//!
//! In texts and arguments `{{cwd}}` is the working directory that the agent names in its system
//! prompt, `{{prompt}}` the matched message and `{{session}}` the conversation. Other braces stay.
//!
//! When `OpenCode` compacts a conversation it asks for a summary, which plays the next turn of the
//! same script, and goes on with a prompt of its own, which needs a script of its own.

mod conversation;
mod opencode;
mod player;
mod reading;
mod recording;
mod reply;
mod scenario;
mod server;
mod template;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

pub use self::{
    opencode::{OPENCODE_VERSION, isolated_env, opencode_config},
    reading::ScenarioError,
    recording::{Answer, RecordedRequest},
    scenario::{
        Against, Always, Fault, Needles, PastEnd, Scenario, Script, Times, ToolCall, Turn, Usage,
    },
};

use self::player::Player;

/// A running scripted model. Its connections are cut and its port is free once it is dropped.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    player: Arc<Player>,
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedModel {
    /// Plays `scenario` at a free port of 127.0.0.1. It listens when this returns.
    ///
    /// # Errors
    /// If no port or thread is to be had, or [`Scenario::checked`] refuses the scenario.
    pub fn start(scenario: Scenario) -> io::Result<Self> {
        Self::start_at(scenario, 0)
    }

    /// Plays `scenario` at this port of 127.0.0.1; 0 is any free one.
    ///
    /// # Errors
    /// As [`ScriptedModel::start`], and if the port is taken.
    pub fn start_at(scenario: Scenario, port: u16) -> io::Result<Self> {
        let scenario = scenario
            .checked()
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let player = Arc::new(Player::new(scenario));
        let (shutdown, ended) = oneshot::channel();
        let served = Arc::clone(&player);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = thread::Builder::new()
            .name("scripted-model".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener)
                        .expect("a bound listener joins the runtime");
                    let told = async {
                        // A sender that is gone means the same as one that spoke.
                        let _ = ended.await;
                    };
                    server::serve(listener, served, told).await;
                });
            })?;
        Ok(Self {
            address,
            player,
            shutdown: Some(shutdown),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:PORT/v1`: what a client takes as the API's base.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Every request so far, in the order in which they were decided.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.player.requests()
    }

    /// How many calls a script has answered, faults included.
    pub fn calls_of(&self, script: &str) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.script.as_deref() == Some(script))
            .count()
    }

    /// How many requests were answered in this way.
    pub fn answered(&self, answer: Answer) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.answer == answer)
            .count()
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            // The thread is gone already if nobody receives.
            let _ = shutdown.send(());
        }
        if let Some(thread) = self.thread.take() {
            // It could only have panicked, which it has said itself.
            drop(thread.join());
        }
    }
}
