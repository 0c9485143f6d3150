//! The door to a session.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{Actor as _, AsyncContext as _};

use super::{
    actor::{Backstage, Incoming, SizeLimit, Voice, WsSession},
    close::Close,
    outbox::Outbox,
};

/// One session, from anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionHandle(Arc<Outbox>);

impl SessionHandle {
    /// Starts a session on this thread, over what comes from a client; what goes to it is taken from the voice's outbox.
    pub fn start<S>(
        incoming: impl FnOnce(SizeLimit) -> S,
        voice: Voice,
        behind: Rc<dyn Backstage>,
        nonce: String,
        handshake_timeout: Duration,
    ) -> Self
    where
        S: futures_core::Stream<Item = Incoming> + 'static,
    {
        let handle = Self(Arc::clone(voice.outbox()));
        let limit = SizeLimit::default();
        let incoming = incoming(limit.clone());
        WsSession::create(move |context| {
            context.add_stream(incoming);
            WsSession::new(voice, limit, behind, nonce, handshake_timeout)
        });
        handle
    }

    /// Of a voice.
    #[must_use]
    pub fn of(voice: &Voice) -> Self {
        Self(Arc::clone(voice.outbox()))
    }

    /// Ends it after what is on its way.
    pub fn close(&self, close: Close) {
        self.0.close(close);
    }

    /// Ends it once what is in work has been answered.
    pub fn retire(&self, close: Close) {
        self.0.retire(close);
    }

    /// For how long its client has taken nothing of what waits for it.
    #[must_use]
    pub fn jammed_for(&self) -> Option<Duration> {
        self.0.jammed_since().map(|since| since.elapsed())
    }

    /// Ends it now: what is on its way is dropped.
    pub fn cut(&self, close: Close) {
        self.0.cut(close);
    }
}
