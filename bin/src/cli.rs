//! The platform's own command line: `up`, `down`, `status`, `logs`, `completion`.

mod chain;
mod display;
mod doctor;
mod remote;
mod server;
mod up;
mod whole;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use konsort_node::Environment;
use konsort_platform::local::LocalNetwork;
use konsort_platform::local::chain::LocalChain;

use crate::language::Language;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What every command needs to know of its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    /// Language for people.
    pub(crate) language: Language,
    /// Form of results.
    pub(crate) output: Output,
    /// Whether colours may be used on standard error.
    pub(crate) colour: bool,
}

/// Runs the command line; errors go to standard error, the exit code is 0, 1 (failed) or 2 (usage).
pub(crate) fn run(args: &[String]) -> ExitCode {
    let environment = Environment::process();
    let language = Language::of(&environment);
    let matches = match command(language)
        .try_get_matches_from(std::iter::once("konsort".to_owned()).chain(args.iter().cloned()))
    {
        Ok(matches) => matches,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _closed_pipe = error.print();
            return ExitCode::from(code);
        }
    };
    let output = if matches.get_one::<String>("output").is_some_and(|form| form == "json") {
        Output::Json
    } else {
        Output::Text
    };
    let colour = std::io::stderr().is_terminal() && environment.get("NO_COLOR").is_none();
    let surroundings = Surroundings { language, output, colour };
    let outcome = match matches.subcommand() {
        Some(("up", arguments)) => up::run(arguments, surroundings),
        Some(("server", arguments)) => server::run(arguments, surroundings),
        Some((noun, arguments)) if remote::knows(noun) => remote::run(noun, arguments, surroundings),
        Some(("down", arguments)) => down(arguments, surroundings),
        Some(("status", arguments)) => status(arguments, surroundings),
        Some(("logs", arguments)) => logs(arguments, surroundings),
        Some(("doctor", arguments)) => doctor::run(arguments, surroundings),
        Some(("completion", arguments)) => {
            if let Some(&shell) = arguments.get_one::<clap_complete::Shell>("shell") {
                clap_complete::generate(shell, &mut command(language), "konsort", &mut std::io::stdout());
            }
            Ok(())
        }
        _ => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            display::error(&error, surroundings);
            ExitCode::FAILURE
        }
    }
}

fn data_argument(language: Language) -> Arg {
    Arg::new("data")
        .long("data")
        .value_name("DIR")
        .default_value(".konsort")
        .value_parser(value_parser!(PathBuf))
        .help(language.pick("Folder that holds everything", "存放全部数据的目录"))
}

fn command(language: Language) -> Command {
    let pick = |english, chinese| language.pick(english, chinese);
    Command::new("konsort")
        .version(env!("CARGO_PKG_VERSION"))
        .about(pick("Consortium networks in one program", "会盟：一个程序运行整个联盟链网络"))
        .after_help(pick(
            "Tools under their usual names: konsort peer|orderer|cryptogen|configtxgen|configtxlator|osnadmin|discover|fisco-bcos|build_chain …\n(or link this program under such a name).\n\nExample:\n  konsort up                        server, console, a network of each engine\n  konsort network list              what there is; also node, contract, tx, block, …\n  konsort contract call basic GetAllAssets\n  konsort up --engine bcos --data chain   only one network, no server\n  konsort down                      stop and remove everything",
            "常用工具沿用原名：konsort peer|orderer|cryptogen|configtxgen|configtxlator|osnadmin|discover|fisco-bcos|build_chain …\n（也可以用这些名字链接本程序）。\n\n示例：\n  konsort up                        启动服务器、控制台及两种引擎的网络\n  konsort network list              查看网络；另有 node、contract、tx、block 等\n  konsort contract call basic GetAllAssets\n  konsort up --engine bcos --data chain   只启动单个网络，不含服务器\n  konsort down                      停止并删除全部",
        ))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("output")
                .long("output")
                .global(true)
                .value_parser(["text", "json"])
                .default_value("text")
                .help(pick("Form of the result", "输出格式")),
        )
        .subcommand(up::command(language).arg(data_argument(language)))
        .subcommand(server::command(language))
        .subcommands(remote::commands(language))
        .subcommand(
            Command::new("down")
                .about(pick("Stop the network and remove its data", "停止网络并删除数据"))
                .arg(data_argument(language))
                .arg(
                    Arg::new("keep")
                        .long("keep")
                        .action(ArgAction::SetTrue)
                        .help(pick("Only stop the nodes; `konsort up` continues the ledger", "只停止节点，保留账本，可再次 `konsort up`")),
                ),
        )
        .subcommand(
            Command::new("status")
                .about(pick("Show every node, its process and ledger height", "显示各节点的进程与账本高度"))
                .arg(data_argument(language)),
        )
        .subcommand(doctor::command(language))
        .subcommand(
            Command::new("logs")
                .about(pick("Show the log of a node", "显示节点日志"))
                .arg(data_argument(language))
                .arg(
                    Arg::new("node")
                        .value_name("NODE")
                        .required(true)
                        .help(pick("Node, as peer0.org1.example.com or orderer", "节点名，如 peer0.org1.example.com 或 orderer")),
                )
                .arg(
                    Arg::new("follow")
                        .short('f')
                        .long("follow")
                        .action(ArgAction::SetTrue)
                        .help(pick("Go on showing what is added", "持续显示新日志")),
                ),
        )
        .subcommand(
            Command::new("completion")
                .about(pick("Print a completion script for a shell", "输出命令补全脚本"))
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(clap_complete::Shell))),
        )
}

