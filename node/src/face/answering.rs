//! One question of a connection and its answer: paid for, counted, and in its turn.

use super::answered::{Answered, Api, LIMIT, error};
use super::batch::{Answers, Bounds, answer};
use super::callers::Stage;
use super::connection::{NoRoom, OWED_MAX, Turn};
use super::methods::{bytes_max, call, slow};
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BUSY: &str = "too many answers are under way; ask again in a moment, or for less";

/// How long the requests of one body are looked at; what is begun is brought to its end. A hundred that take long are
/// else one place that is taken for minutes.
const BODY_TIME: Duration = Duration::from_secs(10);
const LATE: &str = "the requests before it took 10 s; ask for it again, by itself or with fewer";

/// Bytes that are written.
#[derive(Default)]
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of an answer as it is written, or a few more.
fn bytes_of(answered: &Answered) -> u64 {
    const ERROR_BYTES: u64 = 256;
    let mut counted = Counted::default();
    match answered {
        Ok(value) => serde_json::to_writer(&mut counted, value).expect("values are written, and nothing refuses them"),
        Err(why) => counted.0 = ERROR_BYTES + why.message.len() as u64,
    }
    counted.0
}

/// Answers the requests of one turn, and counts what is held for it.
struct Answering<'a> {
    api: &'a Arc<Api>,
    turn: &'a mut Turn,
    /// Bytes that were held before: those of the question.
    before: u64,
    begun: Instant,
}

impl Answers for Answering<'_> {
    fn count(&mut self) {
        self.turn.connection.charge_request();
    }

    async fn call(&mut self, method: &'static str, params: Value) -> Answered {
        // Between two requests of a batch others have their turn.
        tokio::task::yield_now().await;
        if self.begun.elapsed() > BODY_TIME {
            return Err((LIMIT, LATE.to_owned()).into());
        }
        let connection = self.turn.connection.clone();
        // As it is made, and as it is written.
        let room = 2 * bytes_max(self.api, method, &params) as u64;
        let busy = || (LIMIT, BUSY.to_owned());
        let Some(errand) = slow(method) else {
            self.turn.hold(room).await.map_err(|NoRoom| busy())?;
            return call(self.api, &connection, method, &params);
        };
        // While it waits for its thread nothing is there to be held.
        let holder = connection.holder;
        connection.enter(Stage::Queued);
        let work = move |api: &Arc<Api>| {
            connection.enter(Stage::Working);
            connection.hold_here(room).ok()?;
            let answered = call(api, &connection, method, &params);
            // What it has not come to is there for others at once, however long the answer waits to be written.
            let kept = room.min(2 * bytes_of(&answered));
            connection.let_go(room - kept);
            Some((answered, kept))
        };
        let answered = self.api.have(holder, errand, work).await;
        // Also where there was no place in the row.
        self.turn.connection.enter(Stage::Working);
        let (answered, kept) = answered.ok().flatten().ok_or_else(busy)?;
        self.turn.took(kept);
        answered
    }

    async fn settle(&mut self, bytes: usize) -> bool {
        let wanted = self.before + bytes as u64;
        self.turn.keep(wanted);
        let missing = wanted - self.turn.held();
        missing == 0 || self.turn.hold(missing).await.is_ok()
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
    let before = turn.held();
    answer(body, bounds, &mut Answering { api, turn, before, begun: Instant::now() }).await
}
