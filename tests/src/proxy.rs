//! A network that can be broken between a client and a server.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::process::{PATIENCE, Port, pause, until};

/// Chunks on their way in one direction; beyond these the sender waits, as for a full window.
const WINDOW: usize = 256;
const CHUNK: usize = 16 << 10;

/// When it is due, and what it is.
type Chunk = (Instant, Vec<u8>);

/// Forwards connections to an address, from a port of 127.0.0.1.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    delay: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    connections: Vec<Arc<Connection>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    Forward,
    /// Nothing passes.
    Cut,
    /// Nothing passes back.
    Deaf,
    Reset,
}

#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: OnceLock<TcpStream>,
    /// Nothing of the client's reaches the server any more.
    lost_forth: AtomicBool,
    /// Nothing of the server's reaches the client any more.
    lost_back: AtomicBool,
    closed: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to an address.
    #[must_use]
    pub fn to(address: impl Into<String>) -> Self {
        let state = State { mode: Mode::Forward, connections: Vec::new() };
        let shared = Shared { target: address.into(), delay: AtomicU64::new(0), state: Mutex::new(state) };
        let proxy = Self { port: Port::free(), shared: Arc::new(shared), acceptor: Mutex::new(None) };
        proxy.listen();
        proxy
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// A black hole: connections stay, new ones are accepted, and nothing that is sent from now on arrives.
    pub fn cut(&self) {
        self.lose(Mode::Cut);
    }

    /// Half a black hole: what clients send arrives, what the server answers doesn't. A commit happens, and nobody learns of it.
    pub fn cut_answers(&self) {
        self.lose(Mode::Deaf);
    }

    /// Closes what is open, and refuses what is new.
    pub fn reset(&self) {
        self.shared.state().mode = Mode::Reset;
        self.silence();
        self.shared.close(|_| true);
    }

    /// Forwards again. Connections that have lost anything are closed: at last, TCP would notice.
    pub fn heal(&self) {
        let before = std::mem::replace(&mut self.shared.state().mode, Mode::Forward);
        self.shared.close(|connection| connection.has_lost());
        if before == Mode::Reset {
            self.listen();
        }
    }

    /// Whatever is sent from now on takes so much longer, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.delay.store(u64::try_from(delay.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }

    fn lose(&self, mode: Mode) {
        let before = {
            let mut state = self.shared.state();
            state.connections.iter().for_each(|connection| connection.lose(mode));
            std::mem::replace(&mut state.mode, mode)
        };
        if before == Mode::Reset {
            self.listen();
        }
    }

    fn listen(&self) {
        let listener = until(PATIENCE, || TcpListener::bind(("127.0.0.1", self.port())).ok());
        let listener = listener.expect("the port is this proxy's");
        let shared = Arc::clone(&self.shared);
        let acceptor = thread::spawn(move || accept(&shared, &listener));
        *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
    }

    /// Ends the acceptor, which looks at the mode when somebody comes.
    fn silence(&self) {
        let acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor {
            let _knock = TcpStream::connect(("127.0.0.1", self.port()));
            let _ended = acceptor.join();
            // A process that is being forked just now keeps the socket until it is another program.
            let refused = || TcpStream::connect(("127.0.0.1", self.port())).is_err().then_some(());
            let _refused = until(PATIENCE, refused);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.reset();
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.delay.load(Ordering::SeqCst))
    }

    fn close(&self, which: impl Fn(&Connection) -> bool) {
        self.state().connections.retain(|connection| {
            let closed = which(connection);
            if closed {
                connection.close();
            }
            !closed
        });
    }
}

impl Connection {
    fn of(client: TcpStream) -> Self {
        let no = || AtomicBool::new(false);
        Self { client, server: OnceLock::new(), lost_forth: no(), lost_back: no(), closed: no() }
    }

    fn lose(&self, mode: Mode) {
        if mode == Mode::Cut {
            self.lost_forth.store(true, Ordering::SeqCst);
        }
        if matches!(mode, Mode::Cut | Mode::Deaf) {
            self.lost_back.store(true, Ordering::SeqCst);
        }
    }

    fn has_lost(&self) -> bool {
        self.lost_back.load(Ordering::SeqCst)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let _gone = self.client.shutdown(Shutdown::Both);
        let _gone = self.server.get().map(|server| server.shutdown(Shutdown::Both));
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        let Ok((client, _)) = listener.accept() else { continue };
        let _nagle = client.set_nodelay(true);
        let connection = Arc::new(Connection::of(client));
        let mut state = shared.state();
        if state.mode == Mode::Reset {
            return;
        }
        connection.lose(state.mode);
        state.connections.push(Arc::clone(&connection));
        drop(state);
        let shared = Arc::clone(shared);
        // A server that is stopped may keep a connection waiting.
        thread::spawn(move || serve(&shared, &connection));
    }
}

/// Carries one connection to its end.
fn serve(shared: &Arc<Shared>, connection: &Arc<Connection>) {
    if connection.lost_forth.load(Ordering::SeqCst) {
        return;
    }
    if let Ok(server) = TcpStream::connect(&shared.target) {
        let _nagle = server.set_nodelay(true);
        let server = connection.server.get_or_init(|| server);
        // Whoever closed it meanwhile has seen one side only.
        if connection.closed.load(Ordering::SeqCst) {
            connection.close();
        }
        let (client, forth, back) = (&connection.client, &connection.lost_forth, &connection.lost_back);
        thread::scope(|scope| {
            scope.spawn(|| carry(shared, connection, (client, server), forth));
            scope.spawn(|| carry(shared, connection, (server, client), back));
        });
    }
    // One that has lost something looks alive to both sides until the network heals.
    let mut state = shared.state();
    if !connection.has_lost() {
        connection.close();
        state.connections.retain(|other| !Arc::ptr_eq(other, connection));
    }
}

fn carry(shared: &Shared, connection: &Connection, (from, to): (&TcpStream, &TcpStream), lost: &AtomicBool) {
    let (sender, receiver) = sync_channel(WINDOW);
    thread::scope(|scope| {
        scope.spawn(move || deliver(receiver, connection, to, lost));
        // Moved in, so that its end is the deliverer's.
        let (sender, mut from): (SyncSender<Chunk>, _) = (sender, from);
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = from.read(&mut chunk).unwrap_or(0);
            // What is lost is read nevertheless: its sender sees no full window.
            if !lost.load(Ordering::SeqCst) {
                let _gone = sender.send((Instant::now() + shared.delay(), chunk[..count].to_vec()));
            }
            if count == 0 {
                break;
            }
        }
    });
}

/// Writes each chunk when it is due; an empty one ends the direction.
fn deliver(receiver: Receiver<Chunk>, connection: &Connection, mut to: &TcpStream, lost: &AtomicBool) {
    for (due, chunk) in receiver {
        pause(due.saturating_duration_since(Instant::now()));
        if lost.load(Ordering::SeqCst) {
            continue;
        }
        if chunk.is_empty() {
            let _gone = to.shutdown(Shutdown::Write);
        } else if to.write_all(&chunk).is_err() && !connection.has_lost() {
            connection.close();
        }
    }
}
