//! Native transfers for benches: DagTransfer (0x100c) and SmallBank (0x6200 and on).
//!
//! A balance is a row of its own, so transfers between different users do not touch each other.

use std::sync::Arc;

use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolType;

use super::abi::{Text, Uint, decode, int};
use super::registry::Methods;
use super::{Answer, Call, Failure};
use bcos_types::codes;

pub(super) const DAG_METHODS: Methods = &[
    ("userAdd(string,uint256)", user_add),
    ("userSave(string,uint256)", user_save),
    ("userDraw(string,uint256)", user_draw),
    ("userTransfer(string,string,uint256)", user_transfer),
    ("userBalance(string)", user_balance),
];

pub(super) const SMALL_BANK_METHODS: Methods =
    &[("updateBalance(string,uint256)", update_balance), ("sendPayment(string,string,uint256)", send_payment)];

const DAG_TABLE: &str = "dag_transfer";

fn dag() -> Arc<str> {
    DAG_TABLE.into()
}

/// Every instance of SmallBank has a table of its own.
fn small_bank(call: &Call<'_, '_>) -> Arc<str> {
    format!("smallbank{}", call.number().saturating_sub(0x6200)).into()
}

fn balance(call: &mut Call<'_, '_>, table: &Arc<str>, user: &str) -> Result<Option<U256>, Failure> {
    let row = call.row(table, &Bytes::copy_from_slice(user.as_bytes()))?;
    Ok(row.map(|bytes| U256::try_from_be_slice(&bytes).unwrap_or_default()))
}

fn set_balance(call: &mut Call<'_, '_>, table: &Arc<str>, user: String, value: U256) -> Result<(), Failure> {
    // Short, but never empty.
    let bytes = value.to_be_bytes_trimmed_vec();
    let bytes = if bytes.is_empty() { vec![0] } else { bytes };
    call.set_row(table, Bytes::from(user.into_bytes()), Some(bytes.into()))
}

fn add(call: &mut Call<'_, '_>, table: &Arc<str>, user: String, amount: U256) -> Result<i32, Failure> {
    if user.is_empty() {
        return Ok(codes::INVALID_USER_NAME);
    }
    if balance(call, table, &user)?.is_some() {
        return Ok(codes::INVALID_USER_ALREADY_EXIST);
    }
    set_balance(call, table, user, amount)?;
    Ok(codes::SUCCESS)
}

fn transfer(
    call: &mut Call<'_, '_>,
    table: &Arc<str>,
    (from, to, amount): (String, String, U256),
) -> Result<i32, Failure> {
    if from.is_empty() || to.is_empty() {
        return Ok(codes::INVALID_USER_NAME);
    }
    if amount.is_zero() {
        return Ok(codes::INVALID_AMOUNT);
    }
    if from == to {
        return Ok(codes::SUCCESS);
    }
    let Some(from_balance) = balance(call, table, &from)? else {
        return Ok(codes::INVALID_USER_NOT_EXIST);
    };
    let Some(from_left) = from_balance.checked_sub(amount) else {
        return Ok(codes::INVALID_INSUFFICIENT_BALANCE);
    };
    // A receiver that is not known yet is added, even when its balance would overflow.
    let known = balance(call, table, &to)?;
    if known.is_none() {
        set_balance(call, table, to.clone(), U256::ZERO)?;
    }
    let Some(to_sum) = known.unwrap_or_default().checked_add(amount) else {
        return Ok(codes::INVALID_BALANCE_OVERFLOW);
    };
    set_balance(call, table, from, from_left)?;
    set_balance(call, table, to, to_sum)?;
    Ok(codes::SUCCESS)
}

fn user_add(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (user, amount) = decode::<(Text, Uint<256>)>(data)?;
    int(add(call, &dag(), user, amount)?)
}

fn user_save(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (user, amount) = decode::<(Text, Uint<256>)>(data)?;
    if user.is_empty() {
        return int(codes::INVALID_USER_NAME);
    }
    if amount.is_zero() {
        return int(codes::INVALID_AMOUNT);
    }
    let table = dag();
    let before = balance(call, &table, &user)?.unwrap_or_default();
    let Some(after) = before.checked_add(amount) else {
        return int(codes::INVALID_BALANCE_OVERFLOW);
    };
    set_balance(call, &table, user, after)?;
    int(codes::SUCCESS)
}

fn user_draw(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (user, amount) = decode::<(Text, Uint<256>)>(data)?;
    if user.is_empty() {
        return int(codes::INVALID_USER_NAME);
    }
    if amount.is_zero() {
        return int(codes::INVALID_AMOUNT);
    }
    let table = dag();
    let Some(before) = balance(call, &table, &user)? else {
        return int(codes::INVALID_USER_NOT_EXIST);
    };
    let Some(after) = before.checked_sub(amount) else {
        return int(codes::INVALID_INSUFFICIENT_BALANCE);
    };
    set_balance(call, &table, user, after)?;
    int(codes::SUCCESS)
}

fn user_transfer(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let arguments = decode::<(Text, Text, Uint<256>)>(data)?;
    int(transfer(call, &dag(), arguments)?)
}

fn user_balance(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (user,) = decode::<(Text,)>(data)?;
    let (code, value) = if user.is_empty() {
        (codes::INVALID_USER_NAME, U256::ZERO)
    } else {
        match balance(call, &dag(), &user)? {
            Some(value) => (codes::SUCCESS, value),
            None => (codes::INVALID_USER_NOT_EXIST, U256::ZERO),
        }
    };
    // The code is an unsigned number on the wire: a negative one wraps.
    let code = alloy_primitives::I256::try_from(code).unwrap_or_default().into_raw();
    Ok(<(Uint<256>, Uint<256>)>::abi_encode_params(&(code, value)))
}

/// SmallBank answers nothing, whatever happened.
fn update_balance(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (user, amount) = decode::<(Text, Uint<256>)>(data)?;
    let table = small_bank(call);
    add(call, &table, user, amount)?;
    Ok(Vec::new())
}

fn send_payment(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let arguments = decode::<(Text, Text, Uint<256>)>(data)?;
    let table = small_bank(call);
    transfer(call, &table, arguments)?;
    Ok(Vec::new())
}
