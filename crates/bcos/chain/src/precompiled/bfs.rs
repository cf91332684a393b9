//! The file system of contracts (0x100e): directories, and links from paths to contracts.
//!
//! A directory's rows are its children. The four top directories and the links below `/sys` are always there and need
//! no rows.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, I256, U256};
use alloy_sol_types::SolType;

use super::abi::{AddressType, Array, Int, Text, Uint, decode, int};
use super::registry::Methods;
use super::{Answer, Call, Failure};
use bcos_types::codes::{self, limit};

pub(super) const METHODS: Methods = &[
    ("list(string)", list),
    ("list(string,uint256,uint256)", list_page),
    ("mkdir(string)", make_directory),
    ("link(string,string,string)", link),
    ("link(string,string,string,string)", link_version),
    ("readlink(string)", read_link),
    ("touch(string,string)", touch),
    ("initBfs()", initialised),
    ("fixBfs(uint256)", fixed),
    ("rebuildBfs(uint256,uint256)", rebuild),
];

const DIRECTORY: &str = "directory";
const CONTRACT: &str = "contract";
const LINK: &str = "link";

/// Fields of a child after its type: status, kind of access list, white list, black list, extra.
const PLAIN: [&str; 5] = ["0", "0", "", "", ""];

const TOP: [&str; 4] = ["apps", "sys", "tables", "usr"];

/// Names below `/sys` and the numbers of the contracts behind them.
const SYSTEM: [(&str, u64); 15] = [
    ("account_manager", 0x10003),
    ("auth", 0x1005),
    ("bfs", 0x100e),
    ("cast_tools", 0x100f),
    ("consensus", 0x1003),
    ("crypto_tools", 0x100a),
    ("dag_test", 0x100c),
    ("discrete_zkp", 0x5100),
    ("group_sig", 0x5004),
    ("kv_storage", 0x1009),
    ("ring_sig", 0x5005),
    ("sharding", 0x1010),
    ("status", 0x1000),
    ("table_manager", 0x1002),
    ("table_storage", 0x1001),
];

/// Keys of the two rows of a link.
const LINK_ADDRESS: &[u8] = b"link_address";
const LINK_ABI: &[u8] = b"link_abi";

/// One entry of a listing: name, type, further fields.
type Entry = (String, String, Vec<String>);
type EntryType = (Text, Text, Array<Text>);

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory,
    Link,
    /// A type other than directory or link, with the row's further fields.
    Other(String, Vec<String>),
}

#[expect(clippy::unnecessary_wraps, reason = "the last expression of methods")]
fn answer(code: i64, entries: Vec<Entry>) -> Answer {
    let code = I256::try_from(code).unwrap_or_default();
    Ok(<(Int<256>, Array<EntryType>)>::abi_encode_params(&(code, entries)))
}

/// Whether a path may be used: length, depth and letters.
fn is_valid(path: &str) -> bool {
    if path.is_empty() || path.len() > limit::BFS_PATH {
        return false;
    }
    if path == "/" {
        return true;
    }
    let parts: Vec<&str> = parts_of(path).collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=limit::BFS_LEVELS).contains(&parts.len())
        && parts
            .iter()
            .all(|part| part.starts_with(word) && part.chars().all(|c| word(c) || matches!(c, '-' | '#' | '@' | '.')))
}

fn parts_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Directory and last name of a path in its plain form.
fn split(path: &str) -> (String, String) {
    let mut parts: Vec<&str> = parts_of(path).collect();
    let name = parts.pop().unwrap_or_default().to_owned();
    (format!("/{}", parts.join("/")), name)
}

fn fields_of(row: &[u8]) -> Vec<String> {
    row.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned()).collect()
}

fn row_of(kind: &str) -> Bytes {
    let fields: Vec<&str> = std::iter::once(kind).chain(PLAIN).collect();
    fields.join("\0").into_bytes().into()
}

fn plain() -> Vec<String> {
    PLAIN.map(str::to_owned).to_vec()
}

fn system_address(name: &str) -> Option<Address> {
    let (_, number) = SYSTEM.iter().find(|(known, _)| *known == name)?;
    Some(Address::from_word(U256::from(*number).into()))
}

fn node(call: &mut Call<'_, '_>, path: &str) -> Result<Option<Node>, Failure> {
    let (parent, name) = split(path);
    if name.is_empty() || (parent == "/" && TOP.contains(&name.as_str())) {
        return Ok(Some(Node::Directory));
    }
    if parent == "/sys" {
        return Ok(system_address(&name).map(|_| Node::Link));
    }
    let row = call.row(&parent.into(), &Bytes::from(name.into_bytes()))?;
    Ok(row.map(|row| {
        let mut fields = fields_of(&row);
        match fields[0].as_str() {
            DIRECTORY => Node::Directory,
            LINK => Node::Link,
            _ => Node::Other(fields.remove(0), fields),
        }
    }))
}

/// Whether anything is at a path.
pub(super) fn exists(call: &mut Call<'_, '_>, path: &str) -> Result<bool, Failure> {
    Ok(node(call, path)?.is_some())
}

