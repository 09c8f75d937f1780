//! The API: JSON-RPC 2.0 over HTTP and WebSocket, health, readiness and metrics. It reads what the node shows of itself
//! and the shared state, on threads of its own: one for all sockets, and two nice ones for what takes long. It cannot
//! slow consensus, which waits for none of them, and everything that it takes or holds has a bound.
//!
//! * [`super::callers`] has the rules: who may stay, what is held for it, how much it may ask for.
//! * [`super::table`] has the methods, [`super::methods`] answers each; for programs they are `docs/openrpc.json`.
//! * [`super::metrics`] has the table of metrics; for people it is `docs/metrics.md`.

use super::answered::{Api, METHOD_NOT_FOUND, error};
use super::answering::respond_to;
use super::callers::{CallerLimits, KEPT_PLACES, OF_EACH};
use super::connection::{Caller, Connection, Desk, Door, NoRoom, Turn};
use super::served::{JSON, Served, json_response, refuse, respond};
use super::{metrics, news, pages};
use crate::minting::view::NodeView;
use crate::setup::config::ApiConfig;
use crate::setup::genesis::GenesisFile;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A slot without news from consensus for so many slots is unhealthy.
const UNHEALTHY_SLOTS: u64 = 3;
/// Bytes of a message by WebSocket at most: these lie in memory before anyone can count them.
const SOCKET_MESSAGE_MAX: usize = 64 << 10;
/// Bytes that a WebSocket reads at once.
const SOCKET_BUFFER: usize = 4 << 10;
/// How far all sockets stand behind consensus, and before what takes long.
const NICENESS: i32 = 5;
const BUSY: &str = "too many questions and answers are under way; ask again in a moment";

const TEXT: &str = "text/plain; charset=utf-8";
/// What a person reads who opens the address in a browser.
const HERE: &str = "This is the API of a Dynemix node: it is for programs, and there is nothing to see here.

  POST /           JSON-RPC 2.0, one request or a batch; the method rpc.discover describes all of them
                   curl -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}' ADDRESS
  GET  /           with a WebSocket's upgrade: the same, and subscriptions
  GET  /health     whether the node is well; /ready: whether it has caught up
  GET  /metrics    numbers for Prometheus

The documents are in docs/ of the source: openrpc.json (methods), node.md (bounds and settings), protocol.md (bytes),
metrics.md. Of one's own accounts the wallet tells: dynemix wallet --help.
";

/// Starts the API; returns where it listens.
///
/// # Errors
/// When it cannot listen.
pub fn serve(address: SocketAddr, view: NodeView, genesis: &GenesisFile, config: &ApiConfig) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let limits = CallerLimits {
        connections: config.connections_max,
        of_address: config.connections_of_address_max,
        held_bytes: config.held_bytes_max as u64,
        submits_per_s: u64::from(config.submits_a_second),
        bytes_per_s: config.bytes_a_second as u64,
    };
    let api = Arc::new(Api::new(view, genesis, config.clone())?);
    std::thread::Builder::new().name("api".into()).spawn(move || {
        // Without it the thread is as any other.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let served = runtime.and_then(|runtime| {
            runtime.block_on(async {
                let desk = Desk::new(limits);
                let door = Door { listener: TcpListener::from_std(listener)?, desk: desk.clone() };
                let (announcer, news) = watch::channel(0);
                let served = Served { api: api.clone(), news };
                let router = Router::new()
                    .route("/", post(rpc).get(subscribe))
                    .route("/health", get(health))
                    .route("/ready", get(ready))
                    .route("/metrics", get(metrics_text))
                    .fallback(nowhere)
                    .method_not_allowed_fallback(nowhere)
                    .layer(from_fn_with_state(served.clone(), pages::mind))
                    .with_state(served);
                let service = router.into_make_service_with_connect_info::<Caller>();
                tokio::select! {
                    served = axum::serve(door, service) => served,
                    () = desk.mind() => Ok(()),
                    () = news::announce(&api, &desk, &announcer) => Ok(()),
                }
            })
        });
        if let Err(error) = served {
            tracing::error!(%error, "the API has ended");
        }
    })?;
    Ok(address)
}

/// Bytes that questions and answers under way may take together.
pub fn bytes_held(config: &ApiConfig) -> u64 {
    (config.connections_max + KEPT_PLACES) as u64 * OF_EACH + config.held_bytes_max as u64
}

/// Why a question was not read to its end.
enum Unread {
    TooLong,
    NoRoom,
    Broken,
}

/// Reads a question. What has come is counted twice: it lies in a buffer below as well.
async fn read(turn: &mut Turn, mut body: Body, bytes_max: usize) -> Result<Vec<u8>, Unread> {
    let mut out = Vec::new();
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let Some(frame) = frame else { return Ok(out) };
        let Ok(bytes) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if out.len() + bytes.len() > bytes_max {
            return Err(Unread::TooLong);
        }
        turn.hold(2 * bytes.len() as u64).await.map_err(|NoRoom| Unread::NoRoom)?;
        out.extend_from_slice(&bytes);
    }
}

