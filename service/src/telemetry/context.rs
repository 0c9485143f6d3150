//! What a request carries with it: its id, and the trace that it belongs to (W3C Trace Context).

use std::{cell::OnceCell, fmt, rc::Rc};

tokio::task_local! {
    static CURRENT: Rc<Context>;
}

/// Which request it is.
#[derive(Debug)]
pub(crate) struct Context {
    /// `X-Request-Id`. Harmless in a log line.
    pub(crate) id: Rc<str>,
    /// What the caller said about its trace.
    pub(crate) parent: Option<TraceParent>,
    /// The trace: the caller's, or one that was begun here.
    pub(crate) trace: OnceCell<TraceId>,
    /// Pattern of the route, once it is known.
    pub(crate) route: OnceCell<&'static str>,
}

/// Which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The header `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace: TraceId,
    /// The caller's span.
    pub(crate) span: [u8; 8],
    /// The caller records its part.
    pub(crate) sampled: bool,
}

impl TraceParent {
    /// Later versions may add something behind; what is not valid is as if it were not there.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (version, rest) = (text.get(..2)?, text.get(2..55)?);
        let more = text.get(55..)?;
        let known = if version == "00" { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
        let mut parts = rest.split('-');
        let (Some(""), Some(trace), Some(span), Some(flags), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let [_] = bytes(version).filter(|version: &[u8; 1]| *version != [0xff])?;
        let trace = bytes(trace).filter(|trace| *trace != [0; 16])?;
        let span = bytes(span).filter(|span| *span != [0; 8])?;
        let [flags] = bytes(flags)?;
        known.then_some(Self { trace: TraceId(trace), span, sampled: flags & 1 != 0 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-", self.trace)?;
        self.span.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

/// Lower-case hex of exactly this length.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Context {
    /// Of a request that has just come.
    pub(crate) fn new(id: Rc<str>, traceparent: Option<&str>) -> Rc<Self> {
        let parent = traceparent.and_then(TraceParent::parse);
        let trace = parent.map_or_else(OnceCell::new, |parent| OnceCell::from(parent.trace));
        Rc::new(Self { id, parent, trace, route: OnceCell::new() })
    }
}

/// Whatever is done by `work` is done for this request.
pub(crate) fn within<F: Future>(context: Rc<Context>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(context, work)
}

/// The request that is being worked on.
pub(super) fn current() -> Option<Rc<Context>> {
    CURRENT.try_with(Rc::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let parent = TraceParent::parse(GIVEN).unwrap();
        assert_eq!(parent.to_string(), GIVEN);
        assert!(parent.sampled);
        assert!(TraceParent::parse(&GIVEN.replace("-01", "-00")).is_some_and(|parent| !parent.sampled));
        let later = format!("{}-what comes later", GIVEN.replacen("00", "cc", 1));
        assert_eq!(TraceParent::parse(&later).map(|parent| parent.trace), Some(parent.trace));
    }

    #[test]
    fn what_is_not_valid_is_not_there() {
        let none = "00000000000000000000000000000000";
        for bad in [
            String::new(),
            "é".repeat(28),
            GIVEN.to_uppercase(),
            GIVEN.replacen("00", "ff", 1),
            format!("{GIVEN}-more"),
            format!("{GIVEN}0"),
            GIVEN.replace('-', "_"),
            GIVEN.replace("4bf92f3577b34da6a3ce929d0e0e4736", none),
            GIVEN.replace("00f067aa0ba902b7", "0000000000000000"),
            GIVEN.replace("b7-01", "b-701"),
            GIVEN.replace("-01", "-+1"),
        ] {
            assert_eq!(TraceParent::parse(&bad), None, "{bad}");
        }
    }
}
