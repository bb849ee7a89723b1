//! The HTTP side: connections in, performances out.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Channel, Full, Limited, channel::Sender, combinators::BoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use super::{
    player::{Action, Break, Performance, Player},
    reply::Reply,
};

/// The greatest body that is read: several times the longest context of any model.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Time for what was written to leave this process before its connection is closed on purpose.
const FLUSH: Duration = Duration::from_millis(30);

/// Pieces that may wait for a slow reader.
const PIECES_WAITING: usize = 16;

/// A connection that the scenario closes.
#[derive(Debug, thiserror::Error)]
#[error("the scenario closes this connection")]
struct Closed;

type Body = BoxBody<Bytes, Closed>;

/// Answers connections until `shutdown` is ready; what is unanswered then is cut off.
pub(super) async fn serve(
    listener: TcpListener,
    player: Arc<Player>,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let player = Arc::clone(&player);
                let service = service_fn(move |request| answer(Arc::clone(&player), request));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connections.spawn(async move {
                    // An error here is the client's going away, or a connection closed on purpose.
                    let _ended = connection.await;
                });
            }
        }
    }
}

async fn answer(player: Arc<Player>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let performance = decide(&player, request).await;
    sleep(Duration::from_millis(performance.delay_ms)).await;
    perform(performance)
}

async fn decide(player: &Player, request: Request<Incoming>) -> Performance {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/v1/models") => player.models(&path),
        (&Method::POST, "/v1/chat/completions") => chat(player, &path, request).await,
        (_, "/v1/models" | "/v1/chat/completions") => {
            player.refuse(&path, 405, "this path does not know this method")
        }
        _ => player.refuse(
            &path,
            404,
            "no such path: there are /v1/models, /v1/chat/completions",
        ),
    }
}

async fn chat(player: &Player, path: &str, request: Request<Incoming>) -> Performance {
    let session = request
        .headers()
        .get("x-session-id")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    else {
        return player.refuse(path, 413, "the body is too large, or broke off");
    };
    match serde_json::from_slice::<Value>(&body.to_bytes()) {
        Ok(body) => player.chat(path, &body, session),
        Err(error) => player.refuse(path, 400, &format!("the body is not JSON: {error}")),
    }
}

fn perform(performance: Performance) -> Result<Response<Body>, Closed> {
    match performance.action {
        Action::Drop => Err(Closed),
        Action::Json {
            status,
            headers,
            body,
        } => {
            let mut response = Response::builder()
                .status(status)
                .header(CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response
                .body(whole(body.to_string()))
                .expect("status and headers were checked"))
        }
        Action::Reply {
            reply,
            stream: false,
            breaks,
            ..
        } => Ok(completion(&reply, breaks)),
        Action::Reply {
            reply,
            stream: true,
            include_usage,
            breaks,
        } => {
            let pieces = pieces(&reply, include_usage, breaks);
            let pace = Duration::from_millis(performance.pace_ms);
            Ok(ok("text/event-stream", streamed(pieces, pace, breaks)))
        }
    }
}

fn completion(reply: &Reply, breaks: Break) -> Response<Body> {
    let text = reply.whole().to_string();
    let half = text.chars().take(text.chars().count() / 2).collect();
    let body = match breaks {
        Break::Never => whole(text),
        Break::Malformed | Break::Unfinished => whole(half),
        Break::Dropped => streamed(vec![half], Duration::ZERO, breaks),
    };
    ok("application/json", body)
}

/// The events of a stream, up to and including where it breaks off.
fn pieces(reply: &Reply, include_usage: bool, breaks: Break) -> Vec<String> {
    let event = |value: Value| format!("data: {value}\n\n");
    let mut events: Vec<String> = reply.pieces().into_iter().map(event).collect();
    if breaks == Break::Never {
        events.extend(reply.ending(include_usage).into_iter().map(event));
        events.push("data: [DONE]\n\n".to_owned());
        return events;
    }
    events.truncate(events.len().div_ceil(2));
    if breaks == Break::Malformed {
        events.push("data: {\"choices\":[{\"delta\":\n\n".to_owned());
    }
    if breaks != Break::Dropped {
        events.push("data: [DONE]\n\n".to_owned());
    }
    events
}

fn ok(content_type: &str, body: Body) -> Response<Body> {
    Response::builder()
        .header(CONTENT_TYPE, content_type)
        .header("cache-control", "no-cache")
        .body(body)
        .expect("the headers are constants")
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never: Infallible| match never {})
        .boxed()
}

fn streamed(pieces: Vec<String>, pace: Duration, breaks: Break) -> Body {
    let (sender, body) = Channel::new(PIECES_WAITING);
    tokio::spawn(send(sender, pieces, pace, breaks));
    body.boxed()
}

/// Sends until all is sent or nobody listens any more.
async fn send(
    mut sender: Sender<Bytes, Closed>,
    pieces: Vec<String>,
    pace: Duration,
    breaks: Break,
) {
    for (index, piece) in pieces.into_iter().enumerate() {
        if index > 0 && !pace.is_zero() {
            sleep(pace).await;
        }
        if sender.send_data(Bytes::from(piece)).await.is_err() {
            return;
        }
    }
    if breaks == Break::Dropped {
        sleep(FLUSH).await;
        sender.abort(Closed);
    }
}
