//! The second engine's node and chain builder, with the options that scripts give them.

use std::path::PathBuf;
use std::process::ExitCode;

use bcos_node::NodeConfig;
use bcos_node::chain_builder::{self, ChainPlan, Consensus, ExpandPlan, Host, NodeFiles};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use konsort_node::{Environment, Metrics, logging};

use crate::language::Language;

fn parse(command: Command, args: &[String]) -> Result<ArgMatches, ExitCode> {
    let name = command.get_name().to_owned();
    command.try_get_matches_from(std::iter::once(name).chain(args.iter().cloned())).map_err(|error| {
        let _closed_pipe = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
    })
}

/// `fisco-bcos -c config.ini -g config.genesis`: a node.
pub(crate) fn node(args: &[String]) -> ExitCode {
    let environment = Environment::process();
    let language = Language::of(&environment);
    let pick = |english, chinese| language.pick(english, chinese);
    let command = Command::new("fisco-bcos")
        .about(pick("A node of a chain compatible with FISCO BCOS 3.x", "兼容 FISCO BCOS 3.x 的链节点"))
        .arg(
            Arg::new("config")
                .short('c')
                .long("config")
                .value_name("FILE")
                .default_value("./config.ini")
                .value_parser(value_parser!(PathBuf))
                .help(pick("The node's configuration", "节点配置文件")),
        )
        .arg(
            Arg::new("genesis")
                .short('g')
                .long("genesis")
                .value_name("FILE")
                .default_value("./config.genesis")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help(pick("A group's genesis; several run several groups", "群组创世配置；可多次给出以运行多个群组")),
        )
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::SetTrue)
                .help(pick("Show the version", "显示版本")),
        );
    let matches = match parse(command, args) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    if matches.get_flag("version") {
        println!("Konsort {}", env!("CARGO_PKG_VERSION"));
        println!("Compatible with FISCO BCOS Version : {}", chain_builder::COMPATIBILITY_VERSION);
        return ExitCode::SUCCESS;
    }
    let path = matches.get_one::<PathBuf>("config").cloned().unwrap_or_default();
    let genesis: Vec<PathBuf> = matches.get_many::<PathBuf>("genesis").unwrap_or_default().cloned().collect();
    let config = match NodeConfig::load(&path, &genesis) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("fisco-bcos: {error}");
            return ExitCode::FAILURE;
        }
    };
    let level = if config.log.enable { config.log.level.as_str() } else { "fatal" };
    // As upstream, output on the console is instead of files.
    let files = (config.log.enable && !config.log.console)
        .then(|| logging::LogFiles { folder: config.log.path.clone(), max_bytes: config.log.max_mib << 20 });
    if let Some(files) = &files
        && let Err(error) = logging::can_write(&files.folder)
    {
        eprintln!(
            "fisco-bcos: no log can be written to {}: {error}; correct [log] log_path in {} or the folder's owner",
            files.folder.display(),
            path.display()
        );
        return ExitCode::FAILURE;
    }
    if let Err(error) = logging::init_with_files(level, logging::Format::Console, files) {
        eprintln!("fisco-bcos: {error}");
        return ExitCode::FAILURE;
    }
    super::run_node("fisco-bcos", async |shutdown| {
        let running = bcos_node::start(config, Metrics::new(), shutdown.clone()).await?;
        // The start scripts wait for this word.
        println!("fisco-bcos is running, rpc {}", running.rpc_address());
        shutdown.triggered().await;
        running.stop().await;
        Ok::<_, bcos_node::StartError>(())
    })
}

/// Options of the builder that ask for what does not exist here, with the reason.
const REFUSED: [(char, &str, &str); 10] = [
    ('a', "auth", "permissions of contracts and the committee are not there yet; leave it out"),
    ('s', "sm", "chains with SM cryptography are not built yet"),
    ('H', "hsm", "hardware security modules are not supported yet"),
    ('w', "wasm", "WASM chains are not supported"),
    ('L', "lightnode", "there are no light nodes"),
    ('D', "docker", "copy the folders into containers instead: a node needs only its own folder and the program"),
    ('m', "monitor", "no monitor is needed: a node serves its metrics itself, see [metrics] in config.ini"),
    ('V', "chain-version", "pro and max chains do not exist; leave it out for the one form there is"),
    ('N', "modify", "put further authorities into conf/multiCaPath of the node by hand"),
    ('z', "tar", "pack the output folder with tar"),
];

