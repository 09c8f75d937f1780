//! A body of JSON-RPC 2.0, one request or a batch, and its answer. Requests are looked at one by one, so that a body
//! costs what is in its hands, not what it could be taken apart into; answers are written one behind the other, and
//! beyond their bound nothing is asked for any more.

use super::answered::{Answered, Fault, INVALID_REQUEST, LIMIT, METHOD_NOT_FOUND, PARSE_ERROR, error, fault};
use super::table::{METHODS, Method, named};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Bytes of a request's id at most: each is written into an answer.
const ID_BYTES_MAX: usize = 256;

/// Whoever answers the methods of a body, and says what there is room for.
pub trait Answers {
    /// A request has come, or what should have been one: each costs something, whatever becomes of it.
    fn count(&mut self);

    /// The answer of a method to its parameters, which have their names and types.
    fn call(&mut self, method: &'static str, params: Value) -> impl Future<Output = Answered> + Send;

    /// Holds exactly so many bytes for what is written of the answer; false where there is no room for them.
    fn settle(&mut self, bytes: usize) -> impl Future<Output = bool> + Send;
}

/// What one body may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests of a batch.
    pub requests: usize,
    /// Bytes of all its answers.
    pub bytes: usize,
}

/// The requests of a batch, as many as may be and one more.
struct Batch<'a>(Vec<&'a RawValue>);

/// Reads a batch, and stops behind one request too many.
struct BatchVisitor(usize);

impl<'a> Visitor<'a> for BatchVisitor {
    type Value = Batch<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch of requests")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut requests: A) -> Result<Batch<'a>, A::Error> {
        let mut batch = Vec::new();
        while let Some(request) = requests.next_element::<&'a RawValue>()? {
            batch.push(request);
            if batch.len() > self.0 {
                return Err(A::Error::custom(TOO_MANY));
            }
        }
        Ok(Batch(batch))
    }
}

const TOO_MANY: &str = "too many requests";

/// The answer to a request or a batch of them; none to notifications.
pub async fn answer(body: &[u8], bounds: Bounds, answers: &mut impl Answers) -> Option<Vec<u8>> {
    let text = |value: Value| Some(value.to_string().into_bytes());
    let mut out = Written { text: Vec::new(), bytes_max: bounds.bytes, over: false };
    answers.count();
    if !body.trim_ascii_start().starts_with(b"[") {
        let Ok(request) = serde_json::from_slice::<&RawValue>(body) else {
            return text(error(&Value::Null, PARSE_ERROR, "the body is no JSON"));
        };
        out.answer(request, answers).await;
        return (!out.text.is_empty()).then_some(out.text);
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let batch = reader.deserialize_seq(BatchVisitor(bounds.requests)).and_then(|batch| reader.end().map(|()| batch));
    match batch {
        Err(wrong) if wrong.to_string().starts_with(TOO_MANY) => {
            let what = format!("a batch has {} requests at most: send several", bounds.requests);
            text(error(&Value::Null, LIMIT, &what))
        }
        Err(_) => text(error(&Value::Null, PARSE_ERROR, "the body is no JSON")),
        Ok(Batch(requests)) if requests.is_empty() => text(error(&Value::Null, INVALID_REQUEST, "the batch is empty")),
        Ok(Batch(requests)) => {
            for request in requests {
                answers.count();
                let (before, begun) = (out.text.len(), out.text.is_empty());
                out.text.push(if begun { b'[' } else { b',' });
                if !out.answer(request, answers).await {
                    out.text.truncate(before);
                }
            }
            if out.text.is_empty() {
                return None;
            }
            out.text.push(b']');
            Some(out.text)
        }
    }
}

/// The same where each method is answered at once, as tests and fuzzers do: what stands between untrusted bytes and the
/// methods.
pub fn answer_by(body: &[u8], requests: usize, call: &(dyn Fn(&str, &Value) -> Answered + Sync)) -> Option<Value> {
    struct AtOnce<'a>(&'a (dyn Fn(&str, &Value) -> Answered + Sync));
    impl Answers for AtOnce<'_> {
        fn count(&mut self) {}
        fn call(&mut self, method: &'static str, params: Value) -> impl Future<Output = Answered> + Send {
            std::future::ready((self.0)(method, &params))
        }
        fn settle(&mut self, _: usize) -> impl Future<Output = bool> + Send {
            std::future::ready(true)
        }
    }
    let mut answers = AtOnce(call);
    let answered = pin!(answer(body, Bounds { requests, bytes: usize::MAX }, &mut answers));
    let Poll::Ready(text) = answered.poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("nothing here waits")
    };
    text.map(|text| serde_json::from_slice(&text).expect("an answer is JSON"))
}

