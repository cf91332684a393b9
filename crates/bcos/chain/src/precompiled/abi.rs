//! Arguments in, return values out, by Solidity's encoding.

use alloy_primitives::I256;
use alloy_sol_types::SolType;
use alloy_sol_types::abi::TokenSeq;

use super::{Answer, Failure};

pub(crate) use alloy_sol_types::sol_data::{
    Address as AddressType, Array, Bool, Bytes as BytesType, FixedBytes, Int, String as Text, Uint,
};

/// Reads arguments; what cannot be read is refused as upstream refuses it.
pub(crate) fn decode<T>(data: &[u8]) -> Result<T::RustType, Failure>
where
    T: SolType,
    for<'a> T::Token<'a>: TokenSeq<'a>,
{
    T::abi_decode_params(data).map_err(|_| Failure::Refused("InternalPrecompiledFailed".into()))
}

/// A code or count as the one return value; `int32` and `int256` look the same.
#[expect(clippy::unnecessary_wraps, reason = "the last expression of most methods")]
pub(crate) fn int(value: impl Into<i64>) -> Answer {
    let value: i64 = value.into();
    Ok(I256::try_from(value).unwrap_or_default().to_be_bytes::<32>().to_vec())
}