fn builder_command(language: Language) -> Command {
    let pick = |english, chinese| language.pick(english, chinese);
    let text = |id: &'static str, short: char, value: &'static str, help: &'static str| {
        Arg::new(id).short(short).value_name(value).help(help)
    };
    let path = |id: &'static str, short: char, help: &'static str| {
        Arg::new(id).short(short).value_name("PATH").value_parser(value_parser!(PathBuf)).help(help)
    };
    let port = |id: &'static str, help: &'static str| {
        Arg::new(id).long(id).value_name("PORT").value_parser(value_parser!(u16)).help(help)
    };
    let mut command = Command::new("build_chain")
        .about(pick(
            "Builds the folders of a chain's nodes: configuration, certificates, keys, scripts",
            "生成链节点目录：配置、证书、密钥与脚本",
        ))
        .after_help(pick(
            "Examples:\n  build_chain -l 127.0.0.1:4 -p 30300,20200 -o nodes\n  build_chain -C expand -c config -d nodes/ca -o nodes/127.0.0.1/node4",
            "示例：\n  build_chain -l 127.0.0.1:4 -p 30300,20200 -o nodes\n  build_chain -C expand -c config -d nodes/ca -o nodes/127.0.0.1/node4",
        ))
        .arg(text("command", 'C', "COMMAND", pick("deploy or expand", "deploy 或 expand")).default_value("deploy"))
        .arg(text("hosts", 'l', "LIST", pick("Hosts and their nodes, as 192.168.0.1:2,192.168.0.2:2", "主机与节点数，如 192.168.0.1:2,192.168.0.2:2")))
        .arg(path("output", 'o', pick("Output folder", "输出目录")).default_value("./nodes"))
        .arg(text("ports", 'p', "P2P,RPC", pick("First ports", "起始端口")).default_value("30300,20200"))
        .arg(text("group", 'g', "ID", pick("Group id", "群组 ID")).default_value("group0"))
        .arg(text("chain", 'I', "ID", pick("Chain id", "链 ID")).default_value("chain0"))
        .arg(text("consensus", 'T', "KIND", pick("pbft, rpbft or raft (crash faults only)", "pbft、rpbft 或 raft（仅容忍崩溃）")).default_value("pbft"))
        .arg(path("program", 'e', pick("The node's program [default: this one]", "节点程序［默认本程序］")))
        .arg(path("keys", 'n', pick("Folder of PEM files to use as the nodes' keys", "节点私钥 PEM 目录")))
        .arg(path("authority", 'd', pick("Folder of the chain's ca.crt and ca.key", "链证书 ca.crt 与 ca.key 所在目录")))
        .arg(path("config", 'c', pick("expand: folder of config.ini, config.genesis and nodes.json", "扩容：config.ini、config.genesis 与 nodes.json 所在目录")))
        .arg(text("serial", 'R', "BOOL", pick("Execute one after another", "串行执行")).default_value("false"))
        .arg(text("version", 'v', "VERSION", pick("Compatibility version, 3.16.x", "兼容版本 3.16.x")))
        .arg(Arg::new("debug").short('E').action(ArgAction::SetTrue).help(pick("Debug log", "调试日志")))
        .arg(Arg::new("ipv6").short('6').action(ArgAction::SetTrue).help(pick("Listen on ::", "监听 ::")))
        .arg(port("web3-port", pick("Serve Ethereum JSON-RPC from this port on", "启用以太坊 JSON-RPC 的起始端口")))
        .arg(Arg::new("listen-ip").long("listen-ip").value_name("IP").help(pick("Address to listen on [default: 0.0.0.0]", "监听地址［默认 0.0.0.0］")))
        .arg(Arg::new("plain-rpc").long("plain-rpc").action(ArgAction::SetTrue).help(pick("JSON-RPC and SDK without TLS", "JSON-RPC 与 SDK 不启用 TLS")))
        .arg(
            Arg::new("min-seal-time")
                .long("min-seal-time")
                .value_name("MS")
                .default_value("500")
                .value_parser(value_parser!(u64))
                .help(pick("How long a block that is not full waits", "未满区块的等待毫秒数")),
        )
        .arg(Arg::new("json").long("output").value_parser(["text", "json"]).default_value("text").help(pick("Form of the result", "输出格式")));
    for (short, name, _) in REFUSED {
        command = command.arg(Arg::new(name).short(short).num_args(0..=1).hide(true));
    }
    command
}