/// What has been answered so far.
struct Written {
    text: Vec<u8>,
    bytes_max: usize,
    /// The bound is reached: nothing more is asked for.
    over: bool,
}

impl Written {
    /// Answers one request; false if nothing is to be said.
    async fn answer(&mut self, request: &RawValue, answers: &mut impl Answers) -> bool {
        let (id, method, params) = match asked(request) {
            Asked::Call(id, method, params) => (id, method, params),
            Asked::Wrong(answer) => return self.put(&answer, answers).await,
            Asked::Nothing => return false,
        };
        let answered = if self.over { Err(self.beyond()) } else { answers.call(method, params).await };
        let Some(id) = id else {
            // Nothing of it is written, so nothing of it is held.
            let _ = answers.settle(self.text.len()).await;
            return false;
        };
        let whole = match answered {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err(why) => fault(&id, &why),
        };
        self.put(&whole, answers).await
    }

    fn beyond(&self) -> Fault {
        let what = "ask for a shorter page, or for each by itself";
        (LIMIT, format!("the answers of one request or batch have {} bytes at most; {what}", self.bytes_max)).into()
    }

    async fn put(&mut self, answer: &Value, answers: &mut impl Answers) -> bool {
        let before = self.text.len();
        let id = &answer["id"];
        let written = serde_json::to_writer(&mut self.text, answer);
        assert!(written.is_ok(), "a value can be written into memory");
        let refusal = if self.text.len() > self.bytes_max {
            self.over = true;
            fault(id, &self.beyond())
        } else if !answers.settle(self.text.len()).await {
            self.over = true;
            error(id, LIMIT, "too many answers are under way; ask again in a moment, or for less")
        } else {
            return true;
        };
        // Small, and bounded by the number of requests.
        self.text.truncate(before);
        self.text.shrink_to(before + 1_024);
        self.text.extend_from_slice(refusal.to_string().as_bytes());
        // Where not even that finds room it is little, and the last of its kind.
        let _ = answers.settle(self.text.len()).await;
        true
    }
}

