//! The ways to tell people of alerts and incidents.
//!
//! What is told is the same over all of them; what it looks like is made in [`text`] and the file of each way. Nothing of where it goes, or of what
//! proves who we are there, is ever in an error: addresses of webhooks are secrets.

mod email;
mod gateway;
mod sign;
mod text;

use std::{collections::BTreeMap, io, path::Path, time::Duration};

use async_trait::async_trait;
use claviger_actors::alerts::{Deliver, Parcel, Undelivered};
use claviger_config::{Channel, ChannelKind};
use serde_json::json;
use zeroize::Zeroizing;

use self::{email::Mailer, gateway::Post};
use crate::outgoing::{Outgoing, OutgoingError, OutgoingUrl};

/// Longest time for one try.
const WITHIN: Duration = Duration::from_secs(10);

/// Everybody who can be told.
pub struct Channels(BTreeMap<String, Way>);

enum Way {
    Webhook { outgoing: Outgoing, url: OutgoingUrl, secrets: Vec<Zeroizing<Vec<u8>>> },
    Slack { outgoing: Outgoing, url: OutgoingUrl },
    Email(Mailer),
    Gateway(Post),
}

impl Channels {
    /// As configured; nobody is told yet.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub fn new(settings: &[Channel], ca_file: Option<&Path>) -> io::Result<Self> {
        let ways = settings.iter().map(|channel| Ok((channel.name.clone(), way(&channel.kind, ca_file)?)));
        ways.collect::<io::Result<_>>().map(Self)
    }
}

fn way(kind: &ChannelKind, ca_file: Option<&Path>) -> io::Result<Way> {
    let place = |url: &str| {
        let url =
            OutgoingUrl::parse(url).map_err(|rule| io::Error::new(io::ErrorKind::InvalidInput, rule))?;
        Ok::<_, io::Error>((Outgoing::new(ca_file, url.is_plain())?, url))
    };
    Ok(match kind {
        ChannelKind::Webhook { url, secrets } => {
            let (outgoing, url) = place(url)?;
            Way::Webhook { outgoing, url, secrets: secrets.clone() }
        }
        ChannelKind::Slack { url } => {
            let (outgoing, url) = place(url)?;
            Way::Slack { outgoing, url }
        }
        ChannelKind::Email(settings) => Way::Email(Mailer::new(settings, ca_file)?),
        ChannelKind::Gateway(settings) => Way::Gateway(Post::new(settings, ca_file)?),
    })
}

#[async_trait]
impl Deliver for Channels {
    async fn deliver(&self, channel: &str, parcel: &Parcel) -> Result<(), Undelivered> {
        // Another release, or another node, may know more of them.
        let missing = || Undelivered::Now("this node has no channel of this name".to_owned());
        match self.0.get(channel).ok_or_else(missing)? {
            Way::Webhook { outgoing, url, secrets } => {
                let body = text::event(parcel);
                let headers = sign::headers(parcel.id, now(), &body, secrets);
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                taken(outgoing.post_text(url, ("application/json", body), &headers, WITHIN).await)
            }
            Way::Slack { outgoing, url } => {
                let body = json!({ "text": text::sentence(parcel) }).to_string();
                taken(outgoing.post_text(url, ("application/json", body), &[], WITHIN).await)
            }
            Way::Email(mailer) => mailer.tell(parcel).await,
            Way::Gateway(post) => post.tell(parcel).await,
        }
    }
}

/// Seconds since the epoch by the machine's clock, which the receiver judges by its own.
fn now() -> i64 {
    use claviger_actors::clock::{Clock as _, SystemClock};
    SystemClock.now().timestamp()
}

/// Any 2xx is a yes; 410 says never to come again.
fn taken(answer: Result<u16, OutgoingError>) -> Result<(), Undelivered> {
    match answer {
        Ok(200..=299) => Ok(()),
        Ok(410) => Err(Undelivered::Never("the receiver answered 410: it is gone".to_owned())),
        Ok(status) => Err(Undelivered::Now(format!("the receiver answered with status {status}"))),
        Err(error) => Err(Undelivered::Now(format!("the receiver: {error}"))),
    }
}
