//! What each address of the API works with, and how it answers by HTTP.

use super::answered::{Api, LIMIT, error};
use super::connection::Turn;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) const JSON: &str = "application/json";

/// What handlers are given.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) api: Arc<Api>,
    pub(super) news: watch::Receiver<u64>,
}

pub(super) fn respond(turn: Turn, status: StatusCode, kind: &'static str, text: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, kind)], Body::from(turn.answer(text))).into_response()
}

pub(super) fn json_response(turn: Turn, status: StatusCode, value: &Value) -> Response {
    respond(turn, status, JSON, value.to_string().into_bytes())
}

/// Says no, and that the connection is at its end.
pub(super) fn refuse(turn: Turn, status: StatusCode, what: &str) -> Response {
    let mut response = json_response(turn, status, &error(&Value::Null, LIMIT, what));
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}
