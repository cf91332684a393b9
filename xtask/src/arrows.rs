//! The walls between the crates: who may depend on whom, checked against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::cargo;

/// What each of our crates may depend on, among our own. Arrows only point down.
const ALLOWED: &[(&str, &[&str])] = &[
    ("konsort-crypto", &[]),
    ("konsort-pki", &["konsort-crypto"]),
    ("konsort-store", &[]),
    ("konsort-node", &["konsort-crypto", "konsort-pki"]),
    ("konsort-raft", &["konsort-store"]),
    ("fabric-proto", &[]),
    ("fabric-channel", &["konsort-crypto", "konsort-pki", "fabric-proto"]),
    ("fabric-ledger", &["konsort-crypto", "konsort-store", "fabric-proto", "fabric-channel"]),
    ("fabric-validation", &["konsort-crypto", "fabric-proto", "fabric-channel", "fabric-ledger"]),
    (
        "fabric-chaincode",
        &["konsort-crypto", "konsort-pki", "konsort-node", "fabric-proto", "fabric-channel", "fabric-ledger"],
    ),
    (
        "fabric-peer",
        &[
            "konsort-crypto",
            "konsort-pki",
            "konsort-node",
            "konsort-store",
            "fabric-proto",
            "fabric-channel",
            "fabric-ledger",
            "fabric-validation",
            "fabric-chaincode",
        ],
    ),
    (
        "fabric-orderer",
        &[
            "konsort-crypto",
            "konsort-pki",
            "konsort-node",
            "konsort-store",
            "konsort-raft",
            "fabric-proto",
            "fabric-channel",
            "fabric-ledger",
        ],
    ),
    ("fabric-client", &["konsort-crypto", "konsort-pki", "konsort-node", "fabric-proto", "fabric-channel"]),
    ("fabric-shim", &["konsort-node", "konsort-pki", "fabric-proto"]),
    ("bcos-types", &["konsort-crypto", "konsort-pki"]),
    ("bcos-chain", &["konsort-crypto", "konsort-store", "bcos-types"]),
    ("bcos-consensus", &["konsort-crypto", "konsort-raft", "bcos-types"]),
    (
        "bcos-node",
        &[
            "konsort-crypto",
            "konsort-pki",
            "konsort-store",
            "konsort-node",
            "konsort-raft",
            "bcos-types",
            "bcos-chain",
            "bcos-consensus",
        ],
    ),
    ("konsort-drivers", &["konsort-node"]),
    (
        "konsort-engines",
        &[
            "konsort-drivers",
            "konsort-crypto",
            "konsort-node",
            "konsort-pki",
            "fabric-proto",
            "fabric-channel",
            "fabric-client",
            "bcos-types",
        ],
    ),
    ("konsort-workbench", &["konsort-crypto", "konsort-node", "fabric-client"]),
    (
        "konsort-platform",
        &[
            "konsort-drivers",
            "konsort-engines",
            "konsort-workbench",
            "konsort-crypto",
            "konsort-node",
            "konsort-pki",
            "fabric-proto",
            "fabric-channel",
            "fabric-client",
            "bcos-types",
        ],
    ),
];

/// Crates whose logic is pure: no runtime, no sockets, no clock.
const PURE: &[&str] = &[
    "konsort-crypto",
    "konsort-pki",
    "fabric-proto",
    "fabric-channel",
    "fabric-validation",
    "bcos-types",
    "bcos-consensus",
];

/// Dependencies that nothing may bring in, with the reason.
const BANNED: &[(&str, &str)] = &[
    ("ring", "one TLS provider: aws-lc-rs"),
    ("openssl", "one TLS provider: aws-lc-rs"),
    ("native-tls", "one TLS provider: aws-lc-rs"),
    ("grpcio", "one gRPC stack: tonic"),
];

/// Fails with every arrow that points the wrong way.
pub(crate) fn check() -> anyhow::Result<()> {
    let output =
        cargo(&["metadata", "--format-version", "1", "--locked"]).output().context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut problems = Vec::new();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours: BTreeSet<&str> = packages
        .iter()
        .filter(|package| package["source"].is_null())
        .filter_map(|package| package["name"].as_str())
        .collect();
    for (banned, reason) in BANNED {
        // Optional dependencies that nobody switches on stand in the lock file, so the tree that is built is asked.
        let tree = cargo(&["tree", "--workspace", "--edges", "normal,build", "--invert", banned]).output()?;
        if tree.status.success() && !tree.stdout.is_empty() {
            problems.push(format!("{banned} is in the dependency tree; {reason}"));
        }
    }
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(may) = allowed.get(name) else { continue };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            // Tests may use what they like.
            if dependency["kind"] == "dev" {
                continue;
            }
            let target = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(target) && !may.contains(&target) {
                problems.push(format!("{name} depends on {target}: that arrow is not in the plan of ARCHITECTURE.md"));
            }
            if PURE.contains(&name) && ["tokio", "hyper", "reqwest"].contains(&target) {
                problems.push(format!("{name} is pure and must not depend on {target}"));
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}
