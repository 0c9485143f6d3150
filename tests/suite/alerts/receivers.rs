//! Whoever is told of every alert: a webhook and a mail server, both real.

use std::{collections::BTreeSet, path::Path};

use claviger_tests::process;
use serde_json::{Value, json};

use super::{
    LONG,
    mail::MailServer,
    sink::{SECRET, Sink},
};

/// One of each kind; they live as long as the test.
pub(super) struct Receivers {
    sink: Sink,
    mail: MailServer,
}

impl Receivers {
    pub(super) fn start() -> Self {
        // Without TLS the server looks at no certificate.
        Self { sink: Sink::start(), mail: MailServer::start("plain", Path::new("")) }
    }

    /// The setting that has nodes tell them.
    pub(super) fn channels(&self) -> String {
        let channels = json!({
            "hook": {"type": "webhook", "url": self.sink.url("/"), "secret": SECRET},
            "mail": {"type": "email", "host": "127.0.0.1", "port": self.mail.port, "tls": "none", "from": "us@example.com", "to": "ops@example.com"},
        });
        channels.to_string()
    }

    /// Both have got the beginning and the end of an alert, each as one message; a node that was cut off may have sent one twice.
    #[track_caller]
    pub(super) fn got(&self, alert: &Value) {
        let id = alert["id"].as_str().unwrap();
        for kind in ["alert.raised", "alert.cleared"] {
            let hooks = || -> BTreeSet<String> {
                let posted = self.sink.posted(kind).into_iter();
                let about = posted.filter(|posted| posted.json()["data"]["alert"] == id);
                about.map(|posted| posted.headers["webhook-id"].clone()).collect()
            };
            let mails = || -> BTreeSet<String> {
                let all = self.mail.all().into_iter();
                let of_kind = all.filter(|mail| mail.contains("[cleared]") == (kind == "alert.cleared"));
                let about = of_kind.filter(|mail| mail.contains(&format!("Alert {id}")));
                about
                    .filter_map(|mail| {
                        mail.lines().find(|line| line.starts_with("Message-ID")).map(str::to_owned)
                    })
                    .collect()
            };
            let both = || (!hooks().is_empty() && !mails().is_empty()).then_some(());
            process::until(LONG, both)
                .unwrap_or_else(|| panic!("{kind} of {alert}: {:?} {:?}", hooks(), mails()));
            assert_eq!((hooks().len(), mails().len()), (1, 1), "{kind} of {alert}");
        }
    }
}
