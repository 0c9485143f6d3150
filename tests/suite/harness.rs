//! The harness itself: what the tests of clusters build on does what it says.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use chrono::DateTime;
use claviger_tests::{
    Node, Postgres, Proxy, Redis, Sentinels,
    authority::Tls,
    clock,
    process::{PATIENCE, until},
};

/// An echo server; it ends with the process.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut from, mut to) =
                (stream.as_ref().unwrap(), stream.as_ref().unwrap().try_clone().unwrap());
            let _broken = std::io::copy(&mut from, &mut to);
        }
    });
    address
}

/// A connection on which nothing waits longer than a second.
fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream
}

/// What comes back of a byte: nothing, or the end, or an error.
fn ping(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.write_all(b"x")?;
    stream.read(&mut [0; 1])
}

fn ping_line(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    let count = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
}

fn times_out(answer: &std::io::Result<usize>) -> bool {
    matches!(answer, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn postgres_keeps_what_was_committed() {
    let mut postgres = Postgres::start();
    let url = postgres.url();
    let _none = postgres.psql("CREATE TABLE kept (id int, what bytea); INSERT INTO kept VALUES (1, 'abc')");
    postgres.kill();
    assert!(postgres.try_psql("SELECT 1").is_err());
    postgres.restart();
    assert_eq!(postgres.url(), url);
    assert_eq!(postgres.psql("SELECT id, what FROM kept"), r"1|\x616263");
    let dump = postgres.dump();
    assert!(dump.contains(r"INSERT INTO public.kept VALUES (1, '\x616263')"), "{dump}");
    assert_eq!(dump, postgres.dump());
    let settings = "SHOW fsync; SHOW synchronous_commit; SHOW max_connections";
    assert_eq!(postgres.psql(settings), "off\non\n300");
    assert_eq!(Postgres::durable().psql(settings), "on\non\n300");
    assert_eq!(postgres.admin("SELECT rolsuper FROM pg_roles WHERE rolname = 'claviger'"), "f");
    let error = postgres.try_psql("SELECT 1/0").unwrap_err();
    assert!(error.contains("division by zero"), "{error}");
}

#[test]
fn two_of_postgres_know_nothing_of_each_other() {
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(Postgres::start);
        let other = scope.spawn(Postgres::start);
        (one.join().unwrap(), other.join().unwrap())
    });
    let _none = one.psql("CREATE TABLE lonely (id int)");
    assert_ne!(one.port(), other.port());
    assert!(other.try_psql("SELECT * FROM lonely").unwrap_err().contains("does not exist"));
    let url = one.create_database("further");
    assert!(url.ends_with("/further"), "{url}");
    assert_eq!(one.psql_in("further", "CREATE TABLE t (id int); SELECT count(*) FROM t"), "0");
    assert!(other.dump().lines().all(|line| !line.contains("lonely")));
}

#[test]
fn postgres_is_rewound() {
    let mut postgres = Postgres::start();
    let _none = postgres.psql("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)");
    let copy = postgres.copy_data();
    let _none = postgres.psql("INSERT INTO kept VALUES (2)");
    postgres.restore_data(&copy);
    assert_eq!(postgres.psql("SELECT id FROM kept"), "1");
}

#[test]
fn postgres_stops_as_a_whole() {
    let mut postgres = Postgres::start();
    thread::scope(|scope| {
        // Long enough to be seen, and over long before it is looked for.
        let running = scope.spawn(|| postgres.psql("SELECT 'slept' FROM pg_sleep(1)"));
        postgres.until_waiting("wait_event = 'PgSleep'", 1);
        postgres.stop();
        let late = scope.spawn(|| postgres.psql("SELECT 'late'"));
        let early = || (running.is_finished() || late.is_finished()).then_some(());
        assert_eq!(until(Duration::from_secs(2), early), None);
        postgres.resume();
        assert_eq!((running.join().unwrap().as_str(), late.join().unwrap().as_str()), ("slept", "late"));
    });
    // It ends, although it's stopped.
    postgres.stop();
    postgres.kill();
    postgres.restart();
    assert_eq!(postgres.psql("SELECT 1"), "1");
}

