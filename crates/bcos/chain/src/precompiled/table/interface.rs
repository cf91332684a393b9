//! The interface descriptions (ABI) of contracts that stand for tables, as upstream publishes them.

use std::fmt::Write as _;
use std::sync::OnceLock;

use konsort_crypto::SuiteKind;

use crate::precompiled::registry::{Kind, selector};

/// What a parameter is: its type as the description names it, and as a signature spells it.
#[derive(Clone, Copy)]
enum Shape {
    Plain(&'static str),
    /// Name of the struct, fields, whether it is a list of them.
    Struct(&'static str, &'static [(&'static str, &'static str)], bool),
}

const STRING: Shape = Shape::Plain("string");
const CODE: Shape = Shape::Plain("int32");
const CONDITIONS: Shape = Shape::Struct("Condition", &[("op", "uint8"), ("value", "string")], true);
const LIMIT: Shape = Shape::Struct("Limit", &[("offset", "uint32"), ("count", "uint32")], false);
const ENTRY_FIELDS: &[(&str, &str)] = &[("key", "string"), ("fields", "string[]")];
const ENTRY: Shape = Shape::Struct("Entry", ENTRY_FIELDS, false);
const ENTRIES: Shape = Shape::Struct("Entry", ENTRY_FIELDS, true);
const UPDATES: Shape = Shape::Struct("UpdateField", &[("columnName", "string"), ("value", "string")], true);

/// Name, inputs, outputs, whether it only reads.
type Described = (&'static str, &'static [(&'static str, Shape)], &'static [Shape], bool);

const TABLE: &[Described] = &[
    ("count", &[("conditions", CONDITIONS)], &[Shape::Plain("uint32")], true),
    ("insert", &[("entry", ENTRY)], &[CODE], false),
    ("remove", &[("conditions", CONDITIONS), ("limit", LIMIT)], &[CODE], false),
    ("remove", &[("key", STRING)], &[CODE], false),
    ("select", &[("conditions", CONDITIONS), ("limit", LIMIT)], &[ENTRIES], true),
    ("select", &[("key", STRING)], &[ENTRY], true),
    ("update", &[("key", STRING), ("updateFields", UPDATES)], &[CODE], false),
    ("update", &[("conditions", CONDITIONS), ("limit", LIMIT), ("updateFields", UPDATES)], &[CODE], false),
];

const KV_TABLE: &[Described] = &[
    ("get", &[("key", STRING)], &[Shape::Plain("bool"), STRING], true),
    ("set", &[("key", STRING), ("value", STRING)], &[CODE], false),
];

impl Shape {
    fn in_signature(self) -> String {
        match self {
            Self::Plain(name) => name.to_owned(),
            Self::Struct(_, fields, list) => {
                let kinds: Vec<&str> = fields.iter().map(|(_, kind)| *kind).collect();
                format!("({}){}", kinds.join(","), if list { "[]" } else { "" })
            }
        }
    }

    fn describe(self, name: &str, out: &mut String) {
        let plain = |name: &str, inner: &str, kind: &str| {
            format!(r#"{{"internalType":"{inner}","name":"{name}","type":"{kind}"}}"#)
        };
        match self {
            Self::Plain(kind) => out.push_str(&plain(name, kind, kind)),
            Self::Struct(of, fields, list) => {
                // The one enumeration there is: the operator of a condition.
                let inner = |kind: &'static str| if kind == "uint8" { "enum ConditionOP" } else { kind };
                let fields: Vec<String> = fields.iter().map(|(name, kind)| plain(name, inner(kind), kind)).collect();
                let list = if list { "[]" } else { "" };
                let _infallible = write!(
                    out,
                    r#"{{"components":[{}],"internalType":"struct {of}{list}","name":"{name}","type":"tuple{list}"}}"#,
                    fields.join(",")
                );
            }
        }
    }
}

fn described(methods: &[Described]) -> String {
    let list = |parameters: &mut dyn Iterator<Item = (&str, Shape)>| {
        let parts: Vec<String> = parameters
            .map(|(name, shape)| {
                let mut out = String::new();
                shape.describe(name, &mut out);
                out
            })
            .collect();
        parts.join(",")
    };
    let functions: Vec<String> = methods
        .iter()
        .map(|(name, inputs, outputs, reads)| {
            let kinds: Vec<String> = inputs.iter().map(|(_, shape)| shape.in_signature()).collect();
            let signature = format!("{name}({})", kinds.join(","));
            let number =
                |kind: SuiteKind| u32::from_be_bytes(selector(konsort_crypto::suite(kind), &signature));
            format!(
                r#"{{"inputs":[{}],"name":"{name}","outputs":[{}],"selector":[{},{}],"stateMutability":"{}","type":"function"}}"#,
                list(&mut inputs.iter().copied()),
                list(&mut outputs.iter().map(|shape| ("", *shape))),
                number(SuiteKind::International),
                number(SuiteKind::Sm),
                if *reads { "view" } else { "nonpayable" },
            )
        })
        .collect();
    format!("[{}]", functions.join(","))
}

/// The description of a table's contract; `None` for other contracts.
pub(in crate::precompiled) fn of(kind: Kind) -> Option<&'static str> {
    static TABLES: OnceLock<(String, String)> = OnceLock::new();
    let (table, kv_table) = TABLES.get_or_init(|| (described(TABLE), described(KV_TABLE)));
    match kind {
        Kind::Table => Some(table),
        Kind::KvTable => Some(kv_table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The selectors in upstream's descriptions.
    const SELECTORS: [[u64; 2]; 10] = [
        [3_625_360_167, 2_327_356_356],
        [1_550_717_023, 1_284_216_112],
        [1_751_202_047, 277_135_530],
        [2_153_356_875, 2_260_153_337],
        [1_020_609_838, 1_062_557_692],
        [4_242_006_977, 1_530_027_384],
        [1_107_285_855, 33_194_060],
        [2_572_410_770, 107_820_592],
        [1_765_722_206, 2_065_403_395],
        [3_913_463_062, 439_950_516],
    ];

    #[test]
    fn descriptions_are_those_of_upstream() {
        let mut functions = Vec::new();
        for kind in [Kind::Table, Kind::KvTable] {
            let parsed: serde_json::Value = serde_json::from_str(of(kind).unwrap()).unwrap();
            functions.extend(parsed.as_array().unwrap().clone());
        }
        let selectors: Vec<_> = functions.iter().map(|function| function["selector"].clone()).collect();
        assert_eq!(serde_json::json!(selectors), serde_json::json!(SELECTORS));
        // One of them in full.
        let get = r#"{"inputs":[{"internalType":"string","name":"key","type":"string"}],"name":"get","outputs":[{"internalType":"bool","name":"","type":"bool"},{"internalType":"string","name":"","type":"string"}],"selector":[1765722206,2065403395],"stateMutability":"view","type":"function"}"#;
        assert!(of(Kind::KvTable).unwrap().starts_with(&format!("[{get},")));
        let count = &functions[0];
        assert_eq!(count["inputs"][0]["internalType"], "struct Condition[]");
        assert_eq!(count["inputs"][0]["type"], "tuple[]");
        assert_eq!(count["inputs"][0]["components"][0]["internalType"], "enum ConditionOP");
        assert_eq!(of(Kind::Consensus), None);
    }
}
