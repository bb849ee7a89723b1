//! A client of a few lines, which sees what really came over the wire.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

/// What came back before the connection ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 where not even a status came.
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    /// The body, as it is on the wire where it is chunked.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The data of the stream's events that are JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect()
    }

    /// The stream's events put together: text, reasoning, arguments of the first tool.
    pub(crate) fn joined(&self, pointer: &str) -> String {
        self.events()
            .iter()
            .filter_map(|event| event.pointer(&format!("/choices/0/delta{pointer}")))
            .filter_map(Value::as_str)
            .collect()
    }

    /// Whether the stream came to its proper end.
    pub(crate) fn is_complete(&self) -> bool {
        self.body.ends_with("0\r\n\r\n")
    }
}

/// Sends one request and reads until the server closes.
pub(crate) fn request(
    base_url: &str,
    method: &str,
    path: &str,
    session: &str,
    body: &str,
) -> Answer {
    let address = base_url
        .trim_start_matches("http://")
        .split('/')
        .next()
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let session = if session.is_empty() {
        String::new()
    } else {
        format!("x-session-id: {session}\r\n")
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{session}\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut bytes = Vec::new();
    // A connection that is reset ends the answer as one that is closed does.
    let _ended = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Asks for a chat completion.
pub(crate) fn chat(
    base_url: &str,
    session: &str,
    stream: bool,
    messages: &[(&str, &str)],
) -> Answer {
    let messages: Vec<Value> = messages
        .iter()
        .map(|(role, text)| json!({"role": role, "content": text}))
        .collect();
    let body = json!({
        "model": "scripted", "messages": messages, "stream": stream,
        "stream_options": {"include_usage": true},
        "tools": [{"type": "function", "function": {"name": "write"}}],
    });
    request(
        base_url,
        "POST",
        "/v1/chat/completions",
        session,
        &body.to_string(),
    )
}
