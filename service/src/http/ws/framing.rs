//! Where sessions meet WebSocket framing (RFC 6455), and nowhere else: the handshake of `actix-web-actors`, the codec of `actix-http`,
//! and a body that takes from the session's outbox.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix_http::ws::{self, Codec, Frame, Item, Message};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, BytesMut, Payload},
};
use actix_web_actors::ws::handshake;
use claviger_actors::session::{
    Incoming, SizeLimit,
    close::{Close, CloseCode},
    core::FRAME_MAX_BYTES,
    outbox::{Outbox, Outgoing},
};
use futures_core::Stream;

use super::sessions::Socket;
use crate::http::problem::Problem;

/// What is handed over at once, roughly: the connection asks again when it has sent it.
const CHUNK_BYTES: usize = 16 * 1_024;

/// The answer that turns a request into a session.
///
/// # Errors
/// It asks for no WebSocket.
pub(super) fn upgrade(
    request: &HttpRequest,
    outbox: &Arc<Outbox>,
    socket: Socket,
) -> Result<HttpResponse, Problem> {
    let wrong =
        |_| Problem::invalid("this path is for WebSocket clients: send an upgrade to version 13 (RFC 6455)");
    let mut response = handshake(request).map_err(wrong)?;
    let body = Body { outbox: Arc::clone(outbox), codec: Codec::new(), is_over: false, _socket: socket };
    Ok(response.streaming(body))
}

/// What comes from a client, out of the bytes of its connection.
pub(super) struct Frames {
    payload: Payload,
    wire: Wire,
}

/// The bytes that have come and are no whole frame yet.
struct Wire {
    buffer: BytesMut,
    codec: Codec,
    limit: SizeLimit,
    /// A text that comes in pieces.
    partial: Option<BytesMut>,
    is_over: bool,
}

impl Frames {
    pub(super) fn new(payload: Payload, limit: SizeLimit) -> Self {
        Self { payload, wire: Wire::new(limit) }
    }
}

impl Wire {
    fn new(limit: SizeLimit) -> Self {
        let codec = Codec::new().max_size(FRAME_MAX_BYTES);
        Self { buffer: BytesMut::new(), codec, limit, partial: None, is_over: false }
    }

    fn take_in(&mut self, chunk: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::from(chunk);
        } else {
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// Nothing is read after this.
    fn over(&mut self, with: Incoming) -> Option<Incoming> {
        self.is_over = true;
        self.buffer = BytesMut::new();
        self.partial = None;
        Some(with)
    }

    /// The next item that is whole. What is announced to be too large is refused before it has come.
    fn next_item(&mut self) -> Option<Incoming> {
        loop {
            let so_far = self.partial.as_ref().map_or(0, BytesMut::len);
            if self.buffer.first().is_some_and(|first| first & 0x88 == 0x08) {
                // A control frame in pieces (RFC 6455 §5.5).
                return self.over(Incoming::Broken);
            }
            let limit = self.limit.bytes();
            if announced(&self.buffer).is_some_and(|length| so_far.saturating_add(length) > limit) {
                return self.over(Incoming::TooLarge);
            }
            use actix_codec::Decoder as _;
            let frame = match self.codec.decode(&mut self.buffer) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    if self.buffer.is_empty() {
                        // Sessions are mostly idle, and many.
                        self.buffer = BytesMut::new();
                    }
                    return None;
                }
                Err(ws::ProtocolError::Overflow) => return self.over(Incoming::TooLarge),
                Err(_) => return self.over(Incoming::Broken),
            };
            match frame {
                Frame::Text(text) => return Some(Incoming::Text(text)),
                Frame::Continuation(Item::FirstText(first)) => self.partial = Some(BytesMut::from(first)),
                Frame::Continuation(Item::Continue(more)) => self.add(&more),
                Frame::Continuation(Item::Last(last)) => {
                    self.add(&last);
                    return self.partial.take().map(|text| Incoming::Text(text.freeze()));
                }
                Frame::Binary(_) | Frame::Continuation(Item::FirstBinary(_)) => {
                    return self.over(Incoming::Binary);
                }
                Frame::Ping(echo) => return Some(Incoming::Ping(echo)),
                Frame::Pong(_) => {}
                Frame::Close(_) => return self.over(Incoming::Farewell),
            }
        }
    }

    fn add(&mut self, more: &[u8]) {
        if let Some(partial) = &mut self.partial {
            partial.extend_from_slice(more);
        }
    }
}

