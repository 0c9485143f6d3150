//! `claviger watch`: events as they come, one line each, across restarts of servers.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    thread,
};

use clap::Args;
use claviger_client::{Builder, Credential, Ending, Event, Mode, State, Trust};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};

use super::{credential, failure::Failure, target::Target};
use crate::hardening;

/// Lines that wait for standard output; what waits behind them is asked for again by the client.
const LINES_WAITING_MAX: usize = 64;

/// Prints events as they come.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Only what concerns this key, or is this event; everything unless given. May be repeated.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// First what has happened since this epoch.
    #[arg(long, value_name = "EPOCH")]
    since: Option<u64>,
    /// JSON, with the epoch to give as --since to go on after the line.
    #[arg(long)]
    json: bool,
    /// Address of another node, tried when the one before can't be reached. May be repeated.
    #[arg(long = "fallback-url", value_name = "URL")]
    fallbacks: Vec<String>,
    #[command(flatten)]
    target: Target,
}

impl Watch {
    /// Goes on until it is interrupted, nobody reads its output any more, or no server will have it.
    ///
    /// # Errors
    /// No server will have it, or standard output fails.
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let builder = self.builder()?;
        let signals = |kind| signal(kind).map_err(|error| Failure::stream(&error));
        let (mut interrupt, mut terminate) =
            (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
        let (client, mut events) =
            builder.start().map_err(|error| Failure::Local(format!("watch: {error}")))?;
        let (lines, written) = printer();
        let mut written = written;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                ended = &mut written => return end_of(ended.ok()),
                () = either(&mut interrupt, &mut terminate) => return Ok(ExitCode::SUCCESS),
            };
            let Some(event) = event else { break };
            let line = if self.json { json_line(&event, events.position()) } else { line(&event) };
            // A jammed reader must not keep a signal from being heard.
            tokio::select! {
                sent = lines.send(line) => if sent.is_err() { return end_of(written.await.ok()) },
                () = either(&mut interrupt, &mut terminate) => return Ok(ExitCode::SUCCESS),
            }
        }
        drop(lines);
        tokio::select! {
            ended = written => { end_of(ended.ok())?; }
            () = either(&mut interrupt, &mut terminate) => return Ok(ExitCode::SUCCESS),
        }
        match client.state() {
            State::GivenUp { why } => Err(given_up(&why)),
            State::Connecting { .. } | State::Open { .. } | State::Waiting { .. } | State::Closed => {
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn builder(&self) -> Result<Builder, Failure> {
        let mut addresses = Vec::new();
        for target in self.targets() {
            let address = target.address()?;
            address.may_be_told_a_secret()?;
            addresses.push(String::from(address.url));
        }
        hardening::harden();
        let token = credential::from_environment()?;
        let mut builder = Builder::new(addresses)
            .introduce("claviger-watch", Mode::Cli)
            .credential(Credential::Token(token))
            .scopes(["operator.read"])
            .since(self.since)
            .on_state(tell);
        builder = if self.topics.is_empty() { builder.topics(["*"]) } else { builder.topics(&self.topics) };
        if let Some(path) = &self.target.ca_file {
            let authorities = std::fs::read(path).map_err(|error| Failure::file("--ca-file", &error))?;
            builder = builder.trust(Trust::Only(authorities));
        }
        Ok(builder)
    }

    fn targets(&self) -> impl Iterator<Item = Target> {
        std::iter::once(self.target.clone()).chain(self.fallbacks.iter().map(|url| self.target.at(url)))
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Writes lines on a thread of its own, which the end of the process ends: a reader that takes nothing holds up nobody else.
fn printer() -> (mpsc::Sender<String>, oneshot::Receiver<io::Result<()>>) {
    let (lines, mut to_print) = mpsc::channel::<String>(LINES_WAITING_MAX);
    let (ended, written) = oneshot::channel();
    thread::spawn(move || {
        let mut output = io::stdout().lock();
        let mut result = Ok(());
        while let Some(line) = to_print.blocking_recv() {
            result = writeln!(output, "{line}").and_then(|()| output.flush());
            if result.is_err() {
                break;
            }
        }
        let _gone = ended.send(result);
    });
    (lines, written)
}

/// A reader that has had enough, such as `head`, is a good end.
fn end_of(ended: Option<io::Result<()>>) -> Result<ExitCode, Failure> {
    match ended {
        Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::stream(&error)),
        Some(_) | None => Ok(ExitCode::SUCCESS),
    }
}

fn given_up(why: &Ending) -> Failure {
    match why {
        Ending::Refused { code, message, .. } => Failure::answer(code, message.clone()),
        Ending::NotUpgraded { .. }
        | Ending::Closed { .. }
        | Ending::Protocol(_)
        | Ending::Mismatch
        | Ending::Device(_) => Failure::answer("unexpected_answer", why.to_string()),
        Ending::Unreachable(_) | Ending::Untrusted(_) | Ending::Silent | Ending::TimedOut => {
            Failure::answer("unreachable", why.to_string())
        }
    }
}

/// How the connection is, on standard error.
fn tell(state: &State) {
    let line = match state {
        State::Open { hello } => format!("connected to {}", hello.node),
        State::Waiting { delay, why } => {
            format!("{why}; trying again in {:.1} s", delay.as_secs_f64())
        }
        // The first is of no use, and the last is what the command ends with.
        State::Connecting { .. } | State::GivenUp { .. } | State::Closed => return,
    };
    let _closed = writeln!(io::stderr(), "claviger: {line}");
}

fn json_line(event: &Event, position: Option<u64>) -> String {
    let mut line = json!({ "event": event.name });
    if let Some(members) = line.as_object_mut() {
        members.extend(event.epoch.map(|epoch| ("epoch".to_owned(), epoch.into())));
        members.extend(position.map(|position| ("since".to_owned(), position.into())));
        members.insert("payload".to_owned(), event.payload.clone());
    }
    line.to_string()
}

/// Epoch, event, and the members of its payload: `4294967313 key.rotated name=shop-signing version=3`.
fn line(event: &Event) -> String {
    let epoch = event.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string());
    let mut line = format!("{epoch} {}", event.name);
    for (name, value) in event.payload.as_object().into_iter().flatten() {
        line.push_str(&format!(" {name}={}", shown(value)));
    }
    line.replace(char::is_control, " ")
}

/// Plain words as they are, everything else as JSON; lists and objects by their size.
fn shown(value: &Value) -> String {
    let is_plain = |text: &str| {
        !text.is_empty() && text.chars().all(|letter| !letter.is_whitespace() && !"\"=\\".contains(letter))
    };
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.len()),
        Value::Object(members) => format!("{{{}}}", members.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(epoch: Option<u64>, payload: Value) -> Event {
        Event { name: "key.rotated".to_owned(), epoch, payload }
    }

    #[test]
    fn every_event_is_one_line() {
        let rotated = event(
            Some(4_294_967_313),
            json!({"name": "shop-signing", "version": 3, "reason": "two words\n\u{1b}[2J", "kid": "a=b", "by": null}),
        );
        assert_eq!(
            line(&rotated),
            r#"4294967313 key.rotated name=shop-signing version=3 reason="two words\n\u001b[2J" kid="a=b" by=null"#
        );
        assert_eq!(
            json_line(&rotated, Some(4_294_967_312)),
            r#"{"event":"key.rotated","epoch":4294967313,"since":4294967312,"payload":{"name":"shop-signing","version":3,"reason":"two words\n\u001b[2J","kid":"a=b","by":null}}"#
        );
        let sync = event(None, json!({"keys": [1, 2], "jwks": {"keys": []}, "x": "\u{9b}"}));
        assert_eq!(line(&sync), "- key.rotated keys=[2] jwks={1} x= ");
        assert_eq!(line(&event(None, Value::Null)), "- key.rotated");
        assert!(!json_line(&sync, None).contains("epoch"));
    }

    #[test]
    fn how_it_ends_says_its_exit_code() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(end_of(Some(Err(broken))).is_ok() && end_of(Some(Ok(()))).is_ok() && end_of(None).is_ok());
        assert!(end_of(Some(Err(io::Error::other("full")))).is_err());
        let refused = Ending::Refused {
            code: "unauthorized".to_owned(),
            message: "unauthorized: the token is not valid".to_owned(),
            request_id: None,
            retryable: false,
            retry_after: None,
        };
        assert_eq!(given_up(&refused).to_string(), "unauthorized: unauthorized: the token is not valid");
        assert!(given_up(&Ending::Silent).to_string().starts_with("unreachable: "));
    }
}
