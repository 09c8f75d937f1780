//! Requests and subscriptions over a WebSocket. All of them look at one picture of the node, and only when there is
//! another one.

use super::answered::{Answered, Api, Fault, INVALID_PARAMS, LIMIT, NOT_FOUND, error, fault};
use super::answering::respond_to;
use super::answers::News;
use super::batch::{Asked, asked};
use super::callers::Stage;
use super::connection::{Connection, Desk};
use super::methods::transaction_answer;
use crate::minting::status::Live;
use crate::minting::tracked::TransactionShown;
use crate::setup::digits::digits;
use axum::extract::ws::{Message, WebSocket};
use dynemix_engine::base::hash::Hash;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it is looked for news.
const NEWS_EVERY: Duration = Duration::from_millis(100);
/// How long one message to a subscriber may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a subscriber is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// After so long without a word it is not.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What a message costs that asks nothing, in bytes: a ping is answered by a call of the system.
const EMPTY_COST: u64 = 4 << 10;
/// What a subscription costs, in bytes, that is looked at for news, whether there are any of it or not.
const LOOK_COST: u64 = 64;
/// Counts up whenever there is something new, for as long as anyone serves; whoever has handed in a broken signature pays.
pub(super) async fn announce(api: &Api, desk: &Desk, news: &watch::Sender<u64>) {
    let mut ticks = tokio::time::interval(NEWS_EVERY);
    let mut known: (Option<Arc<Live>>, u64) = (None, 0);
    loop {
        ticks.tick().await;
        let (live, (version, broken)) =
            (api.view.status.shown(), api.view.status.track(|tracked| (tracked.version(), tracked.take_broken())));
        desk.ask(|callers, now_ms| broken.into_iter().for_each(|id| callers.charge_broken(now_ms, id)));
        let same = known.0.as_ref().is_some_and(|before| Arc::ptr_eq(before, &live)) && known.1 == version;
        if !same {
            known = (Some(live), version);
            news.send_modify(|number| *number += 1);
        }
    }
}

/// A subscription to blocks: its number, and the newest height that was told.
struct ToBlocks(u64, u64);

/// What is known of a transaction; none: none of its id was handed in.
type Known = Option<TransactionShown>;

/// A subscription to a transaction: its number, the transaction's id, and what was told of it last; none: nothing yet.
struct ToTransaction(u64, Hash, Option<Known>);

/// What one connection has subscribed to. `subscribe` with the topic `blocks` or `transaction` is answered by a number;
/// news come as notifications `news` with that number. Nothing is subscribed to twice.
#[derive(Default)]
struct Subscriptions {
    /// Those that there were, the ended ones as well: a number is given once.
    numbers: u64,
    blocks: Option<ToBlocks>,
    transactions: Vec<ToTransaction>,
    /// Transactions that were looked at since there was something new: each is, once, however much there is to tell.
    looked: usize,
}

impl Subscriptions {
    fn count(&self) -> usize {
        usize::from(self.blocks.is_some()) + self.transactions.len()
    }

    /// The number of a new one, no more than `most`.
    fn subscribe(&mut self, most: usize, height: u64, params: &Value) -> Result<u64, Fault> {
        let invalid = |what: &str| Err((INVALID_PARAMS, what.to_owned()).into());
        let (there, number) = (self.count(), self.numbers + 1);
        if there >= most {
            return Err(
                (LIMIT, format!("a connection has {most} subscriptions at most: end one by 'unsubscribe'")).into()
            );
        }
        let transaction = params["id"].as_str().and_then(digits::<32>);
        match (params["topic"].as_str(), transaction) {
            (Some("blocks"), Some(_)) => return invalid("'id' is of the topic 'transaction' only"),
            (Some("blocks"), None) if self.blocks.is_some() => {
                return invalid("you have subscribed to 'blocks' already");
            }
            (Some("blocks"), None) => self.blocks = Some(ToBlocks(number, height)),
            (_, None) => return invalid("the topic 'transaction' needs an 'id'"),
            (_, Some(of)) if self.transactions.iter().any(|known| known.1 == of) => {
                return invalid("you have subscribed to this transaction already");
            }
            (_, Some(of)) => self.transactions.push(ToTransaction(number, of, None)),
        }
        self.numbers = number;
        assert_eq!(self.count(), there + 1, "one more is subscribed to");
        Ok(number)
    }

