//! The answers of `prestateTracer`, in geth's shape: accounts as a transaction found them, or what it changed.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::B256;
use bcos_chain::executor::trace::{AccountState, Touched};
use serde_json::{Map, Value, json};

use crate::rpc::text;

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StateOptions {
    /// What changed, before and after.
    pub diff: bool,
    pub without_code: bool,
    pub without_storage: bool,
    /// Accounts that did not exist before are shown, too.
    pub with_empty: bool,
}

impl StateOptions {
    pub(super) fn parse(config: &Value) -> Self {
        let flag = |name: &str| config[name].as_bool().unwrap_or(false);
        Self {
            diff: flag("diffMode"),
            without_code: flag("disableCode"),
            without_storage: flag("disableStorage"),
            with_empty: flag("includeEmpty"),
        }
    }

    fn cut(self, account: &AccountState) -> AccountState {
        let mut account = account.clone();
        if self.without_code {
            account.code = alloy_primitives::Bytes::new();
        }
        if self.without_storage {
            account.storage = BTreeMap::new();
        }
        account
    }
}

/// The answer.
pub(super) fn shown(touched: &Touched, options: StateOptions) -> Value {
    if options.diff {
        return changes(touched, options);
    }
    let accounts = touched.before.iter().filter(|(_, account)| options.with_empty || !account.is_empty());
    let accounts = accounts.map(|(address, account)| (text::data(address), whole(&options.cut(account))));
    Value::Object(accounts.collect())
}

/// An account with everything that is there.
fn whole(account: &AccountState) -> Value {
    let mut out = Map::new();
    out.insert("balance".into(), text::quantity_256(&account.balance).into());
    put_rest(&mut out, account.nonce, &account.code, &account.storage);
    Value::Object(out)
}

fn put_rest(out: &mut Map<String, Value>, nonce: u64, code: &[u8], storage: &BTreeMap<B256, B256>) {
    if nonce != 0 {
        out.insert("nonce".into(), nonce.into());
    }
    if !code.is_empty() {
        out.insert("code".into(), text::data(code).into());
    }
    if !storage.is_empty() {
        let slots = storage.iter().map(|(slot, value)| (text::data(slot), text::data(value).into()));
        out.insert("storage".into(), Value::Object(slots.collect()));
    }
}

fn changes(touched: &Touched, options: StateOptions) -> Value {
    let (mut pre, mut post) = (Map::new(), Map::new());
    for (address, account) in &touched.before {
        let mut before = options.cut(account);
        let mut after = touched.after.get(address).map(|account| options.cut(account)).unwrap_or_default();
        if before == after {
            continue;
        }
        let created = account.is_empty();
        // Slots that stayed, and zeros, are left out on both sides.
        let stayed: HashSet<B256> = before
            .storage
            .iter()
            .filter(|(slot, value)| after.storage.get(*slot) == Some(value))
            .map(|(s, _)| *s)
            .collect();
        for storage in [&mut before.storage, &mut after.storage] {
            storage.retain(|slot, value| !value.is_zero() && !stayed.contains(slot));
        }
        if !created {
            pre.insert(text::data(address), whole(&before));
        }
        let mut out = Map::new();
        if before.balance != after.balance {
            out.insert("balance".into(), text::quantity_256(&after.balance).into());
        }
        let nonce = if before.nonce == after.nonce { 0 } else { after.nonce };
        let code = if before.code == after.code { &[][..] } else { &after.code };
        put_rest(&mut out, nonce, code, &after.storage);
        post.insert(text::data(address), Value::Object(out));
    }
    json!({ "pre": pre, "post": post })
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, U256};

    use super::*;

    fn account(balance: u64, nonce: u64, code: &'static [u8], storage: &[(u8, u8)]) -> AccountState {
        AccountState {
            balance: U256::from(balance),
            nonce,
            code: Bytes::from_static(code),
            storage: storage
                .iter()
                .map(|(slot, value)| (B256::with_last_byte(*slot), B256::with_last_byte(*value)))
                .collect(),
        }
    }

    fn touched() -> Touched {
        let at = Address::with_last_byte;
        let before = [
            (at(1), account(10, 4, &[], &[])),
            (at(2), account(0, 1, &[0x60], &[(1, 7), (2, 0), (3, 9), (4, 5), (5, 0)])),
            (at(3), account(0, 0, &[], &[(1, 0)])),
            (at(4), account(8, 0, &[], &[])),
        ];
        let after = [
            (at(1), account(10, 5, &[], &[])),
            (at(2), account(0, 1, &[0x60], &[(1, 8), (2, 6), (3, 0), (4, 5), (5, 0)])),
            (at(3), account(0, 1, &[0xfe], &[(1, 2)])),
            (at(4), account(8, 0, &[], &[])),
        ];
        Touched { before: before.into(), after: after.into() }
    }

    fn address(last: u8) -> String {
        text::data(Address::with_last_byte(last))
    }

    fn word(last: u8) -> String {
        text::data(B256::with_last_byte(last))
    }

    #[test]
    fn accounts_are_shown_as_they_were_found() {
        let shown = shown(&touched(), StateOptions::default());
        let slots = json!({ word(1): word(7), word(2): word(0), word(3): word(9), word(4): word(5), word(5): word(0) });
        let expected = json!({
            address(1): { "balance": "0xa", "nonce": 4 },
            address(2): { "balance": "0x0", "nonce": 1, "code": "0x60", "storage": slots },
            address(4): { "balance": "0x8" },
        });
        assert_eq!(shown, expected);
        let options =
            StateOptions::parse(&json!({ "disableCode": true, "disableStorage": true, "includeEmpty": true }));
        let bare = super::shown(&touched(), options);
        assert_eq!(bare[address(2)], json!({ "balance": "0x0", "nonce": 1 }));
        assert_eq!(bare[address(3)], json!({ "balance": "0x0" }));
    }

    #[test]
    fn changes_are_shown_before_and_after() {
        let shown = shown(&touched(), StateOptions::parse(&json!({ "diffMode": true })));
        let pre = json!({
            address(1): { "balance": "0xa", "nonce": 4 },
            address(2): { "balance": "0x0", "nonce": 1, "code": "0x60", "storage": { word(1): word(7), word(3): word(9) } },
        });
        let post = json!({
            address(1): { "nonce": 5 },
            address(2): { "storage": { word(1): word(8), word(2): word(6) } },
            address(3): { "nonce": 1, "code": "0xfe", "storage": { word(1): word(2) } },
        });
        assert_eq!(shown, json!({ "pre": pre, "post": post }));
    }
}
