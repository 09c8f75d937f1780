//! The API: JSON-RPC 2.0 over HTTP and WebSocket, health, readiness and metrics, on a thread of its own. It reads what
//! the node shows of itself and the shared state; it cannot slow consensus, and everything that it takes has a bound.
//!
//! * [`super::methods`] has the table of methods and answers each; its description for programs is `docs/openrpc.json`.
//! * [`super::metrics`] has the table of metrics; for people it is `docs/metrics.md`.

use super::answered::{Api, INVALID_PARAMS, error};
use super::methods::answer;
use super::metrics;
use crate::minting::view::NodeView;
use crate::setup::config::ApiConfig;
use crate::setup::genesis::GenesisFile;
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use hex::FromHex;
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often subscriptions look for news.
const NEWS_EVERY: Duration = Duration::from_millis(100);
/// A slot without news from consensus for so many slots is unhealthy.
const UNHEALTHY_SLOTS: u64 = 3;
/// How long one message to a subscriber may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Why there is no subscription.
const NO_SUBSCRIPTION: &str = "topic 'blocks', or 'transaction' with an id; and no more than the configured number";

/// Starts the API; returns where it listens.
///
/// # Errors
/// When it cannot listen.
pub fn serve(address: SocketAddr, view: NodeView, genesis: &GenesisFile, config: &ApiConfig) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let config = config.clone();
    let api = Arc::new(Api::new(view, genesis.text(), config.clone()));
    std::thread::Builder::new().name("api".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| {
            runtime.block_on(async {
                let listener = Bounded {
                    listener: TcpListener::from_std(listener)?,
                    places: Arc::new(Semaphore::new(config.connections_max)),
                };
                let router = Router::new()
                    .route("/", post(rpc).get(subscribe))
                    .route("/health", get(health))
                    .route("/ready", get(ready))
                    .route("/metrics", get(metrics_text))
                    .layer(DefaultBodyLimit::max(config.body_bytes_max))
                    .with_state(api);
                axum::serve(listener, router).await
            })
        });
        if let Err(error) = served {
            tracing::error!(%error, "the API has ended");
        }
    })?;
    Ok(address)
}

/// A listener that takes no more connections than there are places.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection and its place.
struct Placed {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Listener for Bounded {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        loop {
            let place = self.places.clone().acquire_owned().await.expect("never closed");
            match self.listener.accept().await {
                Ok((stream, address)) => return (Placed { stream, _place: place }, address),
                // Too many files, or a caller that has gone: tried again a moment later.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Placed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn rpc(State(api): State<Arc<Api>>, body: Bytes) -> Response {
    match answer(&api, &body) {
        Some(value) => json_response(StatusCode::OK, &value),
        // Notifications only: nothing is said.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Why a node is not well, if it is not.
fn illness(api: &Api) -> Option<String> {
    let shown = api.view.shown(1);
    let halted = api.view.status.look(|live| live.halted.clone());
    if halted.is_some() {
        return halted;
    }
    let last = shown.blocks.last().map_or(0, |block| block.attempt / 2);
    let behind = shown.slot.saturating_sub(last);
    (behind > UNHEALTHY_SLOTS).then(|| format!("nothing became final for {behind} slots"))
}

async fn health(State(api): State<Arc<Api>>) -> Response {
    match illness(&api) {
        None => json_response(StatusCode::OK, &json!({ "healthy": true })),
        Some(why) => json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "healthy": false, "why": why })),
    }
}

async fn ready(State(api): State<Arc<Api>>) -> Response {
    let shown = api.view.shown(1);
    let why = match illness(&api) {
        Some(why) => Some(why),
        None if shown.heard > shown.height + 2 => {
            Some(format!("catching up: height {} of {}", shown.height, shown.heard))
        }
        None if !shown.clock_trusted => {
            Some(format!("the clock is not good enough to mint by, offset {} ms", shown.clock_offset_ms))
        }
        None => None,
    };
    match why {
        None => json_response(StatusCode::OK, &json!({ "ready": true, "height": shown.height })),
        Some(why) => json_response(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "why": why, "height": shown.height }),
        ),
    }
}

async fn metrics_text(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&api.view)).into_response()
}

async fn subscribe(State(api): State<Arc<Api>>, upgrade: WebSocketUpgrade) -> Response {
    let bytes = api.config.body_bytes_max;
    upgrade.max_message_size(bytes).max_frame_size(bytes).on_upgrade(move |socket| follow(api, socket))
}

/// What one connection has subscribed to. `subscribe` with the topic `blocks` or `transaction` is answered by a number;
/// news come as notifications `news` with that number.
#[derive(Default)]
struct Subscriptions {
    /// Number of the subscription, and the newest height that was told.
    blocks: Vec<(u64, u64)>,
    /// Number of the subscription, the transaction's id, and what was told of it last.
    transactions: Vec<(u64, [u8; 32], Option<Value>)>,
}

impl Subscriptions {
    /// The number of a new one; none where it cannot be, or would be one too many.
    fn subscribe(&mut self, api: &Api, params: &Value) -> Option<u64> {
        let there = self.blocks.len() + self.transactions.len();
        if there >= api.config.subscriptions_max {
            return None;
        }
        let next = there as u64 + 1;
        let transaction = params["id"].as_str().and_then(|id| <[u8; 32]>::from_hex(id).ok());
        match (params["topic"].as_str(), transaction) {
            (Some("blocks"), _) => self.blocks.push((next, api.view.status.look(|live| live.height))),
            (Some("transaction"), Some(of)) => self.transactions.push((next, of, None)),
            _ => return None,
        }
        let count = self.blocks.len() + self.transactions.len();
        assert_eq!(count as u64, next, "each subscription has a number of its own");
        Some(next)
    }

    /// What has happened since the last call.
    fn news(&mut self, api: &Api) -> Vec<Value> {
        let notification = |params: Value| json!({ "jsonrpc": "2.0", "method": "news", "params": params });
        let mut out = Vec::new();
        for (number, seen) in &mut self.blocks {
            let new: Vec<_> =
                api.view.status.look(|live| live.blocks.iter().filter(|block| block.height > *seen).cloned().collect());
            for block in new {
                assert!(block.height > *seen, "height {} is told after height {seen}", block.height);
                *seen = block.height;
                out.push(notification(json!({ "subscription": number, "block": block })));
            }
        }
        for (number, id, seen) in &mut self.transactions {
            let now = api.view.status.look(|live| live.tracked.shown(id).map(|shown| json!(shown)));
            if now != *seen {
                out.push(notification(json!({ "subscription": number, "transaction": now })));
                *seen = now;
            }
        }
        out
    }
}

/// Requests and subscriptions of one connection.
async fn follow(api: Arc<Api>, mut socket: WebSocket) {
    let mut subscriptions = Subscriptions::default();
    let mut news = tokio::time::interval(NEWS_EVERY);
    loop {
        let out: Vec<Value> = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let request: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                    if request["method"] != "subscribe" {
                        answer(&api, text.as_bytes()).into_iter().collect()
                    } else {
                        let id = request["id"].clone();
                        let answered = match subscriptions.subscribe(&api, &request["params"]) {
                            Some(number) => json!({ "jsonrpc": "2.0", "id": id, "result": number }),
                            None => error(&id, INVALID_PARAMS, NO_SUBSCRIPTION),
                        };
                        vec![answered]
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => Vec::new(),
            },
            _ = news.tick() => subscriptions.news(&api),
        };
        for value in out {
            // A reader that is too slow is let go.
            let sent = tokio::time::timeout(PATIENCE, socket.send(Message::Text(value.to_string().into()))).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    }
}
