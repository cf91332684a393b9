//! Certificate requests: nothing panics, what was read is written back.
#![no_main]

use konsort_pki::CertificateRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = CertificateRequest::from_der(data) else { return };
    assert_eq!(request.der(), data);
    let _ = request.check_signature();
    let again = CertificateRequest::from_pem(request.pem().as_bytes()).expect("written by us");
    assert_eq!(again.subject(), request.subject());
});
