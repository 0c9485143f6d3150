//! The client: a task that keeps a session, and the handles of those who use it.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use crate::{
    calls::{CallError, Calls},
    connect::Credential,
    core::{Machine, Step},
    ending::Ending,
    feed::Feed,
    frame::{Event, Hello},
    mirror::Mirror,
    session,
    settings::{Builder, Settings},
};

/// Events that wait for the application. What comes when it is full is asked for again later, as far as the server's log has it.
const EVENTS_WAITING_MAX: usize = 256;

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// A server is being connected to.
    Connecting {
        /// Its address.
        address: String,
    },
    /// There is a session, and whatever happens from now on is told, where that is wanted.
    Open {
        /// What the server said.
        hello: Arc<Hello>,
    },
    /// There was none, or it broke; there will be another attempt.
    Waiting {
        /// When.
        delay: Duration,
        /// Why there is none.
        why: Ending,
    },
    /// There will be no other attempt.
    GivenUp {
        /// Why.
        why: Ending,
    },
    /// Nobody uses the client any more.
    Closed,
}

/// An event on its way to the application, and from where to go on once it has been handed out.
pub(crate) struct Waiting {
    pub(crate) event: Event,
    pub(crate) position: Option<u64>,
}

/// What the task and the handles share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) calls: Calls,
    pub(crate) mirror: Mirror,
    state: watch::Sender<State>,
}

impl Shared {
    pub(crate) fn report(&self, state: State) {
        if let Some(told) = &self.settings.told {
            told(&state);
        }
        self.state.send_replace(state);
    }
}

/// Ends the task when the last handle is gone.
struct Guard {
    _stop: watch::Sender<()>,
}

/// Calls methods. Cheap to clone; the session ends when the last clone and the events are dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _guard: Arc<Guard>,
}

/// The events of a client, in order, each once.
pub struct Events {
    receiver: mpsc::Receiver<Waiting>,
    position: Option<u64>,
    _guard: Arc<Guard>,
}

impl Client {
    /// Settings for a deployment; see [`Builder::new`].
    #[must_use]
    pub fn builder<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Builder {
        Builder::new(addresses)
    }

    pub(crate) fn start(settings: Settings) -> (Self, Events) {
        let (stop, stopped) = watch::channel(());
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        let address = settings.addresses.first().map(|address| address.shown.clone()).unwrap_or_default();
        let (state, _) = watch::channel(State::Connecting { address });
        let position = settings.since;
        let shared = Arc::new(Shared { settings, calls: Calls::default(), mirror: Mirror::default(), state });
        tokio::spawn(keep(Arc::clone(&shared), sender, stopped));
        let guard = Arc::new(Guard { _stop: stop });
        let events = Events { receiver, position, _guard: Arc::clone(&guard) };
        (Self { shared, _guard: guard }, events)
    }

    /// Calls a method: `params` and the answer are those of the REST twin, with the parameters of its path by name.
    ///
    /// # Errors
    /// What the server says; or there is no session, the connection broke, or there was no answer in time. See [`CallError`].
    pub async fn call(&self, method: &str, params: Value) -> Result<Value, CallError> {
        self.shared.calls.call(method, params, self.shared.settings.call_timeout).await
    }

    /// How the connection is now.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    /// Waits for a session.
    ///
    /// # Errors
    /// Why there will be none.
    pub async fn opened(&self) -> Result<Arc<Hello>, Ending> {
        let mut state = self.shared.state.subscribe();
        let reached = state
            .wait_for(|state| match state {
                State::Open { .. } | State::GivenUp { .. } | State::Closed => true,
                State::Connecting { .. } | State::Waiting { .. } => false,
            })
            .await;
        match reached.as_deref() {
            Ok(State::Open { hello }) => Ok(Arc::clone(hello)),
            Ok(State::GivenUp { why }) => Err(why.clone()),
            Ok(State::Connecting { .. } | State::Waiting { .. } | State::Closed) | Err(_) => {
                Err(Ending::closed(1_000, "the client has ended"))
            }
        }
    }

