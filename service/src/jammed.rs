//! Connections whose other end has stopped reading: the framework waits for room in them for ever, so the kernel is told not to.

use std::net::TcpListener;

use rustix::net::sockopt;

/// What nobody has taken for so long, in milliseconds, nobody will.
const PATIENCE_MS: u32 = 30_000;

/// Connections that come in here end when what was sent has not been taken for too long: they inherit `TCP_USER_TIMEOUT`.
pub(crate) fn are_let_go(listener: &TcpListener) {
    if let Err(error) = sockopt::set_tcp_user_timeout(listener, PATIENCE_MS) {
        tracing::warn!(%error, "connections whose other end has stopped reading are kept");
    }
}
