//! A Redis server of its own, which keeps nothing when it ends.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::{
    authority::Tls,
    process::{self, PATIENCE, Port, Server, program, until},
};

/// A running server in a folder of its own.
#[derive(Debug)]
pub struct Redis {
    server: Option<Server>,
    folder: TempDir,
    port: Port,
    /// Where the nodes of a cluster would speak with each other.
    _bus: Option<Port>,
    access: Access,
}

/// How clients reach a server.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    port: u16,
    password: Option<String>,
    tls: Option<Tls>,
}

impl Redis {
    /// Starts a server that asks for no password.
    #[must_use]
    pub fn start() -> Self {
        Self::launched(None, None, "")
    }

    /// Starts a server that asks for a password.
    #[must_use]
    pub fn with_password(password: &str) -> Self {
        Self::launched(Some(password), None, "")
    }

    /// Starts a server that speaks TLS only.
    #[must_use]
    pub fn with_tls(tls: &Tls) -> Self {
        Self::launched(None, Some(tls), "")
    }

    /// Starts it again, or at last, in cluster mode, alone and with no slot; on the same port.
    pub fn restart_clustered(&mut self) {
        self.kill();
        let bus = Port::free();
        let further = format!("cluster-enabled yes\ncluster-port {}\n", bus.number());
        let folder = self.folder.path();
        fs::write(folder.join("redis.conf"), configuration(&self.access, folder, &further)).unwrap();
        self._bus = Some(bus);
        self.launch();
    }

    /// Starts a replica with the same password or TLS, and waits until it is in step.
    #[must_use]
    pub fn replica_of(primary: &Self) -> Self {
        let further = format!("replicaof 127.0.0.1 {}\n", primary.port());
        let replica =
            Self::launched(primary.access.password.as_deref(), primary.access.tls.as_ref(), &further);
        let in_step = until(PATIENCE, || {
            replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
        });
        assert!(in_step.is_some(), "the replica does not reach its primary: {}", replica.log());
        replica
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_via(self.port())
    }

    /// The same through another port, which is a proxy's.
    #[must_use]
    pub fn url_via(&self, port: u16) -> String {
        self.access.at(port).url()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Where it listens; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its password.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.access.password.as_deref()
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGSTOP: it holds its connections, and answers nothing.
    pub fn stop(&self) {
        self.server.as_ref().expect("it runs").stop();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.server.as_ref().expect("it runs").resume();
    }

    /// SIGKILL; everything it held is lost.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again, empty, on the same port; it is killed first when it runs.
    ///
    /// It takes the part that Sentinel gave it last, as it is written in its configuration.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// A command and its answer.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A command that may fail: what redis-cli said then.
    pub fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        self.access.ask(arguments)
    }

    /// Writes down every command from now on.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor::of(self)
    }

    /// Everything it holds: the file of SAVE, uncompressed, and all streams as text.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        assert_eq!(self.cli(&["SAVE"]), "OK");
        let file = self.folder.path().join("dump.rdb");
        let mut dump = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        // Numbers and packed lists aren't plain in the file.
        let mut text = String::new();
        for key in self.cli(&["--scan"]).lines() {
            if self.cli(&["TYPE", key]) == "stream" {
                write!(text, "\n{key}\n{}\n", self.cli(&["XRANGE", key, "-", "+"])).unwrap();
            }
        }
        dump.extend(text.into_bytes());
        dump
    }

    fn launched(password: Option<&str>, tls: Option<&Tls>, further: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::free());
        let access = Access { port: port.number(), password: password.map(str::to_owned), tls: tls.cloned() };
        // A file rather than arguments, because Sentinel has it rewritten.
        fs::write(folder.path().join("redis.conf"), configuration(&access, folder.path(), further)).unwrap();
        let mut redis = Self { server: None, folder, port, _bus: None, access };
        redis.launch();
        redis
    }

    fn launch(&mut self) {
        let folder = self.folder.path();
        // A replica leaves what it was sent.
        let _none = fs::remove_file(folder.join("dump.rdb"));
        let mut command = process::command(program("redis-server"));
        command.arg(folder.join("redis.conf")).current_dir(folder);
        let mut server = Server::spawn(&mut command, &folder.join("log"), folder);
        self.access.wait(&mut server, || self.log());
        self.server = Some(server);
    }
}

