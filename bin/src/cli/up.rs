//! `konsort up`: a running network from one command.

use std::time::Instant;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use konsort_platform::local::chain::LocalChain;
use konsort_platform::local::{LocalNetwork, NodeProcess, Ports, Request, Step};

use super::{Surroundings, chain, data_of, display, runtime, whole};
use crate::language::Language;

pub(super) fn command(language: Language) -> Command {
    let pick = |english, chinese| language.pick(english, chinese);
    Command::new("up")
        .about(pick(
            "Start everything: server and console, a network of each engine with a sample contract and a first transaction",
            "启动全部：服务器与控制台、两种引擎的网络各一，含示例合约与第一笔交易",
        ))
        .arg(
            Arg::new("engine")
                .long("engine")
                .value_parser(["fabric", "bcos"])
                .help(pick(
                    "Only one network of this kind, without the server [default: server, console and a network of each kind]",
                    "只启动此类型的单个网络，不启动服务器［默认：服务器、控制台及两种网络各一］",
                )),
        )
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("N")
                .default_value("4")
                .value_parser(value_parser!(usize))
                .help(pick("bcos: sealers (1 to 16)", "bcos：共识节点数（1 到 16）")),
        )
        .arg(
            Arg::new("consensus")
                .long("consensus")
                .value_parser(["pbft", "rpbft", "raft"])
                .default_value("pbft")
                .help(pick("bcos: how the nodes agree", "bcos：共识算法")),
        )
        .arg(Arg::new("detach").long("detach").short('d').action(ArgAction::SetTrue).help(pick(
            "Return once the first transaction is committed, the nodes go on",
            "首笔交易提交后返回，节点继续运行",
        )))
        .arg(
            Arg::new("orgs")
                .long("orgs")
                .value_name("N")
                .default_value("2")
                .value_parser(value_parser!(usize))
                .help(pick("Peer organisations (1 to 9), one peer each", "组织数（1 到 9），每个组织一个 peer")),
        )
        .arg(
            Arg::new("orderers")
                .long("orderers")
                .value_name("N")
                .default_value("1")
                .value_parser(value_parser!(usize))
                .help(pick("Raft orderers: 1, 3 or 5", "Raft 排序节点数：1、3 或 5")),
        )
        .arg(
            Arg::new("channel")
                .long("channel")
                .value_name("NAME")
                .default_value("mychannel")
                .help(pick("Channel name", "通道名")),
        )
        .arg(Arg::new("policy").long("policy").value_name("POLICY").help(pick(
            "Endorsement policy of the sample, as AND('Org1MSP.member','Org2MSP.member') [default: any organisation]",
            "示例合约的背书策略，如 AND('Org1MSP.member','Org2MSP.member')［默认任一组织］",
        )))
        .arg(Arg::new("ports").long("ports").value_name("default|free|PORT").default_value("default").help(pick(
            "The usual ports (7050, 7051, …; the console's is 8080), free ones, or from PORT on",
            "常用端口（7050、7051…，控制台为 8080）、空闲端口，或从 PORT 起",
        )))
        .arg(
            Arg::new("batch-size")
                .long("batch-size")
                .value_name("N")
                .default_value("500")
                .value_parser(value_parser!(u32).range(1..))
                .help(pick("Most transactions in a block", "每个区块的最大交易数")),
        )
        .arg(
            Arg::new("batch-timeout")
                .long("batch-timeout")
                .value_name("TIME")
                .default_value("100ms")
                .help(pick("Longest wait for more transactions, as 2s or 100ms", "出块前的最长等待，如 2s 或 100ms")),
        )
}

/// Options that say what a single network is to be.
const ONE_NETWORK: [&str; 8] =
    ["nodes", "consensus", "orgs", "orderers", "channel", "policy", "batch-size", "batch-timeout"];

/// What `--ports` says.
pub(super) fn ports(arguments: &ArgMatches) -> anyhow::Result<Ports> {
    Ok(match arguments.get_one::<String>("ports").map(String::as_str) {
        None | Some("default") => Ports::WellKnown,
        Some("free") => Ports::Free,
        Some(number) => Ports::From(
            number.parse().map_err(|_| anyhow::anyhow!("--ports {number}: expected default, free or a port number"))?,
        ),
    })
}