/// `build_chain.sh`'s options: a new chain, or one more node.
pub(crate) fn build_chain(args: &[String]) -> ExitCode {
    let language = Language::of(&Environment::process());
    let matches = match parse(builder_command(language), args) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    match built(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[ERROR] {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn built(matches: &ArgMatches) -> anyhow::Result<()> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    for (short, name, reason) in REFUSED {
        let given = matches.value_source(name).is_some();
        anyhow::ensure!(!given, "-{short}: {reason}");
    }
    let version = text("version").trim_start_matches(['v', 'V']);
    anyhow::ensure!(
        version.is_empty() || version.starts_with("3.16"),
        "-v {version}: chains are compatible with version {}; leave -v out",
        chain_builder::COMPATIBILITY_VERSION
    );
    let json = text("json") == "json";
    let mut say = |line: &str| {
        if !json {
            println!("[INFO] {line}");
        }
    };
    let program = match path("program") {
        Some(program) => program,
        None => std::env::current_exe()?,
    };
    let output = path("output").unwrap_or_default();
    if text("command") == "expand" {
        let configuration = path("config").ok_or_else(|| {
            anyhow::anyhow!("expand: name the folder of config.ini, config.genesis and nodes.json with -c")
        })?;
        let authority = path("authority")
            .ok_or_else(|| anyhow::anyhow!("expand: name the folder of the chain's ca.crt and ca.key with -d"))?;
        let plan = ExpandPlan { configuration, authority, output, program };
        let node_id = chain_builder::expand(&plan, &mut say)?;
        if json {
            println!("{}", serde_json::json!({ "nodes": [{ "folder": plan.output, "node_id": node_id }] }));
        } else {
            say(&format!("nodeid               : {node_id}"));
            say(&format!("All completed. Files in {}", plan.output.display()));
        }
        return Ok(());
    }
    anyhow::ensure!(text("command") == "deploy", "-C {}: the commands are deploy and expand", text("command"));
    let plan = plan(matches, output, program)?;
    let chain = chain_builder::build(&plan, &mut say)?;
    if json {
        let nodes: Vec<_> = chain
            .nodes
            .iter()
            .map(|node| {
                serde_json::json!({
                    "folder": node.folder, "node_id": node.node_id, "p2p": node.p2p, "rpc": node.rpc, "web3": node.web3,
                })
            })
            .collect();
        println!("{}", serde_json::json!({ "nodes": nodes, "sdk": chain.sdk }));
        return Ok(());
    }
    println!("==============================================================");
    let hosts: Vec<&str> = plan.hosts.iter().map(|host| host.address.as_str()).collect();
    say(&format!("GroupID              : {}", plan.files.group_id));
    say(&format!("ChainID              : {}", plan.files.chain_id));
    say(&format!("fisco-bcos path      : {}", plan.program.display()));
    say("Auth mode            : false");
    say(&format!("Start port           : {} {}", plan.files.p2p_port, plan.files.rpc_port));
    say(&format!("Server IP            : {}", hosts.join(" ")));
    say("SM model             : false");
    say(&format!("Output dir           : {}", plan.output.display()));
    say(&format!("All completed. Files in {}", plan.output.display()));
    Ok(())
}

fn plan(matches: &ArgMatches, output: PathBuf, program: PathBuf) -> anyhow::Result<ChainPlan> {
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str).unwrap_or_default();
    let ports: Vec<u16> = text("ports").split(',').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
    let [p2p_port, rpc_port] = ports[..] else {
        anyhow::bail!("-p {}: write the first p2p and rpc port, for example 30300,20200", text("ports"))
    };
    let serial = text("serial").parse().map_err(|_| anyhow::anyhow!("-R {}: write true or false", text("serial")))?;
    let consensus = Consensus::parse(text("consensus"))
        .ok_or_else(|| anyhow::anyhow!("-T {}: write pbft, rpbft or raft", text("consensus")))?;
    let listen_ip = match matches.get_one::<String>("listen-ip") {
        Some(ip) => ip.clone(),
        None if matches.get_flag("ipv6") => "::".into(),
        None => "0.0.0.0".into(),
    };
    Ok(ChainPlan {
        hosts: Host::parse_list(text("hosts"))?,
        output,
        authority: matches.get_one::<PathBuf>("authority").cloned(),
        program,
        keys: matches.get_one::<PathBuf>("keys").cloned(),
        files: NodeFiles {
            group_id: text("group").into(),
            chain_id: text("chain").into(),
            consensus,
            p2p_port,
            rpc_port,
            web3_port: matches.get_one("web3-port").copied(),
            listen_ip,
            rpc_tls: !matches.get_flag("plain-rpc"),
            log_level: if matches.get_flag("debug") { "debug" } else { "info" },
            serial,
            min_seal_ms: matches.get_one("min-seal-time").copied().unwrap_or(500),
            ..NodeFiles::default()
        },
    })
}
