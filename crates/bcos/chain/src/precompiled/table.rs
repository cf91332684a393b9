//! Rows of tables (0x1001), called through the contract that stands for a table.

mod condition;
pub(super) mod interface;
mod row;

use std::sync::Arc;

use alloy_primitives::Bytes;
use alloy_sol_types::SolType;

use super::abi::{Array, Text, Uint, decode, int};
use super::kv_table::{check_length, table_of};
use super::registry::Methods;
use super::table_manager::{Info, gas, info_of};
use super::{Answer, Call, Failure};
use bcos_types::codes::{self, limit};
use condition::Selection;
use row::{decode_row, encode_row, shown_key, stored_key};

pub(super) const METHODS: Methods = &[
    ("select(string)", select_by_key),
    ("select((uint8,string)[],(uint32,uint32))", select_by_range),
    ("select((uint8,string,string)[],(uint32,uint32))", select),
    ("count((uint8,string)[])", count_range),
    ("count((uint8,string,string)[])", count),
    ("insert((string,string[]))", insert),
    ("update(string,(string,string)[])", update_by_key),
    ("update((uint8,string)[],(uint32,uint32),(string,string)[])", update_range),
    ("update((uint8,string,string)[],(uint32,uint32),(string,string)[])", update),
    ("remove(string)", remove_by_key),
    ("remove((uint8,string)[],(uint32,uint32))", remove_range),
    ("remove((uint8,string,string)[],(uint32,uint32))", remove),
];

type Limit = (Uint<32>, Uint<32>);
type KeyConditions = Array<(Uint<8>, Text)>;
type FieldConditions = Array<(Uint<8>, Text, Text)>;
type Updates = Array<(Text, Text)>;
type Entry = (Text, Array<Text>);

/// Rows read from the state at a time.
const PAGE: usize = 500;

fn refused<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(text.into()))
}

/// The called table and its columns.
fn open(call: &mut Call<'_, '_>) -> Result<(Arc<str>, Info), Failure> {
    let table = table_of(call)?;
    let info = info_of(call, &table)?;
    match info {
        Some(info) => Ok((table, info)),
        None => refused(format!("{table} does not exist")),
    }
}

/// Rows that satisfy the selection, in key order: stored key and values.
fn matching(
    call: &mut Call<'_, '_>,
    table: &Arc<str>,
    selection: &Selection,
) -> Result<Vec<(Bytes, Vec<String>)>, Failure> {
    let mut found = Vec::new();
    let mut skip = selection.offset;
    let mut from = selection.first_key();
    loop {
        if found.len() >= selection.count {
            return Ok(found);
        }
        let page = call.rows(table, &from, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        // The smallest key above the last one.
        from = [last.as_ref(), &[0]].concat();
        let full = page.len() == PAGE;
        for (key, value) in page {
            call.charge(gas::LOAD);
            let text = String::from_utf8_lossy(&key);
            if selection.is_past(&text) {
                return Ok(found);
            }
            let values = decode_row(&value);
            if !selection.accepts(&text, &values) {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            found.push((key, values));
            if found.len() >= selection.count {
                return Ok(found);
            }
        }
        if !full {
            return Ok(found);
        }
    }
}

fn select_by_key(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (key,) = decode::<(Text,)>(data)?;
    let stored = Bytes::from(stored_key(&info, &key)?.into_bytes());
    call.charge(gas::LOAD);
    let entry = call.row(&table, &stored)?.map(|value| (key, decode_row(&value))).unwrap_or_default();
    Ok(<(Entry,)>::abi_encode_params(&(entry,)))
}

fn answer_rows(call: &mut Call<'_, '_>, table: &Arc<str>, info: &Info, selection: &Selection) -> Answer {
    let rows = matching(call, table, selection)?;
    let entries: Vec<(String, Vec<String>)> =
        rows.into_iter().map(|(key, values)| (shown_key(info, &key), values)).collect();
    Ok(<(Array<Entry>,)>::abi_encode_params(&(entries,)))
}

fn select_by_range(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, mut info) = open(call)?;
    let (conditions, (offset, count)) = decode::<(KeyConditions, Limit)>(data)?;
    // Conditions of the older form compare stored keys as text and show them so.
    info.numerical = false;
    let selection = Selection::of_keys(&conditions, offset, count)?;
    answer_rows(call, &table, &info, &selection)
}

fn select(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (conditions, (offset, count)) = decode::<(FieldConditions, Limit)>(data)?;
    let selection = Selection::of_fields(&info, &conditions, offset, count)?;
    answer_rows(call, &table, &info, &selection)
}

fn answer_count(call: &mut Call<'_, '_>, table: &Arc<str>, mut selection: Selection) -> Answer {
    selection.count = usize::MAX;
    let rows = matching(call, table, &selection)?;
    int(i64::from(u32::try_from(rows.len()).unwrap_or(u32::MAX)))
}

fn count_range(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, _) = open(call)?;
    let (conditions,) = decode::<(KeyConditions,)>(data)?;
    let selection = Selection::of_keys(&conditions, 0, limit::SELECT_ROWS)?;
    answer_count(call, &table, selection)
}

