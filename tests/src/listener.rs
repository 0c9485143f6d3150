//! A reader of `GET /v1/events`.

use std::{
    io::{BufRead as _, BufReader},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use reqwest::blocking;
use serde_json::Value;

use crate::{Node, node::TOKEN};

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its name; empty where only an id came.
    pub event: String,
    /// The epoch in its id.
    pub id: Option<u64>,
    /// The id itself, which names the history too.
    pub mark: Option<String>,
    /// Its payload.
    pub data: Value,
}

/// A stream that is read on a thread of its own.
pub struct Listener {
    told: Receiver<Told>,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// An event.
    Told(Told),
    /// Nothing for so long.
    Silence,
    /// The stream has ended.
    End,
}

impl Listener {
    /// Asks a node; status and text when it refuses, `None` when it is not there.
    ///
    /// # Errors
    /// The node has refused.
    #[must_use]
    pub fn open(
        node: &Node,
        query: &str,
        token: &str,
        last: Option<u64>,
    ) -> Option<Result<Self, (u16, String)>> {
        Self::at(node.address(), query, token, last.map(|last| last.to_string()).as_deref())
    }

    /// The same by the node's address.
    ///
    /// # Errors
    /// The node has refused.
    #[must_use]
    pub fn at(
        address: &str,
        query: &str,
        token: &str,
        last: Option<&str>,
    ) -> Option<Result<Self, (u16, String)>> {
        let http = blocking::Client::builder()
            .tls_certs_only([])
            .timeout(None)
            .connect_timeout(Duration::from_secs(5));
        let mut request =
            http.build().unwrap().get(format!("http://{address}/v1/events{query}")).bearer_auth(token);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().ok()?;
        if response.status() != 200 {
            let status = response.status().as_u16();
            return Some(Err((status, response.text().unwrap_or_default())));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (sender, told) = mpsc::channel();
        thread::spawn(move || {
            let (mut event, mut mark, mut data) = (String::new(), None::<String>, String::new());
            for line in BufReader::new(response).lines() {
                let Ok(line) = line else { return };
                if let Some(text) = line.strip_prefix("event: ") {
                    text.clone_into(&mut event);
                } else if let Some(text) = line.strip_prefix("id: ") {
                    mark = Some(text.to_owned());
                } else if let Some(text) = line.strip_prefix("data: ") {
                    text.clone_into(&mut data);
                } else if line.is_empty() && (mark.is_some() || !data.is_empty()) {
                    let data = serde_json::from_str(&std::mem::take(&mut data)).unwrap_or(Value::Null);
                    let id = mark.as_deref().map(|mark| mark.split('.').next().unwrap().parse().unwrap());
                    let told = Told { event: std::mem::take(&mut event), id, mark: mark.take(), data };
                    if sender.send(told).is_err() {
                        return;
                    }
                }
            }
        });
        Some(Ok(Self { told }))
    }

    /// A stream of everything that the administrator may see, from now on; it must be there.
    #[must_use]
    pub fn of(node: &Node, query: &str) -> Self {
        Self::open(node, query, TOKEN, None).expect("the node is there").expect("it is let in")
    }

    /// What comes next; ids without an event too.
    #[must_use]
    pub fn next(&self, patience: Duration) -> Next {
        match self.told.recv_timeout(patience) {
            Ok(told) => Next::Told(told),
            Err(RecvTimeoutError::Timeout) => Next::Silence,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// The next event; there must be one.
    #[must_use]
    #[track_caller]
    pub fn event(&self) -> Told {
        loop {
            match self.next(crate::process::PATIENCE) {
                Next::Told(told) if told.event.is_empty() => {}
                Next::Told(told) => return told,
                other @ (Next::Silence | Next::End) => panic!("no event: {other:?}"),
            }
        }
    }

    /// The event that comes of something.
    #[must_use]
    #[track_caller]
    pub fn event_after(&self, work: impl FnOnce()) -> Told {
        work();
        self.event()
    }

    /// The stream ends within a while, whatever comes before.
    #[must_use]
    pub fn ends(&self, patience: Duration) -> bool {
        let began = std::time::Instant::now();
        loop {
            match self.next(patience.saturating_sub(began.elapsed())) {
                Next::End => return true,
                Next::Silence => return false,
                Next::Told(_) => {}
            }
        }
    }
}
