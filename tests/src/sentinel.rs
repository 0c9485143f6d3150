//! Three sentinels that watch a Redis primary and its replicas.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{
    Redis,
    process::{self, PATIENCE, Port, Server, program, until},
    redis::Access,
};

/// Under what name they watch it.
pub const NAME: &str = "claviger";

const COUNT: usize = 3;

/// Running sentinels; two of them decide.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    /// How the servers that they watch are reached.
    watched: Access,
}

#[derive(Debug)]
struct Sentinel {
    _server: Server,
    folder: TempDir,
    access: Access,
    _port: Port,
}

impl Sentinels {
    /// Starts them, and waits until they know each other and all replicas.
    #[must_use]
    pub fn start(primary: &Redis, replicas: &[&Redis]) -> Self {
        let sentinels = (0..COUNT).map(|_| Sentinel::start(primary)).collect();
        let sentinels = Self { sentinels, watched: primary.access().clone() };
        let others = ("num-other-sentinels".to_owned(), (COUNT - 1).to_string());
        let slaves = ("num-slaves".to_owned(), replicas.len().to_string());
        let acquainted = until(PATIENCE, || {
            let know = |sentinel: &Sentinel| {
                let known = pairs(&sentinel.ask(&["SENTINEL", "MASTER", NAME]));
                known.contains(&others) && known.contains(&slaves)
            };
            sentinels.sentinels.iter().all(know).then_some(())
        });
        assert!(acquainted.is_some(), "the sentinels do not find each other: {}", sentinels.log());
        sentinels
    }

    /// URL of each sentinel; none asks for a password.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| sentinel.access.url()).collect()
    }

    /// What a node is told of where Redis is.
    #[must_use]
    pub fn hints(&self) -> String {
        let hosts: Vec<String> = self
            .urls()
            .iter()
            .map(|url| url.trim_start_matches("redis://").trim_end_matches('/').to_owned())
            .collect();
        format!("redis+sentinel://{}/{NAME}/0", hosts.join(","))
    }

    /// Who is master, as far as the sentinels agree.
    #[must_use]
    pub fn master_address(&self) -> Option<String> {
        let mut addresses = self.sentinels.iter().map(Sentinel::master);
        let first = addresses.next()?;
        addresses.all(|address| address == first).then_some(first)
    }

    /// Kills the primary, and waits until all sentinels agree on another, which knows that it is one.
    #[must_use]
    pub fn failover(&self, primary: &mut Redis) -> String {
        let before = self.master_address().expect("the sentinels agree");
        assert_eq!(before, primary.address(), "it is not the primary");
        primary.kill();
        let after = until(PATIENCE, || {
            let address = self.master_address().filter(|address| *address != before)?;
            let port = address.rsplit_once(':')?.1.parse().ok()?;
            let role = self.watched.at(port).ask(&["ROLE"]).ok()?;
            role.starts_with("master\n").then_some(address)
        });
        after.unwrap_or_else(|| panic!("the sentinels choose nobody: {}", self.log()))
    }

    /// Everything they have logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.sentinels.iter().map(Sentinel::log).collect()
    }
}

impl Sentinel {
    fn start(primary: &Redis) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), Port::free());
        let file = folder.path().join("sentinel.conf");
        let access = primary.access().beside(port.number());
        fs::write(&file, configuration(primary, &access, folder.path())).unwrap();
        let mut command = process::command(program("redis-server"));
        command.arg(&file).arg("--sentinel").current_dir(folder.path());
        let mut server = Server::spawn(&mut command, &folder.path().join("log"), folder.path());
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        access.wait(&mut server, log);
        Self { _server: server, folder, access, _port: port }
    }

    fn master(&self) -> String {
        self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]).replace('\n', ":")
    }

    fn ask(&self, arguments: &[&str]) -> String {
        self.access.ask(arguments).unwrap_or_else(|error| panic!("{error}"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn configuration(primary: &Redis, access: &Access, folder: &Path) -> String {
    let password = primary.password();
    let password = password.map(|password| format!("sentinel auth-pass {NAME} \"{password}\"\n"));
    format!(
        "bind 127.0.0.1\n{}dir \"{}\"\n\
         sentinel monitor {NAME} 127.0.0.1 {} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\n\
         sentinel failover-timeout {NAME} 3000\n{}",
        access.doors(),
        folder.display(),
        primary.port(),
        password.unwrap_or_default()
    )
}

/// Names and values, which come in turns.
fn pairs(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}
