//! Which command lines are understood.

use clap::{CommandFactory as _, Parser as _};

use super::*;

#[test]
fn the_commands_are_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_is_understood() {
    for line in [
        "serve --config c.toml",
        "openapi",
        "migrate",
        "doctor --json --strict --config c.toml",
        "healthcheck --url http://h:1",
        "keys list --tier data --label a=b --url https://h --ca-file f",
        "keys --url https://h get k",
        "keys create k --type rs256 --usage token --bits 3072 --tier signing --every 90d --lead 1h --grace 2d --label a=b \
         --label c= --description d --exportable --deletion-allowed",
        "keys create k --type es256 --cron 0\u{a0}3",
        "keys import k --type hs256 --material-file - --kid x",
        "keys import k --type fernet --legacy-secret-file f",
        "keys update k --patch {}",
        "keys versions k",
        "keys rotate k --force --reason r --consistency eventual",
        "keys suspend k 1 --reason r",
        "keys resume k 1 --reason r",
        "keys compromise k 1 --reason r --exposure store",
        "keys destroy k 1 --reason r",
        "keys delete k --after 7d",
        "keys restore k",
        "keys encrypt k --context c --file f",
        "keys decrypt k",
        "keys rewrap k",
        "keys sign k",
        "keys hmac k",
        "keys verify k --signature s --kid x",
        // Thumbprints begin with any letter of base64url.
        "keys verify k --signature s --kid -x",
        "keys verify k --hmac s",
        "keys jwks k",
        "keys export k --recipient age1x",
        "tokens issue --key k --format jwe --subject s --audience a --audience b --expires-in 1h --claims {}",
        "tokens verify --audience a --key k --required-claim c --required-claim d",
        "tokens issue --refresh",
        "tokens refresh --idempotency-key k --file f",
        "tokens revoke",
        "tokens revoke --refresh --file f",
        "tokens revoke --jti j --key k",
        "tokens revoke --family f",
        "tokens revoke --subject s",
        "tokens revoke --kid -x",
        "tokens introspect --file f",
        "api-keys list",
        "api-keys create n --role r --role s --expires-at 2027-01-31T00:00:00Z",
        "api-keys rotate i --overlap 1h",
        "api-keys delete i",
        "policies list",
        "policies get p",
        "policies put p --file -",
        "policies delete p",
        "watch",
        "watch --topic k --topic key.rotated --since 4294967313 --json --url https://h --fallback-url https://i",
        "audit verify",
        "audit verify d --config c.toml --public-key f --public-key g --anchors a --json",
    ] {
        let parsed = Arguments::try_parse_from(
            std::iter::once("claviger").chain(line.split(' ').filter(|word| !word.is_empty())),
        );
        assert!(
            parsed.is_ok(),
            "{line}: {}",
            parsed.err().map(|error| error.to_string()).unwrap_or_default()
        );
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for line in [
        "",
        "keys",
        "keys get",
        "keys get ../x",
        "keys get ~audit",
        "keys list --token x",
        "keys create k",
        "keys create k --type rot13",
        "keys create k --type es256 --every 90d --cron x",
        "keys create k --type es256 --label x",
        "keys import k --type hs256",
        "keys import k --type hs256 --material-file a --legacy-secret-file b",
        "keys update k --patch []",
        "keys rotate k --force",
        "keys suspend k 1",
        "keys suspend k 0 --reason r",
        "keys compromise k 1 --reason r --exposure all",
        "keys encrypt k plaintext",
        "keys verify k",
        "keys verify k --signature a --hmac b",
        "tokens issue --claims 1",
        "tokens verify token",
        "tokens refresh token",
        "tokens revoke token",
        "tokens revoke --jti j --subject s",
        "tokens revoke --family f --key k",
        "tokens revoke --key k",
        "tokens revoke --jti j --refresh",
        "tokens introspect token",
        "api-keys create n",
        "api-keys create n --role r --expires-at tomorrow",
        "api-keys delete ..",
        "policies put p",
        "audit",
        "audit verify a b",
        "audit verify --anchors a --anchors b",
    ] {
        let parsed = Arguments::try_parse_from(
            std::iter::once("claviger").chain(line.split(' ').filter(|word| !word.is_empty())),
        );
        assert!(parsed.is_err_and(|error| error.exit_code() == 2), "{line}");
    }
}
