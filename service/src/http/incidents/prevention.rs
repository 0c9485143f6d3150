//! What to do so that it does not happen again.

use claviger_actors::incidents::{Principal, Target};

/// Sentences, the most urgent first.
pub(super) fn steps(target: &Target) -> Vec<&'static str> {
    let common = [
        "Look through the uses above for principals and addresses that nobody knows, and open an incident on each that is not theirs.",
        "Run claviger scan over repositories, images and environment dumps, and revoke what it finds live.",
    ];
    let own: &[&'static str] = match target {
        Target::Key(_) => &[
            "Encrypt anew what clients hold under the compromised version: POST /v1/keys/{name}/rewrap opens it with allow_compromised and the permission key.rescue.",
            "Narrow the policies that permit this key to those principals that have used it.",
            "Shorten rotation.every of the key, and claims.max_ttl if it makes tokens.",
        ],
        Target::Principal(principal) => match Principal::of(principal) {
            Principal::ApiKey(_) => &[
                "Give the program a new API key with an expiry and only the roles that it has used; keep it in a file or a secret store, not in the environment of a build.",
                "Read what the API key has changed above, and undo what should not be.",
            ],
            Principal::Device(_) => &[
                "Approve the device again only once it has another key pair.",
                "Have devices approved by somebody other than their users.",
            ],
            Principal::Subject(_) => &[
                "Have the user sign in again with a second factor, and close the incident when they have: until then no token of theirs is a credential here.",
                "Shorten tokens.access_ttl for what the user may do.",
            ],
        },
        Target::Issuer(_) => &[
            "Ask the issuer which of its keys is in other hands and since when; close the incident once its key set is without it.",
            "Name fewer subjects in the roles of the issuer, and an audience of its own for this deployment.",
        ],
        Target::Node(_) => &[
            "Replace the machine; a node knows the master, so treat the store as in other hands (all: true) unless the node's memory and files can't have been read.",
            "Give the database role of the nodes another password, and put another master in use: claviger seal rotate.",
        ],
        Target::All(_) => &[
            "Put another master in use (claviger seal rotate) and destroy copies and backups of the database under the old one.",
            "API keys are kept as keyed hashes; give new ones to principals whose credentials passed through whatever leaked.",
        ],
    };
    own.iter().chain(&common).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_something_to_do_about_everything() {
        let targets = [
            Target::All(true),
            Target::Node("n".to_owned()),
            Target::Issuer("i".to_owned()),
            Target::Principal("s".to_owned()),
            Target::Principal("0".repeat(32)),
            Target::Principal("0".repeat(64)),
        ];
        for target in targets {
            assert!(steps(&target).len() >= 4, "{target:?}");
        }
    }
}
