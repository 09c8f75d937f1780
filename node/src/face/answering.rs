//! One question of a connection and its answer: paid for, counted, and in its turn.

use super::answered::{Answered, Api, LIMIT, error};
use super::batch::{Answers, Bounds, answer};
use super::callers::Stage;
use super::connection::Turn;
use super::methods::call;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Whoever has had so much that it would wait longer than this is told so instead.
const OWED_MAX: Duration = Duration::from_secs(5);
/// What a request costs beside its answer, in bytes.
const REQUEST_COST: u64 = 256;

/// Answers the requests of one turn, and counts what is held for it.
struct Answering<'a> {
    api: &'a Arc<Api>,
    turn: &'a mut Turn,
}

impl Answers for Answering<'_> {
    async fn call(&mut self, method: &'static str, params: Value) -> Answered {
        // Between two requests of a batch others have their turn.
        tokio::task::yield_now().await;
        let connection = self.turn.connection.clone();
        connection.charge(REQUEST_COST);
        call(self.api, &connection, method, params).await
    }

    async fn hold(&mut self, bytes: usize) -> bool {
        self.turn.hold(bytes as u64).await.is_ok()
    }
}

/// The answer to a question that has come, after what is owed for the ones before; none to notifications.
pub(super) async fn respond_to(api: &Arc<Api>, turn: &mut Turn, body: &[u8]) -> Option<Vec<u8>> {
    let owed = turn.connection.owed();
    if owed > OWED_MAX {
        let (rate, seconds) = (api.config.bytes_a_second, owed.as_secs() + 1);
        let what = format!("you have been given more than {rate} bytes a second; ask again in {seconds} s");
        return Some(error(&Value::Null, LIMIT, &what).to_string().into_bytes());
    }
    if !owed.is_zero() {
        // Whoever owes something is nobody to wait for: its place may be taken.
        turn.connection.enter(Stage::Idle);
        tokio::time::sleep(owed).await;
    }
    turn.connection.enter(Stage::Working);
    let bounds = Bounds { requests: api.config.batch_max, bytes: api.config.answer_bytes_max };
    answer(body, bounds, &mut Answering { api, turn }).await
}