    /// Ends the subscription of this number.
    fn unsubscribe(&mut self, number: u64) -> Result<(), Fault> {
        let before = self.count();
        self.blocks = self.blocks.take().filter(|blocks| blocks.0 != number);
        self.transactions.retain(|transaction| transaction.0 != number);
        match self.count() < before {
            true => Ok(()),
            false => Err((NOT_FOUND, format!("there is no subscription {number} of this connection")).into()),
        }
    }

    /// There is something new: everything is looked at once more.
    fn begin(&mut self) {
        self.looked = 0;
    }

    /// One thing that has happened and was not told; each call another, so that none is made before it can be sent, and
    /// each goes on where the one before has stopped.
    fn next_news(&mut self, start_ms: u64, live: &Live, shown: &mut dyn FnMut(&Hash) -> Known) -> Option<News> {
        if let Some(ToBlocks(number, seen)) = &mut self.blocks {
            let next = live.blocks.partition_point(|block| block.height <= *seen);
            if let Some(block) = live.blocks.get(next) {
                assert!(block.height > *seen, "height {} is told after height {seen}", block.height);
                *seen = block.height;
                let (subscription, block) = (*number, Some((**block).clone()));
                return Some(News { subscription, block, transaction: None });
            }
        }
        assert!(self.looked <= self.transactions.len(), "a subscription is looked at once");
        while let Some(ToTransaction(number, id, seen)) = self.transactions.get_mut(self.looked) {
            self.looked += 1;
            let now = shown(id);
            if seen.as_ref() != Some(&now) {
                *seen = Some(now.clone());
                let transaction = Some(now.map(|now| transaction_answer(start_ms, id, now)));
                return Some(News { subscription: *number, block: None, transaction });
            }
        }
        None
    }
}

/// One WebSocket and what it has subscribed to.
struct Follower {
    api: Arc<Api>,
    connection: Arc<Connection>,
    socket: WebSocket,
    subscriptions: Subscriptions,
}

/// It has gone, or is too slow.
struct Gone;

impl Follower {
    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        // A reader that is too slow is let go.
        let sent = tokio::time::timeout(PATIENCE, self.socket.send(message)).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Gone) }
    }

    async fn tell_news(&mut self) -> Result<(), Gone> {
        let (api, live) = (self.api.clone(), self.api.view.status.shown());
        self.subscriptions.begin();
        self.connection.charge(LOOK_COST * self.subscriptions.count() as u64);
        let mut shown = |id: &Hash| api.view.status.track(|tracked| tracked.shown(id));
        let start_ms = api.view.chain.parameters.start_ms;
        while let Some(news) = self.subscriptions.next_news(start_ms, &live, &mut shown) {
            let text = json!({ "jsonrpc": "2.0", "method": "news", "params": news }).to_string();
            self.connection.charge(text.len() as u64);
            self.send(Message::Text(text.into())).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, text: &str) -> Result<(), Gone> {
        let mut turn = self.connection.turn().await;
        let asked = serde_json::from_str::<&RawValue>(text).map_or(Asked::Nothing, asked);
        let (answered, is_new) = match asked {
            Asked::Call(id, method @ ("subscribe" | "unsubscribe"), params) => {
                self.connection.charge_request();
                let answered = self.change(method, &params);
                let is_new = method == "subscribe" && answered.is_ok();
                let whole = |id: Value| match answered {
                    Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
                    Err(why) => fault(&id, &why),
                };
                (id.map(|id| whole(id).to_string().into_bytes()), is_new)
            }
            _ => (respond_to(&self.api, &mut turn, text.as_bytes()).await, false),
        };
        let Some(bytes) = answered else { return Ok(()) };
        let text = String::from_utf8(bytes).expect("an answer is JSON");
        // It is copied on its way out.
        if turn.hold(text.len() as u64).await.is_err() {
            let busy = error(&Value::Null, LIMIT, "too many answers are under way; ask again in a moment");
            return self.send(Message::Text(busy.to_string().into())).await;
        }
        self.connection.charge(text.len() as u64);
        self.connection.enter(Stage::Answering(text.len() as u64));
        self.send(Message::Text(text.into())).await?;
        // What was held for it is given back.
        drop(turn);
        // Who subscribes to a transaction hears at once how far it is, or that nobody has handed it in.
        if is_new { self.tell_news().await } else { Ok(()) }
    }

    fn change(&mut self, method: &str, params: &Value) -> Answered {
        if method == "unsubscribe" {
            self.subscriptions.unsubscribe(params["subscription"].as_u64().unwrap_or(0))?;
            return Ok(json!(true));
        }
        let (most, height) = (self.api.config.subscriptions_max, self.api.view.status.shown().height);
        Ok(json!(self.subscriptions.subscribe(most, height, params)?))
    }
}