/// Length of the frame that begins here, if it carries data and its head is there.
fn announced(buffer: &[u8]) -> Option<usize> {
    let (first, second) = (*buffer.first()?, *buffer.get(1)?);
    if first & 0x08 != 0 {
        // A control frame has a limit of its own.
        return None;
    }
    match second & 0x7f {
        126 => Some(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?).into()),
        127 => usize::try_from(u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?)).ok(),
        length => Some(length.into()),
    }
}

impl Stream for Frames {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        loop {
            if self.wire.is_over {
                return Poll::Ready(None);
            }
            if let Some(item) = self.wire.next_item() {
                return Poll::Ready(Some(item));
            }
            match ready!(Pin::new(&mut self.payload).poll_next(context)) {
                Some(Ok(chunk)) => self.wire.take_in(chunk),
                Some(Err(_)) | None => self.wire.is_over = true,
            }
        }
    }
}

/// What goes to a client, as bytes.
struct Body {
    outbox: Arc<Outbox>,
    codec: Codec,
    is_over: bool,
    _socket: Socket,
}

impl Body {
    fn write(&mut self, item: Outgoing, to: &mut BytesMut) {
        use actix_codec::Encoder as _;
        let message = match item {
            Outgoing::Text(text) => Message::Text(text.into()),
            Outgoing::Pong(echo) => Message::Pong(Bytes::from(echo)),
            Outgoing::Close(close) => {
                self.is_over = true;
                Message::Close(Some(reason(&close)))
            }
        };
        if self.codec.encode(message, to).is_err() {
            self.is_over = true;
        }
    }
}

