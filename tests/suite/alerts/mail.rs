//! People who read mail and short messages: a real SMTP server, with TLS from the first byte and after STARTTLS, and a gateway.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use claviger_tests::{Node, process};
use serde_json::{Value, json};

use super::{
    LONG, in_state,
    keeping::{SOON, ending},
    sink::Sink,
};
use crate::{packages, tls::write_pair};

const PASSWORD: &str = "mail-secret-11";

/// A mail server; what it has taken.
pub(super) struct MailServer {
    child: Child,
    pub(super) port: u16,
    taken: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    /// With the pair of a folder.
    pub(super) fn start(mode: &str, folder: &Path) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite/alerts");
        let python = packages::python(&here.join("requirements.txt"), "alerts");
        let mut command = Command::new(python);
        command.arg(here.join("smtp.py")).arg(mode);
        command.args([folder.join("cert.pem"), folder.join("key.pem")]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let taken: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keep = Arc::clone(&taken);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                keep.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, port, taken }
    }

    /// The mail that begins so, once it is there.
    #[track_caller]
    pub(super) fn mail(&self, subject: &str) -> Value {
        let all = || self.taken.lock().unwrap().clone();
        let has = |mail: &Value| unfolded(mail).contains(&format!("Subject: Claviger: {subject}"));
        let found = || all().into_iter().find(has);
        process::until(LONG, found).unwrap_or_else(|| panic!("{subject}: {:?}", all()))
    }

    /// The texts of all, headers unfolded.
    pub(super) fn all(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(unfolded).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Headers may be broken into lines.
fn unfolded(mail: &Value) -> String {
    mail["text"].as_str().unwrap().replace("\r\n ", " ")
}

fn channel(server: &MailServer, tls: &str) -> Value {
    json!({
        "type": "email", "host": "localhost", "port": server.port, "tls": tls, "username": "claviger", "password": PASSWORD,
        "from": "claviger@example.com", "to": "ops@example.com, boss@example.com",
    })
}

#[test]
fn mail_and_short_messages_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let _certificate = write_pair(folder.path());
    let servers = ["tls", "starttls"].map(|mode| MailServer::start(mode, folder.path()));
    let (sms, ca) = (Sink::start(), folder.path().join("cert.pem"));
    let wrong = json!({
        "type": "email", "host": "localhost", "port": servers[0].port, "username": "claviger", "password": "wrong",
        "from": "claviger@example.com", "to": "ops@example.com",
    });
    let gateway = json!({
        "type": "sms", "url": sms.url("/send"), "authorization": "Bearer sms-secret-12",
        "body": r#"{"to": "+4912345", "type": "sms", "message": "{text}"}"#,
    });
    let channels = json!({
        "first": channel(&servers[0], "tls"), "second": channel(&servers[1], "starttls"), "wrong": wrong, "sms": gateway,
    });
    let channels = channels.to_string();
    let mut environment = SOON.to_vec();
    environment.push(("CLAVIGER_CHANNELS", &channels));
    environment.push(("CLAVIGER_TLS__CA_FILE", ca.to_str().unwrap()));
    let node = Node::with(&environment);
    let client = node.client();
    let (id, subject) = ending(&client);
    in_state(&client, ("key_expiry", &subject), "open");
    for server in &servers {
        let mail = server.mail("[warning] key_expiry");
        assert_eq!((&mail["tls"], &mail["user"]), (&json!(true), &json!("claviger")), "{mail}");
        assert_eq!(
            (&mail["from"], mail["to"].as_array().unwrap().len()),
            (&json!("claviger@example.com"), 2)
        );
        assert!(mail["text"].as_str().unwrap().contains("What to do: https://"), "{mail}");
    }
    let posted = &sms.wait("sms", 1)[0];
    assert_eq!(
        (posted.path.as_str(), posted.headers["authorization"].as_str()),
        ("/send", "Bearer sms-secret-12")
    );
    let message = posted.json()["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("[warning] key_expiry") && message.len() <= 160, "{message}");
    // A server that does not let us in is a reason, not a word of what was said.
    let refused = || {
        let all = client.get("/v1/alerts/deliveries").expect(200);
        let all = all["items"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["channel"] == "wrong" && one["last_error"].is_string())
    };
    let refused = process::until(LONG, refused).expect("it is not let in");
    assert!(
        refused["last_error"].as_str().unwrap().starts_with("the mail server answered with 5"),
        "{refused}"
    );
    client.send("DELETE", &format!("/v1/api-keys/{id}"), None, &[]).expect(204);
    servers[0].mail("[cleared] key_expiry");
    servers[1].mail("[cleared] key_expiry");
    assert_eq!((servers[0].count(), servers[1].count()), (2, 2));
    let log = node.log();
    assert!(!log.contains(PASSWORD) && !log.contains("sms-secret-12"), "{log}");
}

/// A server whose certificate nobody has vouched for gets nothing, least of all the password.
#[test]
fn a_mail_server_that_can_not_be_trusted_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let _certificate = write_pair(folder.path());
    let server = MailServer::start("tls", folder.path());
    let channels = json!({ "mail": channel(&server, "tls") }).to_string();
    let mut environment = SOON.to_vec();
    environment.push(("CLAVIGER_CHANNELS", &channels));
    let node = Node::with(&environment);
    let client = node.client();
    let _key = ending(&client);
    let refused = || {
        let all = client.get("/v1/alerts/deliveries").expect(200);
        all["items"].as_array().unwrap().iter().find(|one| one["last_error"].is_string()).cloned()
    };
    let refused = process::until(LONG, refused).expect("it is not trusted");
    assert_ne!(refused["state"], "done");
    assert_eq!(server.count(), 0);
}
