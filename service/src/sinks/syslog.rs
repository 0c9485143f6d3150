//! Syslog: RFC 5424 messages over UDP (RFC 5426), TCP with octet counting (RFC 6587 §3.4.1) or a datagram socket of the machine.
//!
//! The `syslog` crate does not frame what it sends over TCP, so two messages run into one another.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::Duration,
};

use claviger_actors::audit::Sink;

/// Facility 13, log audit; severity 6, informational (RFC 5424 §6.2.1).
const PRIORITY: u8 = 13 * 8 + 6;
/// A relay on this machine that takes longer has stopped.
const WRITE_MAX: Duration = Duration::from_secs(1);

pub(super) enum Way {
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Unix(PathBuf),
}

enum Open {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Unix(UnixDatagram),
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
                Open::Tcp(stream)
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
            Open::Tcp(stream) => {
                let mut framed = Vec::with_capacity(lines.len() * 2);
                for message in messages {
                    write!(framed, "{} ", message.len())?;
                    framed.extend_from_slice(&message);
                }
                stream.write_all(&framed)
            }
        }
    }
}

impl Sink for Syslog {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        // Only a way that took everything is kept.
        self.send(&mut open, lines)?;
        self.open = Some(open);
        Ok(())
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
        // It may take a write to notice.
        let tries = (0..10).map(|_| sink.write(b"{\"seq\":3}\n").is_ok()).collect::<Vec<_>>();
        assert!(tries.contains(&true));
        assert!(server.accept().is_ok());
        drop(server);
        assert!((0..10).any(|_| sink.write(b"{\"seq\":4}\n").is_err()));
    }
}