fn configuration(access: &Access, folder: &Path, further: &str) -> String {
    let folder = folder.display();
    let mut text = format!(
        "bind 127.0.0.1\ndir \"{folder}\"\nsave \"\"\nappendonly no\nrdbcompression no\n\
         rdb-del-sync-files yes\nrepl-diskless-sync-delay 0\nset-proc-title no\n{further}"
    );
    text.push_str(&access.doors());
    if let Some(password) = &access.password {
        writeln!(text, "requirepass \"{password}\"\nmasterauth \"{password}\"").unwrap();
    }
    text
}

impl Access {
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let password = self.password.as_ref().map(|password| format!(":{password}@"));
        format!("{scheme}://{}127.0.0.1:{}", password.unwrap_or_default(), self.port)
    }

    /// Where it listens, and how.
    pub(crate) fn doors(&self) -> String {
        let port = self.port;
        let Some(Tls { certificate, key, authority }) = &self.tls else { return format!("port {port}\n") };
        format!(
            "port 0\ntls-port {port}\ntls-auth-clients no\ntls-replication yes\n\
             tls-cert-file \"{}\"\ntls-key-file \"{}\"\ntls-ca-cert-file \"{}\"\n",
            certificate.display(),
            key.display(),
            authority.display()
        )
    }

    /// Of another server or sentinel that speaks as this one, and asks for nothing.
    pub(crate) fn beside(&self, port: u16) -> Self {
        Self { port, password: None, tls: self.tls.clone() }
    }

    /// The same on another port.
    pub(crate) fn at(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let mut cli = process::client(program("redis-cli"));
        Ok(process::output(self.dress(&mut cli).args(arguments))?.trim_end_matches('\n').to_owned())
    }

    /// Waits until a server that was just started answers.
    pub(crate) fn wait(&self, server: &mut Server, log: impl Fn() -> String) {
        let ready = until(PATIENCE, || {
            assert!(!server.has_ended(), "Redis ended before it answered: {}", log());
            self.ask(&["PING"]).is_ok_and(|answer| answer == "PONG").then_some(())
        });
        assert!(ready.is_some(), "Redis does not answer: {}", log());
    }

    fn dress<'a>(&self, cli: &'a mut Command) -> &'a mut Command {
        // With -e, an error is one of the command too.
        cli.args(["-e", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
        if let Some(password) = &self.password {
            cli.env("REDISCLI_AUTH", password);
        }
        if let Some(tls) = &self.tls {
            cli.arg("--tls").arg("--cacert").arg(&tls.authority);
        }
        cli
    }
}

/// What MONITOR says of a server, with the values of every command.
#[derive(Debug)]
pub struct Monitor {
    _server: Server,
    folder: TempDir,
    access: Access,
}

impl Monitor {
    fn of(redis: &Redis) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut cli = process::command(program("redis-cli"));
        redis.access.dress(&mut cli).arg("MONITOR");
        let server = Server::spawn(&mut cli, &folder.path().join("text"), folder.path());
        let monitor = Self { _server: server, folder, access: redis.access.clone() };
        let begun = until(PATIENCE, || monitor.read().starts_with("OK\n").then_some(()));
        assert!(begun.is_some(), "MONITOR does not begin: {}", monitor.read());
        monitor
    }

    /// Everything up to now. The server must answer: a command of ours marks the place.
    #[must_use]
    pub fn text(&self) -> String {
        static MARKS: AtomicU32 = AtomicU32::new(0);
        let mark = format!("monitor-mark-{}-{}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed));
        self.access.ask(&["ECHO", &mark]).unwrap_or_else(|error| panic!("{error}"));
        let text =
            until(PATIENCE, || Some(self.read()).filter(|text| text.contains(&format!("\"{mark}\"\n"))));
        text.unwrap_or_else(|| panic!("MONITOR has ended: {}", self.read()))
    }

    fn read(&self) -> String {
        fs::read_to_string(self.folder.path().join("text")).unwrap()
    }
}
