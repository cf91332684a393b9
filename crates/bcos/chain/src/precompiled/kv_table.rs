//! Tables of keys and values (0x1009), called through the contract that stands for a table.

use std::sync::Arc;

use alloy_primitives::Bytes;
use alloy_sol_types::SolType;

use super::abi::{Bool, Text, decode, int};
use super::registry::Methods;
use super::table_manager::{actual_name, gas, info_of};
use super::{Answer, Call, Failure};
use bcos_types::codes::{self, limit};

pub(super) const METHODS: Methods = &[("set(string,string)", set), ("get(string)", get)];

/// The table behind the called contract.
pub(super) fn table_of(call: &mut Call<'_, '_>) -> Result<Arc<str>, Failure> {
    let Some(name) = call.table.clone() else {
        return Err(Failure::Refused("InternalPrecompiledFailed".into()));
    };
    let actual = actual_name(&name);
    if info_of(call, &actual)?.is_none() {
        return Err(Failure::Refused(format!("{actual} does not exist")));
    }
    Ok(actual.into())
}

pub(super) fn check_length(value: &str, most: usize, code: i32) -> Result<(), Failure> {
    if value.len() > most {
        return Err(Failure::Refused(format!("size of value/key greater than{most} error code: {code}")));
    }
    Ok(())
}

fn set(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let table = table_of(call)?;
    let (key, value) = decode::<(Text, Text)>(data)?;
    if key.is_empty() {
        return Err(Failure::Refused("Table insert entry key is empty".into()));
    }
    check_length(&key, limit::KEY, codes::TABLE_KEY_VALUE_LENGTH_OVERFLOW)?;
    check_length(&value, limit::VALUE, codes::TABLE_KEY_VALUE_LENGTH_OVERFLOW)?;
    call.charge(gas::STORE);
    call.set_row(&table, Bytes::from(key.into_bytes()), Some(Bytes::from(value.into_bytes())))?;
    int(1)
}

fn get(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let table = table_of(call)?;
    let (key,) = decode::<(Text,)>(data)?;
    call.charge(gas::LOAD);
    let value = call.row(&table, &Bytes::from(key.into_bytes()))?;
    let found = value.is_some();
    let text = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    Ok(<(Bool, Text)>::abi_encode_params(&(found, text)))
}
