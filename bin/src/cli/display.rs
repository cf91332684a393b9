//! What the commands print: results on standard output, progress and errors on standard error.

use std::path::Path;
use std::time::Instant;

use konsort_platform::local::{LocalNetwork, NodeStatus, Report, Role, Step};

use super::{Output, Surroundings};

pub(super) fn paint(text: &str, code: &str, surroundings: Surroundings) -> String {
    if surroundings.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// One line of progress.
pub(super) fn step(step: &Step, started: Instant, surroundings: Surroundings) {
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    let (text, what) = match step {
        Step::Files => (pick("preparing certificates and configuration", "准备证书与配置"), String::new()),
        Step::Starting(node) => (pick("starting", "启动"), node.clone()),
        Step::Ready(node) => (pick("ready", "就绪"), node.clone()),
        Step::Joining(channel) => (pick("joining channel", "加入通道"), channel.clone()),
        Step::Installing(label) => (pick("installing chaincode", "安装链码"), label.clone()),
        Step::Approving(name) => (pick("approving chaincode", "批准链码"), name.clone()),
        Step::Committing(name) => (pick("committing chaincode definition", "提交链码定义"), name.clone()),
        Step::FirstTransaction => (pick("sending the first transaction", "发送第一笔交易"), String::new()),
        Step::Done => (pick("first transaction committed", "第一笔交易已提交"), String::new()),
    };
    let time = format!("{:>7.3} s", started.elapsed().as_secs_f64());
    eprintln!("{}  {text} {what}", paint(&time, "2", surroundings));
}

/// An error and what caused it.
pub(super) fn error(error: &anyhow::Error, surroundings: Surroundings) {
    let label = surroundings.language.pick("error:", "错误：");
    eprintln!("{} {error:#}", paint(label, "31;1", surroundings));
}

/// What runs where, and how to go on.
pub(super) fn report(report: &Report, surroundings: Surroundings) -> anyhow::Result<()> {
    if surroundings.output == Output::Json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    println!();
    println!("{} {}   {} {}", pick("channel", "通道"), report.channel, pick("chaincode", "链码"), report.chaincode);
    if let Some(milliseconds) = report.first_commit_ms {
        println!("{} {milliseconds} ms", pick("first transaction committed after", "首笔交易提交用时"));
    }
    println!("\n{}", pick("nodes", "节点"));
    for node in &report.nodes {
        let role = match node.role {
            Role::Orderer => "orderer",
            Role::Peer => "peer",
        };
        println!(
            "  {:<28} {role:<8} {:<12} grpcs://{:<16} http://{}",
            node.name, node.mspid, node.endpoint, node.operations
        );
    }
    println!("\n{}", pick("identities", "身份"));
    for identity in &report.identities {
        println!("  {:<28} {:<12} {}", identity.name, identity.mspid, identity.msp.display());
    }
    println!("\n{}", pick("call it next", "接下来可以"));
    for line in next_lines(report) {
        println!("  {line}");
    }
    Ok(())
}

/// Lines to call the network with our tools, a Node client and the peer command.
fn next_lines(report: &Report) -> Vec<String> {
    let Some(peer) = report.nodes.iter().find(|node| node.role == Role::Peer) else { return Vec::new() };
    let program = std::env::current_exe().map_or_else(|_| "konsort".into(), |path| path.display().to_string());
    let msp = |name: &str| {
        report
            .identities
            .iter()
            .find(|identity| identity.mspid == peer.mspid && identity.name.starts_with(name))
            .map(|identity| identity.msp.display().to_string())
            .unwrap_or_default()
    };
    let data = report.data.display();
    let (channel, chaincode) = (&report.channel, &report.chaincode);
    vec![
        format!("{program} status --data {data}"),
        format!(
            "node -e \"const{{connect,signers}}=require('@hyperledger/fabric-gateway'),g=require('@grpc/grpc-js'),f=require('fs'),m='{msp}/';const r=d=>f.readFileSync(m+d+'/'+f.readdirSync(m+d)[0]);const w=connect({{client:new g.Client('{endpoint}',g.credentials.createSsl(f.readFileSync('{ca}')),{{'grpc.ssl_target_name_override':'{name}'}}),identity:{{mspId:'{mspid}',credentials:r('signcerts')}},signer:signers.newPrivateKeySigner(require('crypto').createPrivateKey(r('keystore')))}});w.getNetwork('{channel}').getContract('{chaincode}').evaluateTransaction('GetAllAssets').then(b=>{{console.log(Buffer.from(b).toString());process.exit()}})\"",
            msp = msp("User1"),
            endpoint = peer.endpoint,
            ca = peer.tls_ca.display(),
            name = peer.name,
            mspid = peer.mspid,
        ),
        format!(
            "FABRIC_CFG_PATH={data}/nodes/{name} CORE_PEER_TLS_ENABLED=true CORE_PEER_LOCALMSPID={mspid} CORE_PEER_MSPCONFIGPATH={msp} CORE_PEER_TLS_ROOTCERT_FILE={ca} CORE_PEER_ADDRESS={endpoint} {program} peer chaincode query -C {channel} -n {chaincode} -c '{{\"Args\":[\"GetAllAssets\"]}}'",
            name = peer.name,
            mspid = peer.mspid,
            msp = msp("User1"),
            ca = peer.tls_ca.display(),
            endpoint = peer.endpoint,
        ),
    ]
}

/// That the foreground command now waits.
pub(super) fn running(surroundings: Surroundings) {
    eprintln!(
        "\n{}",
        surroundings
            .language
            .pick("running; Ctrl-C stops the nodes and keeps the ledger", "运行中；按 Ctrl-C 停止节点并保留账本")
    );
}

/// That the nodes are stopped.
pub(super) fn stopped(folder: &Path, kept: bool, surroundings: Surroundings) {
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    let text = if kept {
        pick("the nodes are stopped; the ledger stays in", "节点已停止，账本保留在")
    } else {
        pick("the network is removed from", "网络已删除：")
    };
    match surroundings.output {
        Output::Text => eprintln!("{text} {}", folder.display()),
        Output::Json => println!("{}", serde_json::json!({ "stopped": true, "removed": !kept, "data": folder })),
    }
}

/// A table of nodes.
pub(super) fn status(network: &LocalNetwork, nodes: &[NodeStatus], surroundings: Surroundings) -> anyhow::Result<()> {
    if surroundings.output == Output::Json {
        let channel = &network.spec().channel;
        println!("{}", serde_json::to_string(&serde_json::json!({ "channel": channel, "nodes": nodes }))?);
        return Ok(());
    }
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    for node in nodes {
        let state = if node.running { pick("running", "运行中") } else { pick("stopped", "已停止") };
        let pid = node.pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
        let height = node.height.map(|height| format!("{} {height}", pick("height", "高度"))).unwrap_or_default();
        let problem = node.problem.clone().unwrap_or_default();
        println!("{:<28} {:<18} {state:<8} {pid:<12} {height:<12} {problem}", node.name, node.endpoint);
    }
    Ok(())
}
