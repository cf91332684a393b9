//! Hashes, keys and signatures (crypto.json).

use konsort_crypto::{SuiteKey, SuiteKind, suite};

use crate::golden::{bytes, chain, kind, list, load, text};

fn key(vector: &serde_json::Value) -> SuiteKey {
    SuiteKey::from_bytes(kind(&vector["curve"]), &bytes(&vector["private"]).try_into().unwrap()).unwrap()
}

#[test]
fn hashes_match() {
    let all = load("crypto");
    for vector in list(&all["hashes"]) {
        let input = vector.get("text").map_or_else(|| bytes(&vector["data"]), |it| text(it).as_bytes().to_vec());
        assert_eq!(chain(vector).hash(&input).to_vec(), bytes(&vector["hash"]), "{vector}");
    }
}

#[test]
fn keys_and_addresses_match() {
    let all = load("crypto");
    for vector in list(&all["key_pairs"]) {
        let key = key(vector);
        assert_eq!(key.public_key().to_vec(), bytes(&vector["public"]), "{vector}");
        assert_eq!(key.address().to_vec(), bytes(&vector["address"]), "{vector}");
    }
    for vector in list(&all["addresses"]) {
        let public = match text(&vector["public"]) {
            "0x00 (all zero 64 bytes)" => [0; 64],
            _ => bytes(&vector["public"]).try_into().unwrap(),
        };
        assert_eq!(chain(vector).address(&public).to_vec(), bytes(&vector["address"]), "{vector}");
    }
}

#[test]
fn signatures_verify_or_fail_as_published() {
    let all = load("crypto");
    for vector in list(&all["signatures"]) {
        let chain = suite(kind(&vector["curve"]));
        let hash: [u8; 32] = bytes(&vector["message_hash"]).try_into().unwrap();
        let signature = bytes(&vector["signature"]);
        let valid = vector["valid"].as_bool().unwrap();
        let public = bytes(&vector["public"]);
        assert_eq!(chain.verify(&public, &hash, &signature).is_ok(), valid, "{vector}");
        assert_eq!(chain.verify(&public, &hash, &signature[..64]).is_ok(), valid, "{vector}");
        let signer = chain.sender(&hash, &signature);
        assert_eq!(signer.is_ok_and(|found| found.public_key[..] == public), valid, "{vector}");
        if chain.kind() == SuiteKind::International {
            assert_eq!(key(vector).sign(&hash), signature, "deterministic: {vector}");
        }
    }
}

#[test]
fn signed_calls_match() {
    let all = load("crypto");
    for vector in list(&all["signed_call"]) {
        let chain = chain(vector);
        let hash = bcos_types::signed_call_hash(chain, text(&vector["to"]), &bytes(&vector["data"]));
        assert_eq!(hash.to_vec(), bytes(&vector["hash"]), "{vector}");
        let signer = chain.sender(&hash.0, &bytes(&vector["signature"])).unwrap();
        assert_eq!(signer.address.to_vec(), bytes(&vector["sender"]), "{vector}");
    }
}

#[test]
fn key_files_of_the_sdks_are_read() {
    let all = load("crypto");
    let mut read = 0;
    for vector in list(&all["key_files"]) {
        if text(&vector["kind"]).starts_with("account PEM") {
            let pem = SuiteKey::from_pem(text(&vector["text"])).unwrap();
            assert_eq!(pem.kind(), kind(&vector["curve"]));
            assert_eq!(pem.public_key().to_vec(), bytes(&vector["public"]), "{vector}");
            assert_eq!(pem.address().to_vec(), bytes(&vector["address"]), "{vector}");
            assert_eq!(pem.to_pem().as_str(), text(&vector["text"]), "our own writing is upstream's");
            read += 1;
        } else if let Some(private) = vector.get("private") {
            // The container is for another crate; the key in it must be the account it names.
            let number = bytes(private).try_into().unwrap();
            let key = SuiteKey::from_bytes(kind(&vector["curve"]), &number).unwrap();
            assert_eq!(key.address().to_vec(), bytes(&vector["address"]), "{vector}");
        }
    }
    assert_eq!(read, 7);
}
