//! An installed package and its `connection.json`: whatever the bytes are, a verdict and nothing outside the folder.
#![no_main]

use bytes::Bytes;
use fabric_chaincode::{
    launcher::parse_connection,
    package::{Package, unpack_code},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = parse_connection(data, Some(r#"{"name":"x"}"#));
    let outer = std::env::temp_dir().join(format!("konsort-fuzz-package-{}", std::process::id()));
    let inner = outer.join("inside");
    std::fs::create_dir_all(&inner).unwrap();
    if let Ok(package) = Package::parse(Bytes::copy_from_slice(data)) {
        let _ = unpack_code(package.code(), &inner);
    }
    let _ = unpack_code(data, &inner);
    let left = std::fs::read_dir(&outer).unwrap().count();
    std::fs::remove_dir_all(&outer).unwrap();
    assert_eq!(left, 1, "something was written outside the folder");
});