/// Address a link leads to.
pub(super) fn link_address(call: &mut Call<'_, '_>, path: &str) -> Result<Option<Address>, Failure> {
    if node(call, path)? != Some(Node::Link) {
        return Ok(None);
    }
    let (parent, name) = split(path);
    if parent == "/sys" {
        return Ok(system_address(&name));
    }
    let row = call.row(&plain_path(path), &Bytes::from_static(LINK_ADDRESS))?;
    Ok(row.and_then(|row| std::str::from_utf8(&row).ok()?.parse().ok()))
}

fn plain_path(path: &str) -> Arc<str> {
    let parts: Vec<&str> = parts_of(path).collect();
    format!("/{}", parts.join("/")).into()
}

/// Makes all directories of a path; false when something on the way is no directory.
fn make_directories(call: &mut Call<'_, '_>, path: &str) -> Result<bool, Failure> {
    let mut parent = String::from("/");
    for part in parts_of(path) {
        let here = if parent == "/" { format!("/{part}") } else { format!("{parent}/{part}") };
        match node(call, &here)? {
            Some(Node::Directory) => {}
            Some(_) => return Ok(false),
            None => call.set_row(&parent.into(), Bytes::copy_from_slice(part.as_bytes()), Some(row_of(DIRECTORY)))?,
        }
        parent = here;
    }
    Ok(true)
}

