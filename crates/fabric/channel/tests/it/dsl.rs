use fabric_channel::policy::dsl;
use fabric_proto::common::{Policy, policy::PolicyType};
use fabric_proto::protos::{ApplicationPolicy, application_policy};
use proptest::prelude::*;
use prost::Message as _;

use crate::golden;

#[test]
fn every_recorded_policy_gives_the_recorded_bytes_or_error() {
    let recorded = golden::json("policies.json");
    let mut refused = 0;
    for entry in recorded.as_array().unwrap() {
        let text = entry["policy"].as_str().unwrap();
        match dsl::parse(text) {
            Ok(policy) => {
                let bytes = policy.encode_to_vec();
                assert_eq!(entry["signature_policy_envelope"], hex::encode(&bytes), "{text}");
                let channel = Policy { r#type: PolicyType::Signature as i32, value: bytes.into() };
                assert_eq!(entry["channel_config_policy"], hex::encode(channel.encode_to_vec()), "{text}");
                let application = ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(policy)) };
                assert_eq!(entry["application_policy"], hex::encode(application.encode_to_vec()), "{text}");
            }
            Err(error) => {
                assert_eq!(entry["error"].as_str(), Some(error.to_string().as_str()), "{text}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 12);
}

#[test]
fn nesting_and_length_are_bounded() {
    let nested = |depth: usize| format!("{}'A.peer'{}", "OR(".repeat(depth), ")".repeat(depth));
    assert!(dsl::parse(&nested(30)).is_ok());
    assert!(dsl::parse(&nested(10_000)).unwrap_err().to_string().contains("nested too deeply"));
    assert!(dsl::parse(&"x".repeat(dsl::MAX_LENGTH + 1)).unwrap_err().to_string().contains("longer than"));
    // What the parser accepts, the decoder must read back from inside a block.
    let deepest = dsl::parse(&nested(38)).unwrap();
    let bytes = ApplicationPolicy { r#type: Some(application_policy::Type::SignaturePolicy(deepest)) }.encode_to_vec();
    assert!(ApplicationPolicy::decode(bytes.as_slice()).is_ok());
}

#[derive(Debug, Clone)]
enum Tree {
    Leaf(String),
    Gate(&'static str, Vec<Tree>),
    OutOf(usize, Vec<Tree>),
}

impl Tree {
    fn text(&self) -> String {
        let list = |trees: &[Tree]| trees.iter().map(Tree::text).collect::<Vec<_>>().join(", ");
        match self {
            Self::Leaf(principal) => format!("'{principal}'"),
            Self::Gate(name, trees) => format!("{name}({})", list(trees)),
            Self::OutOf(count, trees) => format!("OutOf({count}, {})", list(trees)),
        }
    }

    fn leaves(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Gate(_, trees) | Self::OutOf(_, trees) => trees.iter().map(Self::leaves).sum(),
        }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = "[A-Za-z0-9.-]{1,8}\\.(admin|member|client|peer|orderer)".prop_map(Tree::Leaf);
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = prop::collection::vec(inner, 1..4);
        prop_oneof![
            several.clone().prop_map(|trees| Tree::Gate("AND", trees)),
            several.clone().prop_map(|trees| Tree::Gate("Or", trees)),
            (0..3_usize, several).prop_map(|(count, trees)| Tree::OutOf(count.min(trees.len()), trees)),
        ]
    })
    .prop_filter("a text needs a gate", |tree| !matches!(tree, Tree::Leaf(_)))
}

proptest! {
    #[test]
    fn every_tree_of_gates_is_read(tree in trees()) {
        let policy = dsl::parse(&tree.text()).unwrap();
        prop_assert_eq!(policy.identities.len(), tree.leaves());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}") {
        let _ = dsl::parse(&text);
        let _ = dsl::parse(&format!("OR({text})"));
    }
}
