//! The commands for a chain of the second engine: `up --engine bcos`, and `down`, `status` and `logs` in its data folder.

use std::path::Path;
use std::time::Instant;

use clap::ArgMatches;
use konsort_platform::local::chain::{ChainReport, ChainRequest, ChainStep, LocalChain};

use super::display::{paint, stopped};
use super::{Output, Surroundings, data_of, display, runtime, up};

fn show(step: &ChainStep, started: Instant, surroundings: Surroundings) {
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    let (text, what) = match step {
        ChainStep::Files => (pick("preparing certificates, keys and configuration", "准备证书、密钥与配置"), ""),
        ChainStep::Starting(node) => (pick("starting", "启动"), node.as_str()),
        ChainStep::Ready(node) => (pick("ready", "就绪"), node.as_str()),
        ChainStep::Deploying => (pick("deploying the sample contract", "部署示例合约"), ""),
        ChainStep::Calling => (pick("calling the sample contract", "调用示例合约"), ""),
        ChainStep::Done => (pick("the first receipt is there", "已取得第一张回执"), ""),
    };
    let time = format!("{:>7.3} s", started.elapsed().as_secs_f64());
    eprintln!("{}  {text} {what}", paint(&time, "2", surroundings));
}

/// `konsort up --engine bcos`
pub(super) fn run_up(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let started = Instant::now();
    let progress = |step: ChainStep| show(&step, started, surroundings);
    let program = std::env::current_exe()?;
    let defaults = ChainRequest::default();
    let request = ChainRequest {
        nodes: arguments.get_one("nodes").copied().unwrap_or(defaults.nodes),
        consensus: arguments.get_one::<String>("consensus").cloned().unwrap_or(defaults.consensus),
        ports: up::ports(arguments)?,
    };
    progress(ChainStep::Files);
    let mut chain = LocalChain::open_or_create(&program, &data_of(arguments), &request)?;
    let runtime = runtime()?;
    // Ctrl-C during the start must not leave nodes behind either.
    let outcome = runtime.block_on(async {
        tokio::select! {
            report = chain.up(&program, &progress) => Some(report),
            () = up::interrupted() => None,
        }
    });
    let Some(report) = outcome else {
        chain.stop()?;
        anyhow::bail!("{}", surroundings.language.pick("interrupted; the nodes were stopped", "已中断，节点已停止"))
    };
    print_report(&report?, surroundings)?;
    if arguments.get_flag("detach") {
        return Ok(());
    }
    display::running(surroundings);
    let processes = chain.processes();
    let died = runtime.block_on(async {
        tokio::select! {
            () = up::interrupted() => None,
            name = up::first_death(&processes) => Some(name),
        }
    });
    let forced = chain.stop()?;
    stopped(chain.root(), true, surroundings);
    if let Some(name) = died {
        anyhow::bail!("{name} stopped by itself; see {}", chain.log_of(&name)?.display());
    }
    anyhow::ensure!(forced.is_empty(), "these nodes did not stop in time and were ended: {}", forced.join(", "));
    Ok(())
}

fn print_report(report: &ChainReport, surroundings: Surroundings) -> anyhow::Result<()> {
    if surroundings.output == Output::Json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    let contract = report.contract.as_deref().unwrap_or_default();
    println!();
    println!(
        "{} {}   {} {}   {}",
        pick("chain", "链"),
        report.chain_id,
        pick("group", "群组"),
        report.group_id,
        report.consensus
    );
    println!("{} {contract}", pick("sample contract", "示例合约"));
    if let Some(milliseconds) = report.first_receipt_ms {
        println!("{} {milliseconds} ms", pick("first receipts after", "首批回执用时"));
    }
    println!("\n{}", pick("nodes", "节点"));
    for node in &report.nodes {
        let id: String = node.node_id.chars().take(16).collect();
        println!("  {:<8} {id}…  rpc {:<16} {}", node.name, node.rpc, node.web3);
    }
    println!("\n{}", pick("for clients", "客户端所需"));
    println!("  {:<24} {}", pick("SDK certificates", "SDK 证书"), report.sdk.display());
    println!("  {:<24} {}", pick("account (PEM)", "账户（PEM）"), report.account.display());
    println!("\n{}", pick("call it next", "接下来可以"));
    for line in next_lines(report) {
        println!("  {line}");
    }
    Ok(())
}

/// Lines to call the chain with our tools, over the SDK's port and with an Ethereum client.
fn next_lines(report: &ChainReport) -> Vec<String> {
    let Some(node) = report.nodes.first() else { return Vec::new() };
    let program = std::env::current_exe().map_or_else(|_| "konsort".into(), |path| path.display().to_string());
    let (sdk, group) = (report.sdk.display(), &report.group_id);
    let contract = report.contract.as_deref().unwrap_or_default();
    vec![
        format!("{program} status --data {}", report.data.display()),
        format!(
            "curl -sk --cert {sdk}/sdk.crt --key {sdk}/sdk.key https://{}/ -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getBlockByNumber\",\"params\":[\"{group}\",\"\",1,false,false]}}'",
            node.rpc
        ),
        format!(
            "node -e \"const{{JsonRpcProvider,Contract}}=require('ethers');new Contract('{contract}',['function count() view returns (uint256)'],new JsonRpcProvider('{}')).count().then(n=>console.log(n+' assets'))\"",
            node.web3
        ),
    ]
}

/// `konsort down`
pub(super) fn down(data: &Path, keep: bool, surroundings: Surroundings) -> anyhow::Result<()> {
    let chain = LocalChain::open(data)?;
    let folder = chain.root().to_path_buf();
    if keep {
        chain.stop()?;
    } else {
        chain.remove()?;
    }
    stopped(&folder, keep, surroundings);
    Ok(())
}

/// `konsort status`; true when every node runs.
pub(super) fn status(data: &Path, surroundings: Surroundings) -> anyhow::Result<bool> {
    let chain = LocalChain::open(data)?;
    let nodes = runtime()?.block_on(chain.status());
    if surroundings.output == Output::Json {
        let group = &chain.spec().group_id;
        println!("{}", serde_json::to_string(&serde_json::json!({ "group": group, "nodes": nodes }))?);
    } else {
        let pick = |english, chinese| surroundings.language.pick(english, chinese);
        for node in &nodes {
            let state = if node.running { pick("running", "运行中") } else { pick("stopped", "已停止") };
            let pid = node.pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
            let height = node.height.map(|height| format!("{} {height}", pick("block", "区块"))).unwrap_or_default();
            let problem = node.problem.clone().unwrap_or_default();
            println!("{:<10} {:<18} {state:<8} {pid:<12} {height:<12} {problem}", node.name, node.rpc);
        }
    }
    Ok(nodes.iter().all(|node| node.running))
}
