//! Calls: which of them wait for an answer, and what is said when there is none.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use crate::frame::{self, ServerError};

/// Most calls that wait at a time. The server takes 32 of a connection; two are for what the client itself asks.
const IN_FLIGHT_MAX: usize = 30;

/// A call that has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CallError {
    /// Stable code: of the server's table, or one of `not_connected`, `connection_lost`, `timed_out`, `payload_too_large`, of this side.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What else the server says.
    pub details: Option<Box<Value>>,
    /// The same call may succeed another time.
    pub retryable: bool,
    /// When.
    pub retry_after: Option<Duration>,
    /// It is unknown whether what was asked for has happened.
    pub is_outcome_unknown: bool,
}

impl CallError {
    fn here(code: &str, message: &str, retryable: bool) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
            details: None,
            retryable,
            retry_after: None,
            is_outcome_unknown: false,
        }
    }

    fn not_connected() -> Self {
        Self::here("not_connected", "there is no session with a server at the moment", true)
    }

    fn connection_lost() -> Self {
        let message = "the connection broke before the answer came; it is unknown whether it has happened";
        Self { is_outcome_unknown: true, ..Self::here("connection_lost", message, true) }
    }

    fn timed_out(was_sent: bool) -> Self {
        if was_sent {
            let message = "there was no answer in time; it is unknown whether it has happened";
            return Self { is_outcome_unknown: true, ..Self::here("timed_out", message, true) };
        }
        Self::here("timed_out", "too many calls wait for an answer, and none came in time", true)
    }
}

impl From<ServerError> for CallError {
    fn from(error: ServerError) -> Self {
        let ServerError { code, message, details, retryable, retry_after } = error;
        let details = details.map(Box::new);
        Self { code, message, details, retryable, retry_after, is_outcome_unknown: false }
    }
}

/// What calls go through while there is a session.
pub(crate) struct Link {
    pub(crate) outgoing: mpsc::Sender<Message>,
    pub(crate) payload_max_bytes: usize,
}

struct Waiting {
    answer: oneshot::Sender<Result<Value, CallError>>,
    /// Held until the server has answered, also when nobody waits any more: it counts what is in work there.
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Table {
    link: Option<Link>,
    last: u64,
    waiting: HashMap<String, Waiting>,
}

/// All calls of a client.
pub(crate) struct Calls {
    permits: Arc<Semaphore>,
    table: Mutex<Table>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(IN_FLIGHT_MAX)), table: Mutex::default() }
    }
}

impl Calls {
    pub(crate) async fn call(
        &self,
        method: &str,
        params: Value,
        longest: Duration,
    ) -> Result<Value, CallError> {
        let mut was_sent = false;
        let exchange = async {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            let permit = permit.map_err(|_| CallError::not_connected())?;
            let answer = self.send(method, params, permit)?;
            was_sent = true;
            answer.await.unwrap_or_else(|_| Err(CallError::connection_lost()))
        };
        let exchanged = tokio::time::timeout(longest, exchange).await;
        exchanged.unwrap_or_else(|_| Err(CallError::timed_out(was_sent)))
    }

    fn send(
        &self,
        method: &str,
        params: Value,
        permit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Value, CallError>>, CallError> {
        let mut table = self.table();
        table.last += 1;
        let id = format!("c{}", table.last);
        let link = table.link.as_ref().ok_or_else(CallError::not_connected)?;
        let frame = frame::request(&id, method, params);
        if frame.len() > link.payload_max_bytes {
            let limit = link.payload_max_bytes;
            let message = format!("the server takes frames of at most {limit} bytes; send less at a time");
            return Err(CallError::here("payload_too_large", &message, false));
        }
        // There is room for as many as there are permits.
        link.outgoing.try_send(Message::text(frame)).map_err(|_| CallError::not_connected())?;
        let (answer, answered) = oneshot::channel();
        table.waiting.insert(id, Waiting { answer, _permit: permit });
        Ok(answered)
    }

    /// There is a session.
    pub(crate) fn connect(&self, link: Link) {
        self.table().link = Some(link);
    }

    /// There is none any more: whatever was asked, nobody will answer.
    pub(crate) fn disconnect(&self) {
        let waiting = {
            let mut table = self.table();
            table.link = None;
            std::mem::take(&mut table.waiting)
        };
        for call in waiting.into_values() {
            let _gone = call.answer.send(Err(CallError::connection_lost()));
        }
    }

    /// An answer has come. `false` = nobody has asked.
    pub(crate) fn answered(&self, id: &str, answer: Result<Value, ServerError>) -> bool {
        let call = self.table().waiting.remove(id);
        call.map(|call| drop(call.answer.send(answer.map_err(CallError::from)))).is_some()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(10);

    fn linked(calls: &Calls) -> mpsc::Receiver<Message> {
        let (outgoing, sent) = mpsc::channel(64);
        calls.connect(Link { outgoing, payload_max_bytes: 100 });
        sent
    }

    fn id(message: &Message) -> String {
        let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        frame["id"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn answers_find_their_calls_in_any_order() {
        let calls = Calls::default();
        let mut sent = linked(&calls);
        let serve = async {
            let mut ids = vec![id(&sent.recv().await.unwrap()), id(&sent.recv().await.unwrap())];
            ids.reverse();
            for id in ids {
                assert!(calls.answered(&id, Ok(json!(id.clone()))));
                assert!(!calls.answered(&id, Ok(Value::Null)), "twice");
            }
        };
        let first = calls.call("a", json!({}), LONG);
        let second = calls.call("b", json!({}), LONG);
        let (first, second, ()) = tokio::join!(first, second, serve);
        assert_eq!((first, second), (Ok(json!("c1")), Ok(json!("c2"))));
    }

    #[tokio::test]
    async fn a_broken_connection_leaves_the_outcome_open_and_no_connection_does_not() {
        let calls = Calls::default();
        let error = calls.call("a", json!({}), LONG).await.unwrap_err();
        assert!(error.code == "not_connected" && error.retryable && !error.is_outcome_unknown);
        let mut sent = linked(&calls);
        let breaks = async {
            let _frame = sent.recv().await;
            calls.disconnect();
        };
        let (error, ()) = tokio::join!(calls.call("a", json!({}), LONG), breaks);
        let error = error.unwrap_err();
        assert!(error.code == "connection_lost" && error.is_outcome_unknown && error.retryable);
        let mut sent = linked(&calls);
        let error = calls.call("a", json!({"x": "y".repeat(100)}), LONG).await.unwrap_err();
        assert!(error.code == "payload_too_large" && !error.retryable && sent.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_any_more_keeps_its_place_until_it_is_answered() {
        let calls = Calls::default();
        let mut sent = linked(&calls);
        for _ in 0..IN_FLIGHT_MAX {
            let error = calls.call("a", Value::Null, SHORT).await.unwrap_err();
            assert!(error.code == "timed_out" && error.is_outcome_unknown);
        }
        let error = calls.call("a", Value::Null, SHORT).await.unwrap_err();
        assert!(error.code == "timed_out" && !error.is_outcome_unknown, "it was never sent");
        assert!(calls.answered(&id(&sent.recv().await.unwrap()), Ok(Value::Null)));
        let error = calls.call("a", Value::Null, SHORT).await.unwrap_err();
        assert!(error.is_outcome_unknown, "it was sent");
        calls.disconnect();
        assert_eq!(calls.permits.available_permits(), IN_FLIGHT_MAX);
    }
}