/// Requests and subscriptions of one connection, until it goes.
pub(super) async fn follow(
    api: Arc<Api>,
    connection: Arc<Connection>,
    socket: WebSocket,
    mut news: watch::Receiver<u64>,
) {
    if !connection.subscribe() {
        return;
    }
    let mut follower = Follower { api, connection, socket, subscriptions: Subscriptions::default() };
    let mut pings = tokio::time::interval(PING_EVERY);
    let mut heard = Instant::now();
    loop {
        let done = tokio::select! {
            message = follower.socket.recv() => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => follower.answer(&text).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
                    Some(Ok(_)) => {
                        follower.connection.charge(EMPTY_COST);
                        Ok(())
                    }
                }
            }
            changed = news.changed() => match changed {
                Ok(()) => follower.tell_news().await,
                Err(_) => Err(Gone),
            },
            _ = pings.tick() => match heard.elapsed() > SILENCE_MAX {
                true => Err(Gone),
                false => follower.send(Message::Ping(Default::default())).await,
            },
        };
        if done.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8) -> Value {
        json!({ "topic": "transaction", "id": hex::encode([id; 32]) })
    }

    #[test]
    fn nothing_is_subscribed_to_twice_and_no_more_than_may_be() {
        let mut subscriptions = Subscriptions::default();
        let blocks = json!({ "topic": "blocks" });
        let code = |answered: Result<u64, Fault>| answered.map_err(|why| why.code);
        assert_eq!(code(subscriptions.subscribe(3, 7, &topic(1))), Ok(1));
        assert_eq!(code(subscriptions.subscribe(3, 7, &topic(1))), Err(INVALID_PARAMS), "again");
        assert_eq!(code(subscriptions.subscribe(3, 7, &blocks)), Ok(2));
        assert_eq!(code(subscriptions.subscribe(3, 7, &blocks)), Err(INVALID_PARAMS), "again");
        assert_eq!(code(subscriptions.subscribe(3, 7, &topic(2))), Ok(3));
        assert_eq!(code(subscriptions.subscribe(3, 7, &topic(3))), Err(LIMIT), "one too many");
        assert_eq!(code(subscriptions.subscribe(9, 7, &json!({ "topic": "transaction" }))), Err(INVALID_PARAMS));
        assert!(subscriptions.unsubscribe(2).is_ok() && subscriptions.unsubscribe(1).is_ok());
        assert_eq!(subscriptions.unsubscribe(2).map_err(|why| why.code), Err(NOT_FOUND));
        assert_eq!(code(subscriptions.subscribe(3, 7, &topic(1))), Ok(4), "a number is given once");
        assert_eq!(code(subscriptions.subscribe(3, 7, &blocks)), Ok(5));
    }

    #[test]
    fn each_subscription_is_looked_at_once_for_whatever_is_new() {
        let mut subscriptions = Subscriptions::default();
        (0..100).for_each(|id| assert!(subscriptions.subscribe(100, 0, &topic(id)).is_ok()));
        let (live, mut looks, mut state) = (Live::default(), 0, "waiting");
        for round in 1..=3 {
            subscriptions.begin();
            let mut told = Vec::new();
            let mut shown = |_: &Hash| {
                looks += 1;
                Some(TransactionShown { state: state.into(), ..TransactionShown::default() })
            };
            while let Some(news) = subscriptions.next_news(0, &live, &mut shown) {
                told.push(news.subscription);
            }
            // Where all have news, and where none has.
            assert_eq!(looks, 100 * round, "round {round}");
            assert_eq!(told.len(), if round == 2 { 0 } else { 100 });
            assert!(told.is_sorted());
            state = if round == 2 { "final" } else { state };
        }
    }
}
