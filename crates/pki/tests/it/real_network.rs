//! The certificates of a real network, made by upstream's tool.

use std::collections::BTreeMap;
use std::io::Read as _;

use konsort_crypto::PrivateKey;
use konsort_pki::{Certificate, verify_chain};

/// Every file of the archive by its path.
fn files() -> BTreeMap<String, Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/fabric/crypto/crypto-config.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        files.insert(name, contents);
    }
    files
}

#[test]
fn every_certificate_is_read_written_back_and_leads_to_its_authority() {
    let files = files();
    let mut checked = 0;
    for (name, contents) in &files {
        if !name.contains("/signcerts/") || contents.is_empty() {
            continue;
        }
        let member = Certificate::from_pem(contents).unwrap();
        assert_eq!(member.pem().as_bytes(), &contents[..], "{name}");
        let folder = name.split("/signcerts/").next().unwrap();
        let (_, authority) = files
            .iter()
            .find(|(path, _)| path.starts_with(&format!("{folder}/cacerts/")) && path.ends_with("-cert.pem"))
            .unwrap();
        let authority = Certificate::from_pem(authority).unwrap();
        let chain = verify_chain(&member, std::slice::from_ref(&authority), &[], member.not_before() + 1).unwrap();
        assert_eq!(chain.len(), 2);
        // Upstream's tool writes low S.
        assert_eq!(authority.public_key().to_low_s(member.signature()).unwrap(), member.signature());
        assert_eq!(authority.subject().to_der(), authority.raw_subject());
        assert_eq!(member.subject().to_der(), member.raw_subject());

        let key =
            PrivateKey::from_pem(std::str::from_utf8(&files[&format!("{folder}/keystore/priv_sk")]).unwrap()).unwrap();
        assert_eq!(key.public_key(), member.public_key());
        assert_eq!(key.to_pkcs8_pem().as_bytes(), &files[&format!("{folder}/keystore/priv_sk")][..]);
        checked += 1;
    }
    assert_eq!(checked, 11);
}