    /// The mirror of the ring, which is kept for role `node`.
    #[must_use]
    pub fn mirror(&self) -> Mirror {
        self.shared.mirror.clone()
    }

    /// The device of this client, as operators see it.
    #[must_use]
    pub fn device_id(&self) -> Option<&str> {
        self.shared.settings.device.as_ref().map(|device| device.identity.id())
    }
}

impl Events {
    /// The next event. Whoever stops waiting for it loses nothing. `None` = there will be no other: the client has given up, or has ended.
    pub async fn next(&mut self) -> Option<Event> {
        let Waiting { event, position } = self.receiver.recv().await?;
        self.position = position;
        Some(event)
    }

    /// Whoever has dealt with everything that was handed out so far goes on from here, as [`Builder::since`]: the last epoch of which nothing
    /// is missing. A change may be several events, so this may lie before the last one, whose events then come again.
    #[must_use]
    pub const fn position(&self) -> Option<u64> {
        self.position
    }
}

/// Keeps a session until nobody uses the client any more, or there is no sense in it.
async fn keep(shared: Arc<Shared>, events: mpsc::Sender<Waiting>, mut stopped: watch::Receiver<()>) {
    let settings = &shared.settings;
    let mut machine = Machine::new(settings.backoff, settings.addresses.len());
    let mut feed = Feed::since(settings.since);
    let mut choice = Choice::default();
    let mut step = machine.waited();
    loop {
        match step {
            Step::Connect(node) => {
                let Some(address) = settings.addresses.get(node) else { return };
                shared.report(State::Connecting { address: address.shown.clone() });
                let lasted = match choice.credential(settings) {
                    Ok(credential) => {
                        let place = session::Place { shared: &shared, address, events: &events };
                        session::run(place, &mut machine, &mut feed, credential, &mut stopped).await
                    }
                    Err(error) => Some(error),
                };
                shared.calls.disconnect();
                feed.cut();
                let Some(mut ending) = lasted else { break shared.report(State::Closed) };
                choice.judge(settings, &mut ending);
                step = machine.lost(&ending, chance());
                match step {
                    Step::Wait(delay) => shared.report(State::Waiting { delay, why: ending }),
                    Step::GiveUp => break shared.report(State::GivenUp { why: ending }),
                    Step::Connect(_) => {}
                }
            }
            Step::Wait(delay) => {
                tokio::select! {
                    () = tokio::time::sleep(delay) => step = machine.waited(),
                    _ = stopped.changed() => break shared.report(State::Closed),
                }
            }
            Step::GiveUp => break,
        }
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all wait equally long, which is no reason not to wait.
    let _even = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// By what the client is recognised: the token of its device, if there is one; else the credential that it was given.
#[derive(Default)]
struct Choice {
    used: Option<Zeroizing<String>>,
    /// A token that was refused. Another one may take its place in the file.
    refused: Option<Zeroizing<String>>,
}

impl Choice {
    fn credential(&mut self, settings: &Settings) -> Result<Option<Credential>, Ending> {
        self.used = None;
        let Some(device) = &settings.device else { return Ok(settings.credential.clone()) };
        let kept = device.token.read();
        let kept =
            kept.map_err(|error| Ending::Device(format!("{} {error}", device.token.path().display())))?;
        let usable = kept.filter(|kept| self.refused.as_ref() != Some(kept) || settings.credential.is_none());
        let Some(token) = usable else { return Ok(settings.credential.clone()) };
        self.used = Some(token.clone());
        Ok(Some(Credential::DeviceToken(token)))
    }

    /// A refused token of a device is no reason to give up as long as there is another credential.
    fn judge(&mut self, settings: &Settings, ending: &mut Ending) {
        let Some(used) = self.used.take() else { return };
        if settings.credential.is_none() || self.refused.as_ref() == Some(&used) {
            return;
        }
        if let Ending::Refused { code, retryable, .. } = ending
            && code == "unauthorized"
            && !*retryable
        {
            *retryable = true;
            self.refused = Some(used);
        }
    }
}