fn data_of(arguments: &ArgMatches) -> PathBuf {
    arguments.get_one::<PathBuf>("data").cloned().unwrap_or_else(|| PathBuf::from(".konsort"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn down(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let data = data_of(arguments);
    if whole::is_in(&data) {
        let keep = arguments.get_flag("keep");
        if keep {
            whole::stop(&data, surroundings)?;
        } else {
            whole::remove(&data, surroundings)?;
        }
        display::stopped(&data, keep, surroundings);
        return Ok(());
    }
    if LocalChain::is_in(&data_of(arguments)) {
        return chain::down(&data_of(arguments), arguments.get_flag("keep"), surroundings);
    }
    let network = LocalNetwork::open(&data_of(arguments))?;
    let folder = network.layout().root().to_path_buf();
    let keep = arguments.get_flag("keep");
    if keep {
        network.stop()?;
    } else {
        network.remove()?;
    }
    display::stopped(&folder, keep, surroundings);
    Ok(())
}

fn status(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let data = data_of(arguments);
    let all_run = if whole::is_in(&data) {
        remote::status(&data, surroundings)?
    } else if LocalChain::is_in(&data) {
        chain::status(&data, surroundings)?
    } else {
        let network = LocalNetwork::open(&data)?;
        let nodes = runtime()?.block_on(network.status());
        display::status(&network, &nodes, surroundings)?;
        nodes.iter().all(|node| node.running)
    };
    anyhow::ensure!(
        all_run,
        "{}",
        surroundings
            .language
            .pick("not every node is running; start them with `konsort up`", "有节点未运行，请执行 `konsort up`")
    );
    Ok(())
}

fn logs(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    let data = data_of(arguments);
    let name = arguments.get_one::<String>("node").map(String::as_str).unwrap_or_default();
    if whole::is_in(&data) {
        return remote::logs(&data, name, arguments.get_flag("follow"), surroundings);
    }
    let path = if LocalChain::is_in(&data) {
        LocalChain::open(&data)?.log_of(name)?
    } else {
        LocalNetwork::open(&data)?.log_of(name)?
    };
    let mut file =
        std::fs::File::open(&path).map_err(|error| anyhow::anyhow!("cannot open {}: {error}", path.display()))?;
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read > 0 {
            if out.write_all(&buffer[..read]).is_err() {
                // The reader went away (`| head`), which is a normal end.
                return Ok(());
            }
        } else if arguments.get_flag("follow") {
            out.flush()?;
            std::thread::sleep(std::time::Duration::from_millis(100));
        } else {
            return Ok(());
        }
    }
}
