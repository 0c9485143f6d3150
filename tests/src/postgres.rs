//! A PostgreSQL server of its own.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{
    authority::Tls,
    process::{self, PATIENCE, Port, Server, run, until},
};

/// Role that owns the databases; it may create more, and nothing else.
pub const USER: &str = "claviger";
/// Password of both roles.
pub const PASSWORD: &str = "test-postgres-9c41f0be77";
/// The database that is there from the start.
pub const DATABASE: &str = "claviger";
/// The superuser.
const ADMIN: &str = "postgres";

/// To be raised when `template` makes something else.
const LAYOUT: u32 = 1;

/// A running server in a folder of its own.
#[derive(Debug)]
pub struct Postgres {
    server: Option<Server>,
    programs: PathBuf,
    settings: Vec<String>,
    folder: TempDir,
    port: Port,
}

/// The data folder of a server, as it was at rest.
#[derive(Debug)]
pub struct Copy(TempDir);

impl Postgres {
    /// Starts a server with defaults.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server that outlives a loss of power, as those that are measured do.
    #[must_use]
    pub fn durable() -> Self {
        Self::with(&["fsync=on"])
    }

    /// Starts a server with further settings, each `name=value`.
    #[must_use]
    pub fn with(settings: &[&str]) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// Starts a server that speaks TLS to whoever asks for it.
    #[must_use]
    pub fn with_tls(tls: &Tls) -> Self {
        let settings = ["ssl=on", "ssl_cert_file=../server.pem", "ssl_key_file=../server.key"];
        Self::prepared(&settings, |folder| {
            // It insists on a key of its own.
            for (from, to) in [(&tls.certificate, "server.pem"), (&tls.key, "server.key")] {
                let to = folder.join(to);
                fs::copy(from, &to).unwrap();
                give(&to);
            }
        })
    }

