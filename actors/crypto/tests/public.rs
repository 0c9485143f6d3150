//! Public keys from outside: taken in one form, of their own type and size only.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on stops"
)]

use aws_lc_rs::{
    encoding::{AsBigEndian, AsDer, EcPublicKeyCompressedBin, PublicKeyX509Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaPublicKeyComponents},
};
use claviger_crypto::{
    material::Material,
    prepared::{PreparedKey, SignatureEncoding},
    public::PublicKey,
};
use claviger_entity::KeyType;

fn refused(key_type: KeyType, der: &[u8]) -> bool {
    PublicKey::from_spki(key_type, der).is_err()
}

/// An RSA key of a modulus that is nothing but odd and long.
fn rsa_spki(bits: usize, exponent: &[u8]) -> Vec<u8> {
    let mut n = vec![0xc5; bits.div_ceil(8)];
    if !bits.is_multiple_of(8) {
        n[0] = (1 << (bits % 8)) - 1;
    }
    let components = RsaPublicKeyComponents { n, e: exponent.to_vec() };
    AsDer::<PublicKeyX509Der<'_>>::as_der(&components).unwrap().as_ref().to_vec()
}

#[test]
fn a_public_half_verifies_what_its_key_signs_and_belongs_to_no_other_family() {
    let asymmetric = || KeyType::ALL.iter().copied().filter(|key_type| key_type.is_asymmetric());
    for key_type in asymmetric() {
        let material = Material::generate(key_type, None).unwrap();
        let spki = material.public_spki.unwrap();
        let signature = PreparedKey::new(key_type, &material.secret).unwrap().sign(b"m").unwrap();
        let public = PublicKey::from_spki(key_type, &spki).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(public.key_type(), key_type);
        assert!(public.verify(b"m", &signature));
        assert!(!public.verify(b"n", &signature));
        for other in asymmetric().filter(|other| *other != key_type) {
            match PublicKey::from_spki(other, &spki) {
                Ok(public) => {
                    assert!(key_type.is_rsa() && other.is_rsa(), "{key_type} as {other}");
                    assert!(!public.verify(b"m", &signature), "{key_type} as {other}");
                }
                Err(_) => assert!(!(key_type.is_rsa() && other.is_rsa()), "{key_type} as {other}"),
            }
        }
        for symmetric in KeyType::ALL.iter().filter(|key_type| !key_type.is_asymmetric()) {
            assert!(refused(*symmetric, &spki));
        }
        let der = public.verify_raw(b"m", &signature, false, SignatureEncoding::Der);
        assert_eq!(der.is_ok(), matches!(key_type, KeyType::Es256 | KeyType::Es384));
        assert!(public.verify_raw(&[0; 7], &signature, true, SignatureEncoding::Jose).is_err());
    }
}

#[test]
fn a_key_is_written_in_one_form() {
    for key_type in [KeyType::Rs256, KeyType::Es256, KeyType::Es384, KeyType::Eddsa] {
        let spki = Material::generate(key_type, None).unwrap().public_spki.unwrap();
        let longer = [spki.as_slice(), &[0]].concat();
        for bad in [&[][..], &longer, &spki[1..], &spki[..spki.len() - 1]] {
            assert!(refused(key_type, bad), "{key_type}");
        }
        let pem = claviger_crypto::jwk::public_pem(&spki);
        assert!(refused(key_type, pem.as_bytes()));
        // What follows the algorithm is the bare key: a point, 32 bytes or a PKCS#1 structure.
        for start in 0..spki.len() {
            assert_eq!(refused(key_type, &spki[start..]), start > 0, "{key_type} from {start}");
        }
    }
}

#[test]
fn a_compressed_point_is_another_form() {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &aws_lc_rs::rand::SystemRandom::new())
            .unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref()).unwrap();
    let point = AsBigEndian::<EcPublicKeyCompressedBin<'_>>::as_be_bytes(pair.public_key()).unwrap();
    let head = hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").unwrap();
    assert!(refused(KeyType::Es256, &[head.as_slice(), point.as_ref()].concat()));
    assert!(refused(KeyType::Es256, point.as_ref()));
}

#[test]
fn rsa_keys_have_2048_to_8192_bits_and_an_odd_exponent() {
    for key_type in [KeyType::Rs256, KeyType::Ps512] {
        for (bits, accepted) in
            [(1_024, false), (2_040, false), (2_047, false), (2_048, true), (8_192, true), (8_200, false)]
        {
            assert_eq!(!refused(key_type, &rsa_spki(bits, &[1, 0, 1])), accepted, "{bits}");
        }
        for exponent in [&[1][..], &[2], &[1, 0, 0], &[1, 0, 0, 0, 0, 1]] {
            assert!(refused(key_type, &rsa_spki(2_048, exponent)), "{exponent:?}");
        }
        let spki = rsa_spki(2_048, &[3]);
        assert!(!refused(key_type, &spki));
        assert!(refused(key_type, rsa::PublicKey::from_der(&spki).unwrap().as_ref()), "PKCS#1");
    }
}