#[test]
fn redis_forgets_when_it_is_killed() {
    let mut redis = Redis::start();
    let monitor = redis.monitor();
    assert_eq!(redis.cli(&["SET", "greeting", "hello"]), "OK");
    assert_eq!(redis.cli(&["GET", "greeting"]), "hello");
    assert!(monitor.text().contains(r#""SET" "greeting" "hello""#), "{}", monitor.text());
    let _id = redis.cli(&["XADD", "events", "*", "number", "4711"]);
    // Of this length it would be compressed.
    let _ok = redis.cli(&["SET", "long", &"needle".repeat(100)]);
    let dump = String::from_utf8_lossy(&redis.dump()).into_owned();
    assert!(
        ["hello", "number\n4711", &"needle".repeat(100)].iter().all(|part| dump.contains(part)),
        "{dump}"
    );
    redis.stop();
    thread::scope(|scope| {
        let asked = scope.spawn(|| redis.cli(&["GET", "greeting"]));
        assert_eq!(until(Duration::from_secs(1), || asked.is_finished().then_some(())), None);
        redis.resume();
        assert_eq!(asked.join().unwrap(), "hello");
    });
    let url = redis.url();
    redis.kill();
    assert!(redis.try_cli(&["PING"]).is_err());
    redis.restart();
    assert_eq!((redis.cli(&["DBSIZE"]), redis.url()), ("0".to_owned(), url));
    assert!(redis.try_cli(&["NONSENSE"]).unwrap_err().contains("unknown command"));
}

#[test]
fn redis_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    super::tls::write_pair(folder.path());
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let redis = Redis::with_tls(&Tls { authority: certificate.clone(), certificate, key });
    assert!(redis.url().starts_with("rediss://"), "{}", redis.url());
    assert_eq!(redis.cli(&["SET", "greeting", "hello"]), "OK");
    assert_eq!(redis.cli(&["GET", "greeting"]), "hello");
    // Nothing else is understood.
    let mut plain = TcpStream::connect(redis.address()).unwrap();
    assert!(!matches!(ping_line(&mut plain), Ok(answer) if answer.starts_with("+PONG")));
}

/// Runs itself, and is killed in the middle, with a server that is stopped and so can't notice anything.
#[test]
fn a_killed_test_leaves_nothing() {
    const FILE: &str = "HARNESS_LEFT_BEHIND";
    if let Some(file) = std::env::var_os(FILE) {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let pids = postgres.admin("SELECT pid FROM pg_stat_activity");
        let redis = redis.cli(&["INFO", "server"]);
        let redis = redis.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        postgres.stop();
        let data = postgres.data();
        let draft = Path::new(&file).with_extension("draft");
        std::fs::write(&draft, format!("{}\n{pids}\n{redis}", data.display())).unwrap();
        std::fs::rename(draft, file).unwrap();
        loop {
            thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("left");
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["harness::a_killed_test_leaves_nothing", "--exact", "--nocapture"]).env(FILE, &file);
    let mut test = test.spawn().unwrap();
    let left = until(PATIENCE, || std::fs::read_to_string(&file).ok());
    test.kill().unwrap();
    test.wait().unwrap();
    let left = left.expect("it has started both");
    let (data, pids) = left.split_once('\n').unwrap();
    assert!(pids.lines().count() > 3, "{pids}");
    let lives = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    let gone = || (!pids.lines().any(lives) && !Path::new(data).exists()).then_some(());
    assert!(until(PATIENCE, gone).is_some(), "{left}");
}

#[test]
fn sentinels_choose_another() {
    let mut primary = Redis::with_password("test-redis-5e0c");
    let replicas = [Redis::replica_of(&primary), Redis::replica_of(&primary)];
    let sentinels = Sentinels::start(&primary, &[&replicas[0], &replicas[1]]);
    assert_eq!(sentinels.urls().len(), 3);
    assert_eq!(sentinels.master_address(), Some(primary.address()));
    assert_eq!(primary.cli(&["SET", "kept", "yes"]), "OK");
    assert_eq!(primary.cli(&["WAIT", "2", "10000"]), "2");
    let address = sentinels.failover(&mut primary);
    let chosen = replicas.iter().find(|replica| replica.address() == address).unwrap();
    assert_eq!(chosen.cli(&["GET", "kept"]), "yes");
    assert_eq!(chosen.cli(&["SET", "new", "yes"]), "OK");
    // The one that comes back has to follow, and hangs up on whoever asks it while it begins to.
    primary.restart();
    let follows = || primary.try_cli(&["GET", "new"]).is_ok_and(|kept| kept == "yes").then_some(());
    assert!(until(PATIENCE, follows).is_some(), "{}", sentinels.log());
}

#[test]
fn a_proxy_forwards_and_holds_up() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(ping(&mut stream).unwrap(), 1);
    proxy.delay(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(ping(&mut stream).unwrap(), 1);
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    proxy.delay(Duration::ZERO);
    // Nothing is lost of what is more than a window, and the end arrives.
    let sent: Vec<u8> = (0..8_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let mut received = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        (&stream).read_to_end(&mut received).unwrap();
    });
    assert!(received == sent);
    assert!(until(PATIENCE, || (proxy.connections() == 0).then_some(())).is_some());
}

#[test]
fn a_proxy_is_a_black_hole_until_it_heals() {
    let proxy = Proxy::to(echo());
    let mut before = connect(&proxy);
    assert_eq!(ping(&mut before).unwrap(), 1);
    proxy.cut();
    let mut during = connect(&proxy);
    assert!(times_out(&ping(&mut before)));
    assert!(times_out(&ping(&mut during)));
    proxy.heal();
    for mut stream in [before, during] {
        let answer = ping(&mut stream);
        assert!(!times_out(&answer) && !matches!(answer, Ok(1)), "{answer:?}");
    }
    assert_eq!(ping(&mut connect(&proxy)).unwrap(), 1);
}

#[test]
fn a_proxy_swallows_answers_only() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut stream = connect(&proxy);
    proxy.cut_answers();
    stream.write_all(b"SET done yes\r\n").unwrap();
    let answer = stream.read(&mut [0; 1]);
    assert!(times_out(&answer), "{answer:?}");
    assert!(until(PATIENCE, || redis.cli(&["GET", "done"]).eq("yes").then_some(())).is_some());
}

