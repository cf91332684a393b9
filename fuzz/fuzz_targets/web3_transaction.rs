//! Raw Ethereum transactions: nothing panics, and every accepted one is given back byte for byte, so it has one hash.
#![no_main]

use bcos_types::{Transaction, VerifiedTx, web3};
use konsort_crypto::{SuiteKind, suite};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(tx) = web3::from_raw(data) else { return };
    assert_eq!(web3::signed_raw(&tx).expect("the signed bytes are ours")[..], *data);
    let fields = web3::fields(&tx).expect("the signed bytes are ours");
    assert_eq!(tx.data.to_address(), Ok(fields.to));
    assert_eq!(tx.data.value(), Ok(fields.value));
    assert_eq!(Transaction::decode(&tx.encode()).as_ref(), Ok(&tx));
    let (direct, wrapped) =
        (VerifiedTx::from_web3_raw(data, 0), VerifiedTx::verify(tx, suite(SuiteKind::International)));
    match (direct, wrapped) {
        (Ok(direct), Ok(wrapped)) => {
            assert_eq!((direct.hash, direct.sender, &direct.raw), (wrapped.hash, wrapped.sender, &wrapped.raw));
        }
        (Err(direct), Err(wrapped)) => assert_eq!(direct, wrapped),
        (direct, wrapped) => panic!("{direct:?} {wrapped:?}"),
    }
});
