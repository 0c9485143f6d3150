//! Connections of HTTP/2 that ask for no more than the service can give.
//!
//! The framework takes heads of 16 MiB, in which each byte may stand for a field, and any number of requests at a time, and can't be told
//! otherwise. So it is not let have them: what a client asks for is counted as it is read ([`core`]), and one that asks for too much is hung
//! up on. Clients are told beforehand how many requests they may have at a time. Connections of HTTP/1.1 pass as they are.

mod core;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::core::Account;

/// A connection.
pub struct Guarded<S> {
    stream: S,
    /// None of HTTP/1.1.
    account: Option<Account>,
    greeting: Greeting,
}

/// The first frame of the service.
enum Greeting {
    Awaited,
    /// So many bytes of it are gone.
    Going([u8; 9], [u8; 15], usize),
    Gone,
}

impl<S> Guarded<S> {
    /// One that speaks HTTP/2, or not.
    #[must_use]
    pub fn new(stream: S, is_http2: bool) -> Self {
        let account = is_http2.then(Account::new);
        Self { stream, account, greeting: Greeting::Awaited }
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
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let asked = buffer.filled().get(before..).unwrap_or_default();
        if let Some(account) = &mut this.account {
            account.asked(asked).map_err(|excess| {
                tracing::debug!(%excess, "a client of HTTP/2 is hung up on");
                io::Error::other(excess)
            })?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Sends the first frame with a setting of our own; so many bytes of what was given are done with. `None` = that is behind us.
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
