use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use konsort_pki::{Certificate, verify_chain};

use super::{ChainPlan, ExpandPlan, Host, NodeFiles, build, expand};
use crate::config::NodeConfig;

fn plan(output: &Path) -> ChainPlan {
    ChainPlan {
        hosts: Host::parse_list("127.0.0.1:2,[::1]:1").unwrap(),
        output: output.join("nodes"),
        authority: None,
        program: "/bin/true".into(),
        keys: None,
        files: NodeFiles { web3_port: Some(8545), ..NodeFiles::default() },
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn lists_of_hosts() {
    let host = |address: &str, nodes| Host { address: address.into(), nodes };
    assert_eq!(Host::parse_list("10.0.0.1:2,10.0.0.2").unwrap(), [host("10.0.0.1", 2), host("10.0.0.2", 1)]);
    assert_eq!(Host::parse_list("[::1]:3,node.example:1").unwrap(), [host("::1", 3), host("node.example", 1)]);
    assert_eq!(Host::parse_list("a:1,a:2").unwrap(), [host("a", 3)]);
    for wrong in ["", "127.0.0.1:0", "127.0.0.1:x", "[::1:2", "../up:1", "a:900,b:200"] {
        assert!(Host::parse_list(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_chain_has_upstreams_layout_and_its_files_are_read_by_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let built = build(&plan(folder.path()), &mut |_| {}).unwrap();
    assert_eq!(built.nodes.len(), 3);
    let host = folder.path().join("nodes/127.0.0.1");
    for name in ["start_all.sh", "stop_all.sh", "fisco-bcos", "sdk/ca.crt", "sdk/sdk.crt", "sdk/sdk.key"] {
        assert!(host.join(name).is_file(), "{name}");
    }
    let ca = Certificate::from_pem(text(&folder.path().join("nodes/ca/ca.crt")).as_bytes()).unwrap();
    for node in &built.nodes {
        let conf = node.folder.join("conf");
        assert_eq!(text(&conf.join("node.nodeid")), node.node_id);
        assert_eq!(text(&conf.join("ssl.nodeid")).len(), 512);
        for secret in ["node.pem", "ssl.key"] {
            assert_eq!(fs::metadata(conf.join(secret)).unwrap().permissions().mode() & 0o777, 0o600, "{secret}");
        }
        let leaf = Certificate::from_pem(text(&conf.join("ssl.crt")).as_bytes()).unwrap();
        verify_chain(&leaf, std::slice::from_ref(&ca), &[], leaf.not_before() + 1).unwrap();
        assert!(!leaf.is_ca() && leaf.alt_names().is_empty());
        let config = NodeConfig::load(&node.folder.join("config.ini"), &[node.folder.join("config.genesis")]).unwrap();
        assert_eq!(config.groups[0].genesis.nodes.len(), 3);
        assert_eq!(config.p2p.nodes.len(), 3);
        assert!(config.web3.enable && config.rpc.ssl);
    }
    let ports: Vec<&str> = built.nodes.iter().map(|node| node.p2p.as_str()).collect();
    assert_eq!(ports, ["127.0.0.1:30300", "127.0.0.1:30301", "[::1]:30300"]);
    for script in ["start_all.sh", "stop_all.sh", "node0/start.sh", "node0/stop.sh"] {
        let checked = Command::new("bash").arg("-n").arg(host.join(script)).status().unwrap();
        assert!(checked.success(), "{script}");
    }
    let again = build(&plan(folder.path()), &mut |_| {}).unwrap_err().to_string();
    assert!(again.contains("exists already"), "{again}");
}

#[test]
fn one_more_node_comes_from_the_same_authority() {
    let folder = tempfile::tempdir().unwrap();
    let built = build(&plan(folder.path()), &mut |_| {}).unwrap();
    let expansion = ExpandPlan {
        configuration: built.nodes[0].folder.clone(),
        authority: folder.path().join("nodes/ca"),
        output: folder.path().join("nodes/127.0.0.1/node2"),
        program: "/bin/true".into(),
    };
    let id = expand(&expansion, &mut |_| {}).unwrap();
    assert!(built.nodes.iter().all(|node| node.node_id != id));
    let ca = Certificate::from_pem(text(&folder.path().join("nodes/ca/ca.crt")).as_bytes()).unwrap();
    let leaf = Certificate::from_pem(text(&expansion.output.join("conf/ssl.crt")).as_bytes()).unwrap();
    verify_chain(&leaf, &[ca], &[], leaf.not_before() + 1).unwrap();
    assert!(matches!(expand(&expansion, &mut |_| {}), Err(super::BuildError::Exists(_))));
    let missing = ExpandPlan { output: folder.path().join("other"), authority: "/nowhere".into(), ..expansion };
    assert!(expand(&missing, &mut |_| {}).unwrap_err().to_string().contains("with -d"));
}

#[test]
fn plans_that_make_no_chain_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let good = plan(folder.path());
    let refused = |change: &dyn Fn(&mut ChainPlan), reason: &str| {
        let mut plan = good.clone();
        change(&mut plan);
        let text = build(&plan, &mut |_| {}).unwrap_err().to_string();
        assert!(text.contains(reason), "{text}");
        assert!(!folder.path().join("nodes").exists(), "{reason}");
    };
    refused(&|plan| plan.files.p2p_port = 65535, "leave the range of ports");
    refused(&|plan| plan.files.group_id = "a b".into(), "group name [a b] invalid");
    refused(&|plan| plan.program = "/nowhere/fisco-bcos".into(), "with -e");
    refused(&|plan| plan.keys = Some(folder.path().into()), "-n holds 0 keys");
}