/// The directories in which clients may make files.
fn may_touch(path: &str) -> bool {
    ["/apps/", "/tables/", "/usr/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Makes a file or directory and answers a code.
fn touch_path(call: &mut Call<'_, '_>, path: &str, kind: &str) -> Result<i32, Failure> {
    if !is_valid(path) {
        return Ok(codes::FILE_INVALID_PATH);
    }
    if ![DIRECTORY, CONTRACT, LINK].contains(&kind) {
        return Ok(codes::FILE_INVALID_TYPE);
    }
    if !may_touch(path) {
        return Ok(codes::FILE_INVALID_PATH);
    }
    let (parent, name) = split(path);
    let directories = if kind == DIRECTORY { path } else { parent.as_str() };
    if !make_directories(call, directories)? {
        return Err(Failure::Refused("Recursive build bfs dir error.".into()));
    }
    if kind != DIRECTORY {
        call.set_row(&parent.into(), Bytes::from(name.into_bytes()), Some(row_of(kind)))?;
    }
    Ok(codes::SUCCESS)
}

/// Makes a link where nothing is yet and answers a code.
pub(super) fn add_link(call: &mut Call<'_, '_>, path: &str, to: Address, abi: &str) -> Result<i32, Failure> {
    let code = match touch_path(call, path, LINK) {
        Ok(code) => code,
        Err(Failure::Refused(_)) => codes::FILE_BUILD_DIR_FAILED,
        Err(failure) => return Err(failure),
    };
    if code == codes::SUCCESS {
        set_link(call, path, &hex_of(to), abi)?;
    }
    Ok(code)
}

fn hex_of(address: Address) -> String {
    alloy_primitives::hex::encode(address)
}

fn set_link(call: &mut Call<'_, '_>, path: &str, address: &str, abi: &str) -> Result<(), Failure> {
    let table = plain_path(path);
    let text = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    call.set_row(&table, Bytes::from_static(LINK_ADDRESS), text(address))?;
    call.set_row(&table, Bytes::from_static(LINK_ABI), text(abi))
}

/// Children of a directory in order of their names.
fn children(call: &mut Call<'_, '_>, path: &str, offset: usize, count: usize) -> Result<Vec<Entry>, Failure> {
    let table = plain_path(path);
    let fixed: Vec<Entry> = match &*table {
        "/" => TOP.map(|name| (name.to_owned(), DIRECTORY.to_owned(), plain())).to_vec(),
        "/sys" => SYSTEM.map(|(name, _)| (name.to_owned(), LINK.to_owned(), plain())).to_vec(),
        _ => {
            let rows = call.rows(&table, &[], offset.saturating_add(count))?;
            rows.into_iter()
                .map(|(key, row)| {
                    let mut fields = fields_of(&row);
                    let kind = fields.remove(0);
                    (String::from_utf8_lossy(&key).into_owned(), kind, fields)
                })
                .collect()
        }
    };
    Ok(fixed.into_iter().skip(offset).take(count).collect())
}

fn list_node(
    call: &mut Call<'_, '_>,
    path: &str,
    offset: usize,
    count: usize,
) -> Result<Result<Vec<Entry>, i32>, Failure> {
    if !is_valid(path) {
        return Ok(Err(codes::FILE_INVALID_PATH));
    }
    let name = split(path).1;
    Ok(match node(call, path)? {
        None => Err(codes::FILE_NOT_EXIST),
        Some(Node::Directory) => Ok(children(call, path, offset, count)?),
        Some(Node::Link) => {
            let address = link_address(call, path)?.unwrap_or_default();
            let abi = call.row(&plain_path(path), &Bytes::from_static(LINK_ABI))?.unwrap_or_default();
            Ok(vec![(name, LINK.to_owned(), vec![hex_of(address), String::from_utf8_lossy(&abi).into_owned()])])
        }
        Some(Node::Other(kind, fields)) => Ok(vec![(name, kind, fields)]),
    })
}

fn list(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (path,) = decode::<(Text,)>(data)?;
    match list_node(call, &path, 0, limit::SELECT_ROWS as usize)? {
        Ok(entries) => answer(i64::from(codes::SUCCESS), entries),
        Err(code) => answer(i64::from(code), Vec::new()),
    }
}

/// Answers how many entries are left behind the page, so that clients know whether to ask again.
fn list_page(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (path, offset, count) = decode::<(Text, Uint<256>, Uint<256>)>(data)?;
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    // A page is bounded as a list is; the count of what is left leads on.
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(limit::SELECT_ROWS as usize);
    match list_node(call, &path, offset, count)? {
        Ok(entries) => {
            let mut left = 0;
            if node(call, &path)? == Some(Node::Directory) && entries.len() == count {
                left = children(call, &path, offset.saturating_add(count), MOST_CHILDREN_COUNTED)?.len();
            }
            answer(left as i64, entries)
        }
        Err(code) => answer(i64::from(code), Vec::new()),
    }
}

/// What is left behind a page is counted up to this.
const MOST_CHILDREN_COUNTED: usize = 10_000;

fn make_directory(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (path,) = decode::<(Text,)>(data)?;
    if is_valid(&path) && exists(call, &path)? {
        return int(codes::FILE_ALREADY_EXIST);
    }
    match touch_path(call, &path, DIRECTORY) {
        Err(Failure::Refused(_)) => int(codes::FILE_BUILD_DIR_FAILED),
        code => int(code?),
    }
}

fn put_link(call: &mut Call<'_, '_>, path: &str, address: &str, abi: &str) -> Answer {
    if !is_valid(path) {
        return int(codes::FILE_INVALID_PATH);
    }
    match node(call, path)? {
        Some(Node::Link) => {}
        Some(_) => return int(codes::FILE_ALREADY_EXIST),
        None => {
            let made = match touch_path(call, path, LINK) {
                Err(Failure::Refused(_)) => codes::FILE_BUILD_DIR_FAILED,
                code => code?,
            };
            if made != codes::SUCCESS {
                return int(codes::FILE_BUILD_DIR_FAILED);
            }
        }
    }
    set_link(call, path, address, abi)?;
    int(codes::SUCCESS)
}

fn link(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (path, address, abi) = decode::<(Text, Text, Text)>(data)?;
    let path =
        if path.starts_with("/apps/") { path } else { format!("/apps/{}", path.strip_prefix('/').unwrap_or(&path)) };
    put_link(call, &path, address.strip_prefix("0x").unwrap_or(&address), &abi)
}

/// Link by name and version, as the older name service made them.
fn link_version(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (name, version, address, abi) = decode::<(Text, Text, Text, Text)>(data)?;
    let (name, version) = (name.trim(), version.trim());
    let address = address.strip_prefix("0x").unwrap_or(&address);
    let contract = match address.parse::<Address>() {
        Ok(contract) => !call.code(contract)?.is_empty(),
        Err(_) => false,
    };
    if !contract || name.contains('/') || version.contains('/') {
        return int(codes::ADDRESS_OR_VERSION_ERROR);
    }
    super::kv_table::check_length(&abi, limit::VALUE, codes::TABLE_FIELD_VALUE_LENGTH_OVERFLOW)?;
    put_link(call, &format!("/apps/{name}/{version}"), address, &abi)
}

fn read_link(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (path,) = decode::<(Text,)>(data)?;
    let address = if is_valid(&path) { link_address(call, &path)? } else { None };
    Ok(<(AddressType,)>::abi_encode_params(&(address.unwrap_or_default(),)))
}

fn touch(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (path, kind) = decode::<(Text, Text)>(data)?;
    int(touch_path(call, &path, &kind)?)
}

/// The file system is there from the first block on.
#[expect(clippy::unnecessary_wraps, reason = "a method's signature")]
fn initialised(_call: &mut Call<'_, '_>, _data: &[u8]) -> Answer {
    Ok(Vec::new())
}

/// Repairs of what older versions wrote; there is nothing to repair.
fn fixed(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    decode::<(Uint<256>,)>(data)?;
    int(codes::SUCCESS)
}

fn rebuild(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    decode::<(Uint<256>, Uint<256>)>(data)?;
    int(codes::NO_AUTHORIZED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_checked() {
        for good in ["/", "/apps", "/apps/Hello/v1.0", "tables/t_x", "/a/b/c/d/e/f", "/apps/a-b#c@d"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "/a/b/c/d/e/f/g", "/apps/-x", "/apps/a b", "/apps/ä"] {
            assert!(!is_valid(bad), "{bad}");
        }
        assert!(!is_valid(&format!("/{}", "a".repeat(128))));
        assert_eq!(split("/apps/x/"), ("/apps".into(), "x".into()));
        assert_eq!(split("/apps"), ("/".into(), "apps".into()));
    }
}
