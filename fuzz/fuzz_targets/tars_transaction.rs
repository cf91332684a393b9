//! Transactions as SDKs and peers send them: nothing panics, what was read is written so that it is read again, and a
//! verified one keeps its hash and signer through the store.
#![no_main]

use bcos_types::{Receipt, Transaction, VerifiedTx};
use konsort_crypto::{SuiteKind, suite};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(receipt) = Receipt::decode(data) {
        assert_eq!(Receipt::decode(&receipt.encode()).as_ref(), Ok(&receipt));
    }
    let Ok(tx) = Transaction::decode(data) else { return };
    assert_eq!(Transaction::decode(&tx.encode()).as_ref(), Ok(&tx));
    let _ = (tx.data.to_address(), tx.data.value(), tx.data.gas_price());
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let Ok(verified) = VerifiedTx::verify(tx.clone(), suite(kind)) else { continue };
        assert_eq!(verified.tx.hash(suite(kind)), verified.hash);
        assert_eq!(verified.tx.recover(suite(kind)), Ok(verified.sender));
        let stored = VerifiedTx::from_store(verified.hash, verified.raw.clone()).expect("written by us");
        assert_eq!((stored.sender, &stored.tx), (verified.sender, &verified.tx));
    }
});