#[test]
fn a_proxy_refuses_until_it_heals() {
    let proxy = Proxy::to(echo());
    let mut before = connect(&proxy);
    assert_eq!(ping(&mut before).unwrap(), 1);
    proxy.reset();
    assert!(!times_out(&ping(&mut before)));
    let refused = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    proxy.heal();
    assert_eq!(ping(&mut connect(&proxy)).unwrap(), 1);
    proxy.reset();
    proxy.cut();
    assert!(times_out(&ping(&mut connect(&proxy))));
}

#[test]
fn clocks_are_skewed() {
    let seconds = |offset: Option<i64>| -> i64 {
        let output =
            Command::new("date").arg("+%s").envs(offset.map(clock::skewed).unwrap_or_default()).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().parse().unwrap()
    };
    for offset in [300, -86_400] {
        let (before, skewed, after) = (seconds(None), seconds(Some(offset)), seconds(None));
        assert!((before + offset..=after + offset).contains(&skewed), "{before} {skewed} {after}");
    }
    let date = |node: &Node| {
        let answer = node.client().get("/healthz");
        DateTime::parse_from_rfc2822(answer.header("date")).unwrap().timestamp()
    };
    let (before, skewed) = (date(&Node::start()), date(&clock::node(3600, &[])));
    assert!((3600..3660).contains(&(skewed - before)), "{before} {skewed}");
}
