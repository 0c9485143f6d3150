//! Syslog: RFC 5424 messages over UDP (RFC 5426), TCP with octet counting (RFC 6587 §3.4.1) or a datagram socket of the machine.
//!
//! The `syslog` crate does not frame what it sends over TCP, so two messages run into one another.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, Instant},
};

use claviger_actors::audit::Sink;

/// Facility 13, log audit; severity 6, informational (RFC 5424 §6.2.1).
const PRIORITY: u8 = 13 * 8 + 6;
/// A relay on this machine that takes longer has stopped.
const WRITE_MAX: Duration = Duration::from_secs(1);
/// Bytes that may wait in the socket for a relay which does not read: they count as delivered.
const UNREAD_MAX: usize = 64 << 10;

pub(super) enum Way {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Unix(PathBuf),
}

enum Open {
    Udp(UdpSocket),
    Tcp(Connection),
    Unix(UnixDatagram),
}

/// A connection, and what of a message is still to be sent: half a message would spoil all that follow it.
struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
}

pub(super) struct Syslog {
    way: Way,
    node: String,
    open: Option<Open>,
}

impl Syslog {
    pub(super) const fn new(way: Way, node: String) -> Self {
        Self { way, node, open: None }
    }

    fn connect(&self) -> io::Result<Open> {
        Ok(match &self.way {
            Way::Udp(to) => {
                let any: SocketAddr = if to.is_ipv4() {
                    (Ipv4Addr::LOCALHOST, 0).into()
                } else {
                    (Ipv6Addr::LOCALHOST, 0).into()
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                Open::Udp(socket)
            }
            Way::Tcp(to) => {
                let stream = TcpStream::connect_timeout(to, WRITE_MAX)?;
                stream.set_write_timeout(Some(WRITE_MAX))?;
                stream.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_send_buffer_size(&stream, UNREAD_MAX)?;
                Open::Tcp(Connection { stream, rest: Vec::new() })
            }
            Way::Unix(to) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(to)?;
                socket.set_write_timeout(Some(WRITE_MAX))?;
                Open::Unix(socket)
            }
        })
    }

    fn send(&self, open: &mut Open, lines: &[u8]) -> io::Result<()> {
        let messages = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let messages = messages.map(|line| message(&self.node, line));
        match open {
            Open::Udp(socket) => messages.into_iter().try_for_each(|message| socket.send(&message).map(drop)),
            Open::Unix(socket) => {
                messages.into_iter().try_for_each(|message| socket.send(&message).map(drop))
            }
            Open::Tcp(connection) => {
                let mut framed = Vec::with_capacity(lines.len() * 2);
                for message in messages {
                    write!(framed, "{} ", message.len())?;
                    framed.extend_from_slice(&message);
                }
                connection.send(framed)
            }
        }
    }
}

impl Connection {
    /// Sends what was left of the time before, and then this; what does not get away in time is kept for the next time.
    fn send(&mut self, framed: Vec<u8>) -> io::Result<()> {
        self.flush()?;
        self.rest = framed;
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + WRITE_MAX;
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => drop(self.rest.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if Instant::now() > deadline && !self.rest.is_empty() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// The other side has closed it. It would take one more write before the system says so, and that one would be lost.
    fn is_over(&self) -> bool {
        let look = || {
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            seen
        };
        match look() {
            Ok(seen) => seen == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

impl Open {
    fn is_over(&self) -> bool {
        match self {
            Self::Tcp(connection) => connection.is_over(),
            Self::Udp(_) | Self::Unix(_) => false,
        }
    }

    /// One that only did not take everything in time may yet; what it has half of would be spoilt by a new one.
    fn is_kept_after(&self, error: &io::Error) -> bool {
        matches!(self, Self::Tcp(_))
            && matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
    }
}

impl Sink for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take().filter(|open| !open.is_over()) {
            Some(open) => open,
            None => self.connect()?,
        };
        let sent = self.send(&mut open, lines);
        if sent.as_ref().err().is_none_or(|error| open.is_kept_after(error)) {
            self.open = Some(open);
        }
        sent
    }
}

/// `<110>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`; the time is in the record.
fn message(node: &str, line: &[u8]) -> Vec<u8> {
    let mut message = format!("<{PRIORITY}>1 - {node} claviger - audit - ").into_bytes();
    message.extend_from_slice(line);
    message
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener};

    use super::*;

    #[test]
    fn each_record_is_a_message() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sink = Syslog::new(Way::Udp(server.local_addr().unwrap()), "n1".to_owned());
        sink.write(b"{\"seq\":1}\n{\"seq\":2}\n").unwrap();
        let mut buffer = [0; 256];
        for expected in
            ["<110>1 - n1 claviger - audit - {\"seq\":1}", "<110>1 - n1 claviger - audit - {\"seq\":2}"]
        {
            let length = server.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        Syslog::new(Way::Unix(path), "n1".to_owned()).write(b"{\"seq\":3}\n").unwrap();
        let length = server.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"{\"seq\":3}"));
    }

    #[test]
    fn over_tcp_messages_are_counted_and_a_lost_connection_is_made_anew() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sink = Syslog::new(Way::Tcp(server.local_addr().unwrap()), "n1".to_owned());
        sink.write(b"{\"seq\":1}\n{\"seq\":2}\n").unwrap();
        let (mut stream, _) = server.accept().unwrap();
        let expected =
            "40 <110>1 - n1 claviger - audit - {\"seq\":1}40 <110>1 - n1 claviger - audit - {\"seq\":2}";
        let mut text = vec![0; expected.len()];
        stream.read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        drop(stream);
        // It is noticed before anything is lost.
        sink.write(b"{\"seq\":3}\n").unwrap();
        let (mut stream, _) = server.accept().unwrap();
        let mut text = vec![0; expected.len() / 2];
        stream.read_exact(&mut text).unwrap();
        assert!(text.ends_with(b"{\"seq\":3}"));
        drop((stream, server));
        assert!(sink.write(b"{\"seq\":4}\n").is_err());
    }

    #[test]
    fn a_relay_that_does_not_read_fails_in_time_and_gets_whole_messages_later() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sink = Syslog::new(Way::Tcp(server.local_addr().unwrap()), "n1".to_owned());
        let line = format!("{{\"seq\":1,\"x\":\"{}\"}}\n", "x".repeat(8_000));
        let taken = (0..10_000).position(|_| sink.write(line.as_bytes()).is_err()).unwrap();
        let began = Instant::now();
        assert!(sink.write(line.as_bytes()).is_err());
        assert!(began.elapsed() < WRITE_MAX * 3);
        let (mut stream, _) = server.accept().unwrap();
        stream.set_read_timeout(Some(WRITE_MAX)).unwrap();
        let mut text = vec![0; 64 << 10];
        let mut read = Vec::new();
        // What was under way is the first that follows.
        while read.len() < (taken + 1) * line.len() {
            let length = stream.read(&mut text).unwrap();
            read.extend_from_slice(&text[..length]);
            sink.write(b"{}\n").unwrap_or_default();
        }
        sink.write(b"{\"seq\":2}\n").unwrap();
        while !read.ends_with(b"{\"seq\":2}") {
            let length = stream.read(&mut text).unwrap();
            read.extend_from_slice(&text[..length]);
        }
        let mut rest = &read[..];
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
            let message = &rest[blank + 1..blank + 1 + length];
            assert!(message.starts_with(b"<110>1 - n1 claviger") && message.ends_with(b"}"));
            rest = &rest[blank + 1 + length..];
        }
    }
}