    fn prepared(settings: &[&str], prepare: impl Fn(&Path)) -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        give(folder.path());
        run(process::command("tar").arg("-xpf").arg(template(&programs)).arg("-C").arg(folder.path()));
        prepare(folder.path());
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut postgres = Self { server: None, programs, settings, folder, port: Port::free() };
        postgres.launch();
        postgres
    }

    /// URL of the database `claviger`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_via(self.port())
    }

    /// The same through another port, which is a proxy's.
    #[must_use]
    pub fn url_via(&self, port: u16) -> String {
        url(port, DATABASE)
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

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGSTOP to all of its processes: it holds its connections, and answers nothing.
    pub fn stop(&self) {
        self.server.as_ref().expect("it runs").stop();
    }

    /// SIGCONT to all of its processes.
    pub fn resume(&self) {
        self.server.as_ref().expect("it runs").resume();
    }

    /// Immediate shutdown: connections break, and what was not committed is lost.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.end("QUIT");
        }
    }

    /// Starts it again, on the same port and data; it is killed first when it runs.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    /// Shuts it down cleanly, copies its data and starts it again when it ran.
    #[must_use]
    pub fn copy_data(&mut self) -> Copy {
        let ran = self.rest();
        let copy = Copy(tempfile::tempdir().unwrap());
        run(process::command("cp").arg("-a").arg(self.data()).arg(copy.0.path()));
        if ran {
            self.launch();
        }
        copy
    }

    /// Puts the data back to a copy: a database that knows nothing of what came later. It is started again when it ran.
    pub fn restore_data(&mut self, copy: &Copy) {
        let ran = self.rest();
        fs::remove_dir_all(self.data()).unwrap();
        run(process::command("cp").arg("-a").arg(copy.0.path().join("data")).arg(self.folder.path()));
        if ran {
            self.launch();
        }
    }

    /// Runs SQL as the owner of the database: rows by lines, columns by `|`.
    #[must_use]
    pub fn psql(&self, sql: &str) -> String {
        self.ask(DATABASE, USER, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same in another database.
    #[must_use]
    pub fn psql_in(&self, database: &str, sql: &str) -> String {
        self.ask(database, USER, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same as the superuser.
    #[must_use]
    pub fn admin(&self, sql: &str) -> String {
        self.ask(DATABASE, ADMIN, sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Holds the row behind which changes of the ring stand in line, and comes back when it does not any more.
    pub fn hold_ring(&self, seconds: u64) {
        let _row = self.psql(&format!("SELECT id FROM ring_meta FOR UPDATE; SELECT pg_sleep({seconds})"));
    }

    /// Comes back once so many connections wait as a condition on `pg_stat_activity` says.
    pub fn until_waiting(&self, wait: &str, count: usize) {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {wait}");
        let count = count.to_string();
        until(PATIENCE, || (self.admin(&sql).trim() == count).then_some(())).expect(wait);
    }

    /// Runs SQL that may fail: what psql said then.
    pub fn try_psql(&self, sql: &str) -> Result<String, String> {
        self.ask(DATABASE, USER, sql)
    }

    /// Creates a further database of the same owner, and returns its URL.
    #[must_use]
    pub fn create_database(&self, name: &str) -> String {
        let _tag = self.psql(&format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
        url(self.port(), name)
    }

    /// Schema and rows of every database as SQL; binary columns are in hexadecimal. Two dumps of the same rows are equal.
    #[must_use]
    pub fn dump(&self) -> String {
        let databases =
            self.admin("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1");
        let mut text = String::new();
        for database in databases.lines() {
            let mut dump = self.client("pg_dump", ADMIN);
            let dump = run(dump.args(["--inserts", "--dbname", database]));
            // psql's guard is another word each time.
            let lines = dump.lines().filter(|line| !line.starts_with(['\\']) || !line.contains("restrict "));
            lines.for_each(|line| writeln!(text, "{line}").unwrap());
        }
        text
    }

    fn ask(&self, database: &str, user: &str, sql: &str) -> Result<String, String> {
        let mut psql = self.client("psql", user);
        psql.args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql]);
        Ok(process::output(&mut psql)?.trim_end_matches('\n').to_owned())
    }

    fn client(&self, program: &str, user: &str) -> Command {
        let mut client = process::client(self.programs.join(program));
        client.args(["-h", "127.0.0.1", "-U", user, "-p"]).arg(self.port().to_string());
        client.env("PGPASSWORD", PASSWORD);
        client
    }

    fn launch(&mut self) {
        let folder = self.folder.path();
        let mut command = as_server(self.programs.join("postgres"));
        command.current_dir(folder).arg("-D").arg(self.data()).args(["-p", &self.port().to_string()]);
        command.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
        let fixed = [
            "listen_addresses=127.0.0.1",
            "max_connections=300",
            "synchronous_commit=on",
            // What it has written to the kernel outlives it, however it ends: only the machine's own end would need this. A disk
            // that others keep busy would stall it for seconds.
            "fsync=off",
            // Shared memory that goes with the folder, however the server ends.
            "dynamic_shared_memory_type=mmap",
        ];
        for setting in fixed.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let mut server = Server::spawn(&mut command, &folder.join("log"), folder);
        let pid = server.pid().to_string();
        // What pg_ctl waits for, too.
        let ready = until(PATIENCE, || {
            assert!(!server.has_ended(), "PostgreSQL ended before it accepted: {}", self.log());
            let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
            let lines: Vec<&str> = file.lines().map(str::trim).collect();
            (lines.first() == Some(&pid.as_str()) && lines.get(7) == Some(&"ready")).then_some(())
        });
        assert!(ready.is_some(), "PostgreSQL does not accept: {}", self.log());
        self.server = Some(server);
    }

    /// Shuts it down cleanly; whether it ran.
    fn rest(&mut self) -> bool {
        let server = self.server.take();
        let ran = server.is_some();
        if let Some(server) = server {
            server.end("INT");
        }
        ran
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}")
}

/// The folder of the server's programs. Debian keeps it out of `PATH`, where there are but wrappers of the clients.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    let whole = |folder: &PathBuf| {
        ["initdb", "postgres", "psql", "pg_dump"].iter().all(|name| folder.join(name).is_file())
    };
    folders.into_iter().find(whole).expect("PostgreSQL's server is not installed; run `make tools`")
}

/// A data folder with roles and database, as an archive; made once per version and machine, since initdb takes seconds.
///
/// An archive appears and disappears as a whole, whichever test made it first and whoever cleans up.
fn template(programs: &Path) -> PathBuf {
    let version = run(process::command(programs.join("postgres")).arg("--version"));
    let words = version.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let version = words.collect::<Vec<_>>().join("-");
    let archive = format!("claviger-{version}-{LAYOUT}-{}.tar", process::user());
    let archive = std::env::temp_dir().join(archive);
    if let Ok(found) = fs::symlink_metadata(&archive) {
        let ours = found.is_file() && found.uid() == process::user();
        assert!(ours, "{} is another's", archive.display());
        return archive;
    }
    let folder = tempfile::tempdir().unwrap();
    give(folder.path());
    let (data, password) = (folder.path().join("data"), folder.path().join("password"));
    fs::write(&password, PASSWORD).unwrap();
    give(&password);
    let mut initdb = as_server(programs.join("initdb"));
    initdb.args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-U", ADMIN]);
    run(initdb.arg("--pwfile").arg(&password).arg("-D").arg(&data).current_dir(folder.path()));
    // One command a line, without a server that others could reach.
    let sql = folder.path().join("sql");
    let role = format!("CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'");
    fs::write(&sql, format!("{role}\nCREATE DATABASE {DATABASE} OWNER {USER}\n")).unwrap();
    let mut single = as_server(programs.join("postgres"));
    single.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(&data).arg("postgres");
    let made = single.current_dir(folder.path()).stdin(File::open(&sql).unwrap()).stdout(Stdio::null());
    let made = made.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Made beside its place, because renaming doesn't cross file systems.
    let draft = tempfile::Builder::new().tempfile_in(std::env::temp_dir()).unwrap();
    run(process::command("tar").arg("-C").arg(folder.path()).arg("-cf").arg(draft.path()).arg("data"));
    draft.persist(&archive).unwrap();
    archive
}

/// A command of the server, which refuses to run as root.
fn as_server(program: PathBuf) -> Command {
    let mut command = process::command(program);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Gives a file or folder to the server's user, and to nobody else.
fn give(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
    let mode = if path.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Whose the server's processes are when the tests are root's.
fn server_user() -> Option<(u32, u32)> {
    (process::user() == 0).then(|| {
        let id = |flag| {
            run(process::command("id").args([flag, ADMIN])).trim().parse().expect("the id of user postgres")
        };
        (id("-u"), id("-g"))
    })
}
