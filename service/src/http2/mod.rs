//! Connections of HTTP/2 that ask for no more than the service can give.
//!
//! The framework takes heads of 16 MiB, in which each byte may stand for a field, any number of requests at a time and much more
//! ([`core`]), and can't be told otherwise. So it is not let have them: what a client asks for is counted as it is read, and one that asks
//! for too much is hung up on. Clients are told beforehand how many requests they may have at a time, and how long their heads may be.
//!
//! Nor does the framework ever end such a connection by itself, as long as the client answers its pings. So it is told that the client has
//! ended it, when no request was open for a while, or none is open any more and the service stops. Connections of HTTP/1.1 pass as they are.

mod core;
mod fields;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use self::core::Account;

/// A connection without requests is looked at that often; the second look in a row ends it.
const REST: Duration = Duration::from_mins(2);

/// A connection.
pub struct Guarded<S> {
    stream: S,
    /// None of HTTP/1.1.
    account: Option<Account>,
    greeting: Greeting,
    end: End,
}

/// When it is to end.
struct End {
    /// `None` = the service stops.
    stopping: Option<Pin<Box<dyn Future<Output = ()>>>>,
    look: Option<Pin<Box<Sleep>>>,
}

impl End {
    /// It is now. Otherwise the task is woken to ask again.
    fn is_now(&mut self, account: &mut Account, context: &mut Context<'_>) -> bool {
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            self.stopping = None;
        }
        if self.stopping.is_none() && account.is_quiet() {
            return true;
        }
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(REST)));
        while look.as_mut().poll(context).is_ready() {
            if account.has_rested() {
                return true;
            }
            look.set(sleep(REST));
        }
        false
    }
}

/// The first frame of the service.
enum Greeting {
    Awaited,
    /// So many bytes of it are gone.
    Going([u8; 9], [u8; core::GREETING], usize),
    Gone,
}

impl<S> Guarded<S> {
    /// One that speaks HTTP/2, or not; the service stops when `stopping` is over.
    #[must_use]
    pub fn new(stream: S, is_http2: bool, stopping: impl Future<Output = ()> + 'static) -> Self {
        let account = is_http2.then(Account::new);
        let end = End { stopping: Some(Box::pin(stopping)), look: None };
        Self { stream, account, greeting: Greeting::Awaited, end }
    }

    /// What it is made of.
    #[must_use]
    pub const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer)?;
        let Some(account) = &mut this.account else { return read.map(Ok) };
        if read.is_pending() {
            // Nothing read = the other end has closed.
            return if this.end.is_now(account, context) { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let asked = buffer.filled().get(before..).unwrap_or_default();
        account.asked(asked).map_err(|excess| {
            tracing::debug!(%excess, "a client of HTTP/2 is hung up on");
            io::Error::other(excess)
        })?;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Sends the first frame with settings of our own; so many bytes of what was given are done with. `None` = that is behind us.
    fn greet(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<Option<usize>>> {
        let Some(account) = &mut self.account else { return Poll::Ready(Ok(None)) };
        loop {
            match &mut self.greeting {
                Greeting::Gone => return Poll::Ready(Ok(None)),
                Greeting::Awaited => {
                    let going = core::greeting(bytes).map(|(head, said)| Greeting::Going(head, said, 0));
                    self.greeting = going.unwrap_or(Greeting::Gone);
                }
                Greeting::Going(head, said, gone) => {
                    let left = said.get(*gone..).unwrap_or_default();
                    if left.is_empty() {
                        account.answered(head);
                        let done = head.len();
                        self.greeting = Greeting::Gone;
                        return Poll::Ready(Ok(Some(done)));
                    }
                    match ready!(Pin::new(&mut self.stream).poll_write(context, left))? {
                        0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        written => *gone += written,
                    }
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| &**part);
        if let Some(done) = ready!(this.greet(context, first))? {
            return Poll::Ready(Ok(done));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, parts))?;
        if let Some(account) = &mut this.account {
            let mut left = written;
            for part in parts {
                let sent = part.get(..left.min(part.len())).unwrap_or_default();
                account.answered(sent);
                left -= sent.len();
            }
            if this.end.stopping.is_none() && account.is_quiet() {
                // That was the last answer; reading finds the end.
                context.waker().wake_by_ref();
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
