//! A mesh network that knows who is behind an address of its own.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use async_trait::async_trait;
use claviger_config::Mesh;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{Identity, is_name};

/// Longest time for a look-up; it is on the machine.
const LOOK_UP_MAX: Duration = Duration::from_secs(2);
/// Longest answer.
const ANSWER_MAX_BYTES: u64 = 1 << 20;

/// Says who a peer is.
#[async_trait]
pub trait MeshIdentity: Send + Sync {
    /// Who that is, if it is a member.
    async fn whois(&self, peer: SocketAddr) -> Option<Identity>;
}

/// Tailscale, by its LocalAPI on a Unix socket.
pub struct Tailscale {
    socket: PathBuf,
    settings: Mesh,
}

impl Tailscale {
    /// As configured.
    #[must_use]
    pub fn new(settings: Mesh) -> Self {
        Self { socket: settings.socket.clone(), settings }
    }

    async fn ask(&self, peer: SocketAddr) -> std::io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let request = format!(
            "GET /localapi/v0/whois?addr={} HTTP/1.0\r\nHost: local-tailscaled.sock\r\nConnection: close\r\n\r\n",
            escaped(peer)
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

#[async_trait]
impl MeshIdentity for Tailscale {
    async fn whois(&self, peer: SocketAddr) -> Option<Identity> {
        if !is_of_mesh(peer.ip()) {
            return None;
        }
        let answer = tokio::time::timeout(LOOK_UP_MAX, self.ask(peer)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the mesh can't be asked who calls; its members need credentials");
                return None;
            }
            Err(_late) => {
                tracing::warn!("the mesh does not answer; its members need credentials");
                return None;
            }
        };
        let login = login(&answer)?;
        let roles = self.settings.roles_of(&login);
        Some(Identity::of_mesh(login, roles))
    }
}

/// Only addresses of the mesh (100.64.0.0/10, fd7a:115c:a1e0::/48) are asked about: others can't be of it.
fn is_of_mesh(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits() >> 22 == u32::from_be_bytes([100, 64, 0, 0]) >> 22,
        IpAddr::V6(address) => matches!(address.segments(), [0xfd7a, 0x115c, 0xa1e0, ..]),
    }
}

fn escaped(peer: SocketAddr) -> String {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    peer.to_string().replace('[', "%5B").replace(']', "%5D")
}

/// The login in an answer. A machine that is tagged stands for nobody.
fn login(answer: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    if head.split(' ').nth(1) != Some("200") {
        return None;
    }
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let is_tagged =
        body.pointer("/Node/Tags").and_then(|tags| tags.as_array()).is_some_and(|tags| !tags.is_empty());
    let login = body.pointer("/UserProfile/LoginName")?.as_str()?;
    (is_name(login) && !is_tagged).then(|| login.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn logins_are_found_in_right_answers_only() {
        let answer =
            |status: &str, body: &str| format!("HTTP/1.0 {status}\r\nX: y\r\n\r\n{body}").into_bytes();
        let good = r#"{"Node": {"Name": "box"}, "UserProfile": {"LoginName": "ada@example.com"}}"#;
        assert_eq!(login(&answer("200 OK", good)).as_deref(), Some("ada@example.com"));
        assert_eq!(login(&answer("404 Not Found", good)), None);
        for body in [
            "",
            "[]",
            "{}",
            r#"{"UserProfile": {"LoginName": ""}}"#,
            r#"{"UserProfile": {"LoginName": 7}}"#,
            r#"{"Node": {"Tags": ["tag:ci"]}, "UserProfile": {"LoginName": "tagged-devices"}}"#,
        ] {
            assert_eq!(login(&answer("200 OK", body)), None, "{body}");
        }
    }

    #[test]
    fn only_addresses_of_the_mesh_are_asked_about() {
        for (address, is_one) in [
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("100.63.255.255", false),
            ("::ffff:100.64.0.1", true),
            ("fd7a:115c:a1e0::1", true),
            ("fd7a:115c:a1e1::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(is_of_mesh(address.parse().unwrap()), is_one, "{address}");
        }
    }

    #[tokio::test]
    async fn the_socket_is_asked_once_and_its_word_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("mesh.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 200];
            let read = stream.read(&mut request).await.unwrap();
            let body = r#"{"UserProfile": {"LoginName": "ada@example.com"}}"#;
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let mesh = Tailscale::new(Mesh { socket, roles: Vec::new() });
        assert!(mesh.whois("127.0.0.1:5".parse().unwrap()).await.is_none());
        let identity = mesh.whois("100.64.0.1:5".parse().unwrap()).await.unwrap();
        assert_eq!(identity.name(), "mesh:ada@example.com");
        assert!(serving.await.unwrap().starts_with("GET /localapi/v0/whois?addr=100.64.0.1:5 HTTP/1.0"));
        // Gone: nobody is recognised, and nobody waits.
        assert!(mesh.whois("100.64.0.1:5".parse().unwrap()).await.is_none());
    }
}
