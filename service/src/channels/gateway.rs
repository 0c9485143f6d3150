//! Whatever takes a text over HTTP, such as a gateway of short messages: what is posted is made of a template.

use std::{io, path::Path};

use claviger_actors::alerts::{Parcel, Undelivered};
use claviger_config::Gateway;
use zeroize::Zeroizing;

use super::{WITHIN, taken, text};
use crate::outgoing::{Outgoing, OutgoingUrl, form_encode};

/// A gateway, and what it takes.
pub(super) struct Post {
    outgoing: Outgoing,
    url: OutgoingUrl,
    content_type: String,
    authorization: Option<Zeroizing<String>>,
    body: Zeroizing<String>,
}

impl Post {
    /// As configured; nobody is told yet.
    ///
    /// # Errors
    /// TLS can't be set up.
    pub(super) fn new(settings: &Gateway, ca_file: Option<&Path>) -> io::Result<Self> {
        let invalid = |rule| io::Error::new(io::ErrorKind::InvalidInput, rule);
        let url = OutgoingUrl::parse(&settings.url).map_err(invalid)?;
        Ok(Self {
            outgoing: Outgoing::new(ca_file, url.is_plain())?,
            url,
            content_type: settings.content_type.clone(),
            authorization: settings.authorization.clone(),
            body: settings.body.clone(),
        })
    }

    /// Posts the template with the text in it.
    pub(super) async fn tell(&self, parcel: &Parcel) -> Result<(), Undelivered> {
        let body = filled(&self.body, &self.content_type, &text::short(parcel));
        let headers: Vec<(&str, &str)> = self
            .authorization
            .iter()
            .map(|authorization| ("authorization", authorization.as_str()))
            .collect();
        taken(self.outgoing.post_text(&self.url, (&self.content_type, body), &headers, WITHIN).await)
    }
}

/// The template with every `{text}` replaced, escaped as the type of the body needs it.
fn filled(template: &str, content_type: &str, text: &str) -> String {
    let escaped = if content_type.starts_with("application/json") {
        let quoted = serde_json::to_string(text).unwrap_or_default();
        quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        let mut encoded = String::new();
        form_encode(text, &mut encoded);
        encoded
    } else {
        text.to_owned()
    };
    template.replace("{text}", &escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_the_body_needs_it() {
        let text = "\"a\" & b\\c\n+ä";
        let json = filled(r#"{"to": "1", "text": "{text}"}"#, "application/json; charset=utf-8", text);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["text"], text);
        let form = filled("to=1&text={text}", "application/x-www-form-urlencoded", text);
        assert_eq!(form, "to=1&text=%22a%22+%26+b%5Cc%0A%2B%C3%A4");
        assert_eq!(filled("{text}!", "text/plain", text), format!("{text}!"));
        assert_eq!(filled("x", "text/plain", "y"), "x");
        // One that begins and ends with a quote.
        assert_eq!(filled("{text}", "application/json", "\"\""), "\\\"\\\"");
    }
}
