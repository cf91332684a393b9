//! Creating and describing tables (0x1002).

use std::collections::HashSet;

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolType;

use super::abi::{AddressType, Array, Text, Uint, decode, int};
use super::kv_table::check_length;
use super::registry::Methods;
use super::{Answer, Call, Failure, bfs, table_code};
use crate::evm::sequence_address;
use bcos_types::codes::{self, limit};

pub(super) const METHODS: Methods = &[
    ("createTable(string,(string,string[]))", create_table),
    ("createTable(string,(uint8,string,string[]))", create_ordered_table),
    ("createKVTable(string,string,string)", create_kv_table),
    ("appendColumns(string,string[])", append_columns),
    ("openTable(string)", open_table),
    ("desc(string)", describe),
    ("descWithKeyOrder(string)", describe_with_order),
];

/// Gas of single operations.
pub(super) mod gas {
    pub(in crate::precompiled) const CREATE: u64 = 16_000;
    pub(in crate::precompiled) const LOAD: u64 = 200;
    pub(in crate::precompiled) const STORE: u64 = 10_000;
    pub(in crate::precompiled) const REMOVE: u64 = 2_500;
}

/// Table of tables: actual name to key order, key column and value columns.
const TABLES: &str = "s_tables";
const ORDER_PREFIX: &str = "__v320_table_info__";
const MOST_COLUMNS_BYTES: usize = 1_024;

/// Columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    /// Keys are numbers, kept in numerical order.
    pub(super) numerical: bool,
    pub(super) key: String,
    pub(super) columns: Vec<String>,
}

/// Path of a table: below `/tables/`.
pub(super) fn path_of(name: &str) -> String {
    if name.starts_with("/tables/") {
        return name.to_owned();
    }
    format!("/tables/{}", name.strip_prefix('/').unwrap_or(name))
}

/// Name under which a table's rows are kept.
pub(super) fn actual_name(path: &str) -> String {
    format!("u_{}", path_of(path))
}

/// Columns of a table, `None` when there is no such table.
pub(super) fn info_of(call: &mut Call<'_, '_>, actual: &str) -> Result<Option<Info>, Failure> {
    let Some(bytes) = call.row(&TABLES.into(), &Bytes::copy_from_slice(actual.as_bytes()))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let (numerical, fields) = match text.strip_prefix(ORDER_PREFIX).and_then(|rest| rest.split_once(',')) {
        Some((order, fields)) => (order == "1", fields),
        None => (false, text.as_ref()),
    };
    let (key, columns) = fields.split_once(',').unwrap_or((fields, fields));
    let columns = columns.split(',').map(str::to_owned).collect();
    Ok(Some(Info { numerical, key: key.to_owned(), columns }))
}

fn refused<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(text.into()))
}

/// Checks names and joins the value columns.
fn check_fields(name: &str, key: &str, columns: &[String]) -> Result<(String, String), Failure> {
    let key = key.trim();
    let columns: Vec<&str> = columns.iter().map(|column| column.trim()).collect();
    let overflow = |what: &str, most: usize| {
        let code = codes::TABLE_FIELD_LENGTH_OVERFLOW;
        refused(format!("errorCode: {code}table {what} name length overflow {most}"))
    };
    if key.len() > limit::FIELD_NAME {
        return overflow("key", limit::FIELD_NAME);
    }
    if columns.iter().any(|column| column.len() > limit::FIELD_NAME) {
        return overflow("field", limit::FIELD_NAME);
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'/') {
        return refused(format!(
            "Invalid table name \"{name}\", the table name must be letters or numbers, and only supports \"{{_, /}}\" as special character set"
        ));
    }
    let valid = |field: &str| {
        !field.is_empty()
            && !field.starts_with('_')
            && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'_' | b'@'))
    };
    if !valid(key) {
        return refused(format!("invalid field: {key}"));
    }
    let mut seen = HashSet::new();
    for column in &columns {
        if !seen.insert(*column) {
            return refused(format!("duplicated field: {column}"));
        }
        if !valid(column) {
            return refused(format!("invalid field: {column}"));
        }
    }
    let joined = columns.join(",");
    if joined.len() > MOST_COLUMNS_BYTES {
        return refused(format!("total table field name length overflow {MOST_COLUMNS_BYTES}"));
    }
    if path_of(name).len() > limit::TABLE_NAME {
        let code = codes::TABLE_NAME_LENGTH_OVERFLOW;
        return refused(format!("errorCode: {code} tableName length overflow {}", limit::TABLE_NAME));
    }
    Ok((key.to_owned(), joined))
}

