//! Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA-256 over id, time and body, one for each secret while it is replaced.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use claviger_crypto::digest;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The headers of a message; the same message has the same id, however often it is sent.
pub(super) fn headers(
    id: Uuid,
    timestamp: i64,
    body: &str,
    secrets: &[Zeroizing<Vec<u8>>],
) -> [(&'static str, String); 3] {
    let id = format!("msg_{}", id.simple());
    let signed = format!("{id}.{timestamp}.{body}");
    let signatures = secrets.iter().map(|secret| {
        format!("v1,{}", BASE64_STANDARD.encode(digest::hmac_sha256(secret, &[signed.as_bytes()])))
    });
    let signature = signatures.collect::<Vec<_>>().join(" ");
    [("webhook-id", id), ("webhook-timestamp", timestamp.to_string()), ("webhook-signature", signature)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, with its own id.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = Zeroizing::new(BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let signed = "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}";
        let signature = BASE64_STANDARD.encode(digest::hmac_sha256(&secret, &[signed.as_bytes()]));
        assert_eq!(signature, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = Zeroizing::new(vec![7; 32]);
        let [id, time, signature] = headers(Uuid::nil(), 5, "{}", &[secret.clone(), other]);
        assert_eq!(id, ("webhook-id", format!("msg_{}", "0".repeat(32))));
        assert_eq!(time, ("webhook-timestamp", "5".to_owned()));
        let expected = digest::hmac_sha256(&secret, &[format!("{}.5.{{}}", id.1).as_bytes()]);
        let (first, second) = signature.1.split_once(' ').unwrap();
        assert_eq!(first, format!("v1,{}", BASE64_STANDARD.encode(expected)));
        assert!(second.starts_with("v1,") && second != first);
    }
}