fn request(arguments: &ArgMatches) -> anyhow::Result<Request> {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    let defaults = Request::default();
    Ok(Request {
        organizations: arguments.get_one("orgs").copied().unwrap_or(defaults.organizations),
        orderers: arguments.get_one("orderers").copied().unwrap_or(defaults.orderers),
        channel: text("channel").unwrap_or(defaults.channel),
        policy: text("policy"),
        ports: ports(arguments)?,
        max_message_count: arguments.get_one("batch-size").copied().unwrap_or(defaults.max_message_count),
        batch_timeout: text("batch-timeout").unwrap_or(defaults.batch_timeout),
    })
}

pub(super) fn run(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let data = data_of(arguments);
    let named = arguments.get_one::<String>("engine").is_some();
    if whole::is_in(&data) || !(named || data.join("network.json").exists() || LocalChain::is_in(&data)) {
        anyhow::ensure!(!named, "{} holds a server with its networks; leave --engine out", data.display());
        let given = |name: &&str| arguments.value_source(name) == Some(ValueSource::CommandLine);
        if let Some(option) = ONE_NETWORK.iter().find(|name| given(name)) {
            let (english, chinese) = (
                "is for a single network: add --engine fabric or --engine bcos, or make one with `konsort network create`",
                "仅用于单个网络：请加上 --engine fabric 或 --engine bcos，或使用 `konsort network create`",
            );
            anyhow::bail!("--{option} {}", surroundings.language.pick(english, chinese));
        }
        return whole::up(&data, arguments.get_flag("detach"), ports(arguments)?, surroundings);
    }
    let wants_chain = arguments.get_one::<String>("engine").is_some_and(|engine| engine == "bcos");
    if wants_chain || LocalChain::is_in(&data_of(arguments)) {
        anyhow::ensure!(
            !data_of(arguments).join("network.json").exists(),
            "{} holds a network of the other engine; choose another folder with --data",
            data_of(arguments).display()
        );
        return chain::run_up(arguments, surroundings);
    }
    let started = Instant::now();
    let show = |step: Step| display::step(&step, started, surroundings);
    let program = std::env::current_exe()?;
    let data = data_of(arguments);
    show(Step::Files);
    let network = LocalNetwork::open_or_create(&data, &request(arguments)?)?;
    let runtime = runtime()?;
    // Ctrl-C during the start must not leave nodes behind either.
    let report = runtime.block_on(async {
        tokio::select! {
            report = network.up(&program, &show) => report.map_err(anyhow::Error::from),
            () = interrupted() => {
                network.stop()?;
                anyhow::bail!("{}", surroundings.language.pick("interrupted; the nodes were stopped", "已中断，节点已停止"))
            }
        }
    })?;
    display::report(&report, surroundings)?;
    if arguments.get_flag("detach") {
        return Ok(());
    }
    display::running(surroundings);
    let processes = network.processes();
    let died = runtime.block_on(async {
        tokio::select! {
            () = interrupted() => None,
            name = first_death(&processes) => Some(name),
        }
    });
    let forced = network.stop()?;
    display::stopped(network.layout().root(), true, surroundings);
    if let Some(name) = died {
        let log = network.log_of(&name)?;
        anyhow::bail!("{name} stopped by itself; see {}", log.display());
    }
    anyhow::ensure!(forced.is_empty(), "these nodes did not stop in time and were ended: {}", forced.join(", "));
    Ok(())
}

pub(super) async fn interrupted() {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => if outcome.is_err() { std::future::pending::<()>().await },
        _ = terminate.recv() => {}
    }
}

/// Waits until one of these ends without being asked to.
pub(super) async fn first_death(processes: &[NodeProcess]) -> String {
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        if let Some(dead) = processes.iter().find(|process| !process.is_running()) {
            return dead.name.clone();
        }
    }
}