fn reason(close: &Close) -> ws::CloseReason {
    let code = match close.code {
        CloseCode::Normal => ws::CloseCode::Normal,
        CloseCode::Protocol => ws::CloseCode::Protocol,
        CloseCode::Unsupported => ws::CloseCode::Unsupported,
        CloseCode::Policy => ws::CloseCode::Policy,
        CloseCode::Size => ws::CloseCode::Size,
        CloseCode::Restart => ws::CloseCode::Restart,
    };
    let reason = close.reason();
    ws::CloseReason { code, description: (!reason.is_empty()).then(|| reason.to_owned()) }
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // The connection asks again when it has sent what it had, but for little.
        self.outbox.sent();
        let mut chunk = BytesMut::new();
        while !self.is_over && chunk.len() < CHUNK_BYTES {
            match self.outbox.poll_take(context) {
                Poll::Ready(Some(item)) => self.write(item, &mut chunk),
                Poll::Ready(None) => self.is_over = true,
                Poll::Pending => break,
            }
        }
        match (chunk.is_empty(), self.is_over) {
            (false, _) => Poll::Ready(Some(Ok(chunk.freeze()))),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.outbox.abandon();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of bytes that come in these pieces.
    fn read(bytes: &[u8], pieces: &[usize]) -> Vec<Incoming> {
        let mut wire = Wire::new(SizeLimit::default());
        let (mut items, mut rest, mut pieces) = (Vec::new(), bytes, pieces.iter().copied().cycle());
        loop {
            while let Some(item) = wire.next_item() {
                items.push(item);
                if wire.is_over {
                    return items;
                }
            }
            if rest.is_empty() {
                return items;
            }
            let (piece, left) = rest.split_at(pieces.next().unwrap_or(1).clamp(1, rest.len()));
            wire.take_in(Bytes::copy_from_slice(piece));
            rest = left;
        }
    }

    /// A frame as clients send it, with whatever first byte and mask.
    fn frame(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![first];
        match u16::try_from(payload.len()).unwrap() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length => {
                frame.push(0xfe);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn is_end(item: &Incoming) -> bool {
        match item {
            Incoming::Text(_) | Incoming::Ping(_) => false,
            Incoming::Binary | Incoming::TooLarge | Incoming::Broken | Incoming::Farewell => true,
        }
    }

    fn frames() -> impl Strategy<Value = Vec<u8>> {
        let first =
            prop_oneof![Just(0x81), Just(0x01), Just(0x80), Just(0x00), Just(0x89), Just(0x8a), any::<u8>()];
        let one = (first, proptest::collection::vec(any::<u8>(), 0..300), any::<[u8; 4]>());
        let one = one.prop_map(|(first, payload, mask)| frame(first, &payload, mask));
        let noise = proptest::collection::vec(any::<u8>(), 0..40);
        proptest::collection::vec(prop_oneof![8 => one, 1 => noise], 0..8).prop_map(|all| all.concat())
    }

    proptest! {
        /// However the bytes come, they are the same frames, up to the first that is none; nothing is read after an end.
        #[test]
        fn pieces_make_no_difference(bytes in frames(), pieces in proptest::collection::vec(1..50_usize, 1..8)) {
            let (whole, apart) = (read(&bytes, &[usize::MAX]), read(&bytes, &pieces));
            let texts = |items: &[Incoming]| -> Vec<Incoming> {
                items.iter().filter(|item| !is_end(item)).cloned().collect()
            };
            prop_assert_eq!(texts(&whole), texts(&apart));
            prop_assert_eq!(whole.last().map(is_end), apart.last().map(is_end));
            prop_assert!(whole.iter().rev().skip(1).all(|item| !is_end(item)));
        }

        /// A text is read as it was sent, whole or in fragments, with a ping between them or not.
        #[test]
        fn fragments_are_one_text(parts in proptest::collection::vec("[a-z]{0,200}", 2..6), pings in any::<bool>()) {
            let mut bytes = Vec::new();
            for (place, part) in parts.iter().enumerate() {
                let last = if place + 1 == parts.len() { 0x80 } else { 0 };
                bytes.extend(frame(last | u8::from(place == 0), part.as_bytes(), [7, 0, 9, 1]));
                if pings && last == 0 {
                    bytes.extend(frame(0x89, b"p", [0; 4]));
                }
            }
            let items = read(&bytes, &[3]);
            let expected = Incoming::Text(Bytes::from(parts.concat()));
            prop_assert_eq!(items.last(), Some(&expected));
            prop_assert_eq!(items.len(), if pings { parts.len() } else { 1 });
        }
    }

    #[test]
    fn lengths_are_read_as_soon_as_they_are_there() {
        assert_eq!(announced(&[]), None);
        assert_eq!(announced(&[0x81]), None);
        assert_eq!(announced(&[0x81, 0x85]), Some(5));
        assert_eq!(announced(&[0x81, 0xfe, 1]), None);
        assert_eq!(announced(&[0x81, 0xfe, 1, 2]), Some(258));
        assert_eq!(announced(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]), Some(65_536));
        assert_eq!(announced(&[0x81, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0]), Some(0xff00_0000_0001_0000));
        assert_eq!(announced(&[0x89, 0xfe, 1, 2]), None, "a ping");
    }

    #[test]
    fn a_close_without_reason_is_one() {
        assert_eq!(reason(&Close::new(CloseCode::Normal, "")).description, None);
        assert_eq!(reason(&Close::slow_consumer()).description.as_deref(), Some("slow consumer"));
        for code in [
            CloseCode::Normal,
            CloseCode::Protocol,
            CloseCode::Unsupported,
            CloseCode::Policy,
            CloseCode::Size,
            CloseCode::Restart,
        ] {
            assert_eq!(u16::from(reason(&Close::new(code, "")).code), code.number());
        }
    }
}