/// What a request asks.
pub(super) enum Asked {
    /// A method, with parameters of their forms; without an id nobody waits for its answer.
    Call(Option<Value>, &'static str, Value),
    /// Nothing that there is: this is its answer.
    Wrong(Value),
    /// Nothing, and nobody waits for an answer.
    Nothing,
}

const NO_REQUEST: &str = "this is no request of JSON-RPC 2.0: an object with \"jsonrpc\": \"2.0\", a method, and an id that \
                          is a string of at most 256 bytes, a number or null";

/// What a request asks, if it is one.
pub(super) fn asked(request: &RawValue) -> Asked {
    let invalid = || Asked::Wrong(error(&Value::Null, INVALID_REQUEST, NO_REQUEST));
    let Ok(mut request) = serde_json::from_str::<Value>(request.get()) else { return invalid() };
    let id = request.get_mut("id").map(Value::take);
    let right = match &id {
        Some(Value::String(id)) => id.len() <= ID_BYTES_MAX,
        Some(id) => id.is_number() || id.is_null(),
        None => true,
    };
    if !right {
        return invalid();
    }
    let shown = id.clone().unwrap_or(Value::Null);
    let (Some(name), "2.0") = (request["method"].as_str(), request["jsonrpc"].as_str().unwrap_or("")) else {
        return Asked::Wrong(error(&shown, INVALID_REQUEST, NO_REQUEST));
    };
    let Some(&Method { name: method, parameters, .. }) = METHODS.iter().find(|known| known.name == name) else {
        if id.is_none() {
            return Asked::Nothing;
        }
        let name: String = name.chars().take(ID_BYTES_MAX).collect();
        let what = format!("there is no method '{name}'; rpc.discover lists them");
        return Asked::Wrong(error(&shown, METHOD_NOT_FOUND, &what));
    };
    match named(parameters, request.get("params")) {
        Ok(params) => Asked::Call(id, method, params),
        Err(_) if id.is_none() => Asked::Nothing,
        Err((code, message)) => Asked::Wrong(error(&shown, code, &message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    /// Answers `status` with a text of so many bytes, and counts.
    struct Bytes {
        each: usize,
        called: usize,
        counted: usize,
        room: usize,
    }

    impl Answers for Bytes {
        fn count(&mut self) {
            self.counted += 1;
        }
        fn call(&mut self, _: &'static str, _: Value) -> impl Future<Output = Answered> + Send {
            self.called += 1;
            ready(Ok(Value::String("x".repeat(self.each))))
        }
        fn settle(&mut self, bytes: usize) -> impl Future<Output = bool> + Send {
            ready(bytes <= self.room)
        }
    }

    fn ask(body: &str, bounds: Bounds, answers: &mut Bytes) -> Option<Value> {
        let answered = pin!(answer(body.as_bytes(), bounds, answers));
        let Poll::Ready(text) = answered.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
        assert!(text.as_ref().is_none_or(|text| text.len() < bounds.bytes + 100 * 512));
        text.map(|text| serde_json::from_slice(&text).unwrap())
    }

    fn batch(count: usize) -> String {
        let one = |id| json!({ "jsonrpc": "2.0", "id": id, "method": "status" });
        Value::Array((0..count).map(one).collect()).to_string()
    }

    #[test]
    fn answers_of_a_batch_are_bounded_together_and_beyond_it_nothing_is_asked_for() {
        let mut answers = Bytes { each: 300, called: 0, counted: 0, room: usize::MAX };
        let bounds = Bounds { requests: 100, bytes: 1_000 };
        let answered = ask(&batch(100), bounds, &mut answers).unwrap();
        let answered = answered.as_array().unwrap();
        assert_eq!((answered.len(), answers.called), (100, 3), "the third did not fit, and no fourth was looked for");
        let errors = answered.iter().filter(|answer| answer["error"]["code"] == LIMIT);
        assert_eq!(errors.count(), 98);
        let what = answered[99]["error"]["message"].as_str().unwrap();
        assert!(what.contains("1000 bytes") && what.contains("shorter page"), "{what}");
        assert!(answered.iter().enumerate().all(|(id, answer)| answer["id"] == id), "each has its id");
    }

    #[test]
    fn an_answer_for_which_there_is_no_room_is_refused_with_what_to_do() {
        let mut answers = Bytes { each: 300, called: 0, counted: 0, room: 500 };
        let answered = ask(&batch(3), Bounds { requests: 100, bytes: 10_000 }, &mut answers).unwrap();
        assert!(answered[0]["result"].is_string() && answers.called == 2);
        assert!(answered[1]["error"]["message"].as_str().unwrap().contains("under way"), "{answered}");
    }

    #[test]
    fn bodies_are_answered_by_the_rules_of_json_rpc() {
        let mut answers = Bytes { each: 1, called: 0, counted: 0, room: usize::MAX };
        let bounds = Bounds { requests: 3, bytes: 10_000 };
        let mut code = |body: &str| ask(body, bounds, &mut answers).map(|answer| answer["error"]["code"].clone());
        assert_eq!(code("nothing"), Some(PARSE_ERROR.into()));
        assert_eq!(code("[1,"), Some(PARSE_ERROR.into()));
        assert_eq!(code("[1] 2"), Some(PARSE_ERROR.into()));
        assert_eq!(code("[]"), Some(INVALID_REQUEST.into()));
        assert_eq!(code("5"), Some(INVALID_REQUEST.into()));
        assert_eq!(code(&batch(4)), Some(LIMIT.into()));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"no"}"#), Some(METHOD_NOT_FOUND.into()));
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"status"}"#), None, "a notification");
        assert_eq!(code(r#"[{"jsonrpc":"2.0","method":"status"}]"#), None);
        // An id is written into the answer: it is a number or a short text.
        let id = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"status"}}"#);
        for wrong in ["[1,2]", "{}", "true"] {
            assert_eq!(code(&id(wrong)), Some(INVALID_REQUEST.into()), "an id of {wrong}");
        }
        assert_eq!(code(&id(&format!("\"{}\"", "x".repeat(300)))), Some(INVALID_REQUEST.into()));
        assert_eq!(code(&id("\"seven\"")), Some(Value::Null));
        let before = answers.counted;
        assert!(ask("[7,7,7]", bounds, &mut answers).is_some() && ask("7", bounds, &mut answers).is_some());
        assert_eq!(answers.counted, before + 5, "each body, and each of a batch, though it asks nothing");
        // Among notifications and junk each request has its answer.
        let mixed = r#"[{"jsonrpc":"2.0","method":"status"},7,{"jsonrpc":"2.0","id":9,"method":"status"}]"#;
        let answered = ask(mixed, bounds, &mut answers).unwrap();
        assert!(answered.as_array().unwrap().len() == 2 && answered[1]["id"] == 9, "{answered}");
    }
}