fn create_table(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name, (key, columns)) = decode::<(Text, (Text, Array<Text>))>(data)?;
    let (key, columns) = check_fields(&name, &key, &columns)?;
    create(call, &name, "1001", &format!("{key},{columns}"))
}

fn create_ordered_table(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name, (order, key, columns)) = decode::<(Text, (Uint<8>, Text, Array<Text>))>(data)?;
    if order > 1 {
        return refused(format!("{order} KeyOrder not exist!"));
    }
    let (key, columns) = check_fields(&name, &key, &columns)?;
    create(call, &name, "1001", &format!("{ORDER_PREFIX}{order},{key},{columns}"))
}

fn create_kv_table(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name, key, value) = decode::<(Text, Text, Text)>(data)?;
    let columns: Vec<String> = value.split(',').map(str::to_owned).collect();
    let (key, columns) = check_fields(&name, &key, &columns)?;
    create(call, &name, "1009", &format!("{key},{columns}"))
}

/// Makes the contract that stands for the table, links it under its path and notes the columns.
fn create(call: &mut Call<'_, '_>, name: &str, implementation: &str, fields: &str) -> Answer {
    call.charge(gas::CREATE);
    let path = path_of(name);
    if bfs::exists(call, &path)? {
        return int(codes::TABLE_NAME_ALREADY_EXIST);
    }
    let sequence = call.next_sequence();
    let address = sequence_address(call.suite(), call.env().number, call.index(), sequence);
    if bfs::add_link(call, &path, address, "")? != codes::SUCCESS {
        return refused("Create table error.");
    }
    call.set_code(address, table_code(&format!("{implementation:0>40}"), &path))?;
    let actual = Bytes::from(actual_name(&path).into_bytes());
    call.set_row(&TABLES.into(), actual, Some(Bytes::copy_from_slice(fields.as_bytes())))?;
    int(codes::SUCCESS)
}

fn append_columns(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name, added) = decode::<(Text, Array<Text>)>(data)?;
    let actual = actual_name(&name);
    let key = Bytes::copy_from_slice(actual.as_bytes());
    let Some(before) = call.row(&TABLES.into(), &key)? else {
        return int(codes::TABLE_NOT_EXIST);
    };
    let mut text = String::from_utf8_lossy(&before).into_owned();
    let mut known: HashSet<String> = text.split(',').skip(1).map(str::to_owned).collect();
    for column in added {
        check_length(&column, limit::FIELD_NAME, codes::TABLE_FIELD_LENGTH_OVERFLOW)?;
        if !known.insert(column.clone()) {
            return int(codes::TABLE_DUPLICATE_FIELD);
        }
        text.push(',');
        text.push_str(&column);
    }
    call.set_row(&TABLES.into(), key, Some(Bytes::from(text.into_bytes())))?;
    int(codes::SUCCESS)
}

fn open_table(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name,) = decode::<(Text,)>(data)?;
    call.charge(gas::LOAD);
    let address = bfs::link_address(call, &path_of(&name))?.unwrap_or(Address::ZERO);
    Ok(<(AddressType,)>::abi_encode_params(&(address,)))
}

fn describe(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name,) = decode::<(Text,)>(data)?;
    call.charge(gas::LOAD);
    let info = info_of(call, &actual_name(&name))?;
    let (key, columns) = info.map(|info| (info.key, info.columns)).unwrap_or_default();
    Ok(<((Text, Array<Text>),)>::abi_encode_params(&((key, columns),)))
}

fn describe_with_order(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name,) = decode::<(Text,)>(data)?;
    call.charge(gas::LOAD);
    let info = info_of(call, &actual_name(&name))?;
    let (order, key, columns) = info.map(|info| (u8::from(info.numerical), info.key, info.columns)).unwrap_or_default();
    Ok(<((Uint<8>, Text, Array<Text>),)>::abi_encode_params(&((order, key, columns),)))
}