async fn rpc(State(served): State<Served>, ConnectInfo(caller): ConnectInfo<Caller>, body: Body) -> Response {
    let mut turn = caller.0.turn().await;
    if caller.0.kept {
        let what = "all connections are taken; only /health, /ready and /metrics are answered now";
        return refuse(turn, StatusCode::SERVICE_UNAVAILABLE, what);
    }
    let bytes_max = served.api.config.body_bytes_max;
    let body = match read(&mut turn, body, bytes_max).await {
        Ok(body) => body,
        Err(Unread::NoRoom) => return refuse(turn, StatusCode::SERVICE_UNAVAILABLE, BUSY),
        Err(Unread::TooLong) => {
            let what = format!("a request has {bytes_max} bytes at most; send fewer at once");
            return refuse(turn, StatusCode::PAYLOAD_TOO_LARGE, &what);
        }
        Err(Unread::Broken) => return refuse(turn, StatusCode::BAD_REQUEST, "the request has broken off"),
    };
    let text = respond_to(&served.api, &mut turn, &body).await;
    drop(body);
    match text {
        Some(text) => {
            turn.keep(text.len() as u64);
            respond(turn, StatusCode::OK, JSON, text)
        }
        // Notifications only: nothing is said.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Why a node is not well, if it is not.
fn illness(view: &NodeView) -> Option<String> {
    if let Some(why) = view.status.halted() {
        return Some(why.clone());
    }
    // A block can be agreed on in a later slot than its own; of those before a start only their own are known.
    let last = view.status.look(|live| {
        let agreed = live.blocks.back().map_or(0, |block| block.attempt / 2);
        agreed.max(live.system.as_ref().map_or(0, |system| system.slot))
    });
    let behind = (view.clock.now_ms() / view.chain.parameters.slot_ms).saturating_sub(last);
    (behind > UNHEALTHY_SLOTS).then(|| format!("nothing became final for {behind} slots"))
}

async fn health(State(served): State<Served>, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    let turn = caller.0.turn().await;
    match illness(&served.api.view) {
        None => json_response(turn, StatusCode::OK, &json!({ "healthy": true })),
        Some(why) => json_response(turn, StatusCode::SERVICE_UNAVAILABLE, &json!({ "healthy": false, "why": why })),
    }
}

async fn ready(State(served): State<Served>, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    let turn = caller.0.turn().await;
    let view = &served.api.view;
    let (height, heard) = (view.status.look(|live| live.height), view.status.heard.load(Ordering::Relaxed));
    let accounts = view.accounts.height();
    let why = match illness(view) {
        Some(why) => Some(why),
        None if heard > height + 2 => Some(format!("catching up: height {height} of {heard}")),
        None if height > accounts + 2 => Some(format!("accounts are worked in up to height {accounts} of {height}")),
        None if !view.clock.is_trusted() => {
            Some(format!("the clock is not good enough to mint by, offset {} ms", view.clock.offset_ms()))
        }
        None => None,
    };
    match why {
        None => json_response(turn, StatusCode::OK, &json!({ "ready": true, "height": height })),
        Some(why) => {
            let what = json!({ "ready": false, "why": why, "height": height });
            json_response(turn, StatusCode::SERVICE_UNAVAILABLE, &what)
        }
    }
}

async fn metrics_text(State(served): State<Served>, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    let turn = caller.0.turn().await;
    respond(turn, StatusCode::OK, "text/plain; version=0.0.4", metrics::text(&served.api.view).into_bytes())
}

/// What is not served is a question too, which has its turn.
async fn nowhere(ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    let turn = caller.0.turn().await;
    json_response(
        turn,
        StatusCode::NOT_FOUND,
        &error(
            &Value::Null,
            METHOD_NOT_FOUND,
            "nothing is served at this address or by this HTTP method; GET / says what is",
        ),
    )
}

async fn subscribe(
    State(served): State<Served>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let connection: Arc<Connection> = caller.0;
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(_) if !headers.contains_key(header::UPGRADE) => {
            return respond(connection.turn().await, StatusCode::OK, TEXT, HERE.as_bytes().to_vec());
        }
        Err(why) => return refuse(connection.turn().await, StatusCode::BAD_REQUEST, &why.body_text()),
    };
    if connection.kept {
        return refuse(connection.turn().await, StatusCode::SERVICE_UNAVAILABLE, BUSY);
    }
    let bytes = served.api.config.body_bytes_max.min(SOCKET_MESSAGE_MAX);
    upgrade
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(0)
        .max_message_size(bytes)
        .max_frame_size(bytes)
        .on_upgrade(move |socket| news::follow(served.api, connection, socket, served.news))
}