fn count(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (conditions,) = decode::<(FieldConditions,)>(data)?;
    let selection = Selection::of_fields(&info, &conditions, 0, limit::SELECT_ROWS)?;
    answer_count(call, &table, selection)
}

fn insert(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let ((key, values),) = decode::<(Entry,)>(data)?;
    let key = stored_key(&info, &key)?;
    if values.len() != info.columns.len() {
        return refused("Table insert entry fields number mismatch");
    }
    if key.is_empty() {
        return refused("Table insert entry key is empty");
    }
    check_length(&key, limit::KEY, codes::TABLE_KEY_VALUE_LENGTH_OVERFLOW)?;
    for value in &values {
        check_length(value, limit::VALUE, codes::TABLE_FIELD_VALUE_LENGTH_OVERFLOW)?;
    }
    let key = Bytes::from(key.into_bytes());
    if call.row(&table, &key)?.is_some() {
        return int(codes::INSERT_KEY_EXIST);
    }
    call.charge(gas::STORE);
    call.set_row(&table, key, Some(encode_row(&values)))?;
    int(1)
}

/// Column numbers and new values.
fn updates_of(info: &Info, updates: Vec<(String, String)>) -> Result<Vec<(usize, String)>, Failure> {
    updates
        .into_iter()
        .map(|(field, value)| {
            check_length(&value, limit::VALUE, codes::TABLE_FIELD_VALUE_LENGTH_OVERFLOW)?;
            if field == info.key {
                return refused("Table update fields cannot contains key field");
            }
            match info.columns.iter().position(|column| *column == field) {
                Some(at) => Ok((at, value)),
                None => refused("Table update fields not found"),
            }
        })
        .collect()
}

/// Writes a row with some columns changed; columns appended after the row was written are filled with nothing.
fn write_updated(
    call: &mut Call<'_, '_>,
    table: &Arc<str>,
    key: Bytes,
    mut values: Vec<String>,
    updates: &[(usize, String)],
) -> Result<(), Failure> {
    for (at, value) in updates {
        if values.len() <= *at {
            values.resize(at + 1, String::new());
        }
        values[*at].clone_from(value);
    }
    call.charge(gas::STORE);
    call.set_row(table, key, Some(encode_row(&values)))
}

fn update_by_key(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (key, updates) = decode::<(Text, Updates)>(data)?;
    let key = Bytes::from(stored_key(&info, &key)?.into_bytes());
    let Some(row) = call.row(&table, &key)? else {
        return int(codes::UPDATE_KEY_NOT_EXIST);
    };
    let updates = updates_of(&info, updates)?;
    write_updated(call, &table, key, decode_row(&row), &updates)?;
    int(1)
}

fn update_rows(
    call: &mut Call<'_, '_>,
    table: &Arc<str>,
    info: &Info,
    selection: &Selection,
    updates: Vec<(String, String)>,
) -> Answer {
    let updates = updates_of(info, updates)?;
    let rows = matching(call, table, selection)?;
    let changed = rows.len();
    for (key, values) in rows {
        write_updated(call, table, key, values, &updates)?;
    }
    int(changed as i64)
}

fn update_range(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (conditions, (offset, count), updates) = decode::<(KeyConditions, Limit, Updates)>(data)?;
    let selection = Selection::of_keys(&conditions, offset, count)?;
    update_rows(call, &table, &info, &selection, updates)
}

fn update(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (conditions, (offset, count), updates) = decode::<(FieldConditions, Limit, Updates)>(data)?;
    let selection = Selection::of_fields(&info, &conditions, offset, count)?;
    update_rows(call, &table, &info, &selection, updates)
}

fn remove_by_key(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (key,) = decode::<(Text,)>(data)?;
    let key = Bytes::from(stored_key(&info, &key)?.into_bytes());
    if call.row(&table, &key)?.is_none() {
        return int(codes::REMOVE_KEY_NOT_EXIST);
    }
    call.charge(gas::REMOVE);
    call.set_row(&table, key, None)?;
    int(1)
}

fn remove_rows(call: &mut Call<'_, '_>, table: &Arc<str>, selection: &Selection) -> Answer {
    let rows = matching(call, table, selection)?;
    let removed = rows.len();
    for (key, _) in rows {
        call.charge(gas::REMOVE);
        call.set_row(table, key, None)?;
    }
    int(removed as i64)
}

fn remove_range(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, _) = open(call)?;
    let (conditions, (offset, count)) = decode::<(KeyConditions, Limit)>(data)?;
    let selection = Selection::of_keys(&conditions, offset, count)?;
    remove_rows(call, &table, &selection)
}

fn remove(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (table, info) = open(call)?;
    let (conditions, (offset, count)) = decode::<(FieldConditions, Limit)>(data)?;
    let selection = Selection::of_fields(&info, &conditions, offset, count)?;
    remove_rows(call, &table, &selection)
}
