//! Hashes, SM2 verification and verifiable random numbers (0x100a).

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolType;
use konsort_crypto::{SuiteKind, vrf};

use super::abi::{AddressType, Bool, BytesType, FixedBytes, Uint, decode};
use super::registry::Methods;
use super::{Answer, Call};

pub(super) const METHODS: Methods = &[
    ("sm3(bytes)", sm3),
    ("keccak256Hash(bytes)", keccak256),
    ("sm2Verify(bytes32,bytes,bytes32,bytes32)", sm2_verify),
    ("curve25519VRFVerify(bytes,bytes,bytes)", vrf_verify),
];

fn sm3(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (input,) = decode::<(BytesType,)>(data)?;
    Ok(<(FixedBytes<32>,)>::abi_encode_params(&(B256::from(konsort_crypto::hash::sm3(&input)),)))
}

fn keccak256(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (input,) = decode::<(BytesType,)>(data)?;
    Ok(<(FixedBytes<32>,)>::abi_encode_params(&(B256::from(konsort_crypto::hash::keccak256(&input)),)))
}

/// Whether the signature is valid, and whose it is; never an error.
#[expect(clippy::unnecessary_wraps, reason = "a method's signature")]
fn sm2_verify(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let signer = decode::<(FixedBytes<32>, BytesType, FixedBytes<32>, FixedBytes<32>)>(data).ok().and_then(
        |(message, public_key, r, s)| {
            let signature = [r.as_slice(), s.as_slice(), &public_key].concat();
            konsort_crypto::suite(SuiteKind::Sm).sender(&message.0, &signature).ok()
        },
    );
    let (valid, account) = signer.map_or((false, Address::ZERO), |signer| (true, Address::from(signer.address)));
    Ok(<(Bool, AddressType)>::abi_encode_params(&(valid, account)))
}

/// Whether the proof belongs to message and public key, and the number it stands for; never an error.
#[expect(clippy::unnecessary_wraps, reason = "a method's signature")]
fn vrf_verify(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let number = decode::<(BytesType, BytesType, BytesType)>(data).ok().and_then(|(message, public_key, proof)| {
        vrf::verify(&public_key, &message, &proof).then(|| vrf::output(&proof)).flatten()
    });
    let number = number.map(U256::from_be_bytes);
    Ok(<(Bool, Uint<256>)>::abi_encode_params(&(number.is_some(), number.unwrap_or_default())))
}
