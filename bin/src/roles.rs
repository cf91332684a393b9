//! Every role this program can play, by the name it is started under.

mod bcos;

use std::process::ExitCode;

use fabric_client::tools::{self, Console, Outcome};
use konsort_node::{Config, Environment, Shutdown, logging};

/// Runs a role with what follows its name.
pub(crate) type Role = fn(&[String]) -> ExitCode;

/// The role of a name, if it has one.
pub(crate) fn find(name: &str) -> Option<Role> {
    Some(match name {
        "peer" => |args| tool("peer", args),
        "osnadmin" => |args| tool("osnadmin", args),
        "discover" => |args| tool("discover", args),
        "cryptogen" => |args| tool("cryptogen", args),
        "configtxgen" => |args| tool("configtxgen", args),
        "configtxlator" => |args| tool("configtxlator", args),
        "orderer" => orderer,
        "chaincode" => chaincode,
        "confine" => confine,
        "fisco-bcos" => bcos::node,
        "build_chain" | "build_chain.sh" => bcos::build_chain,
        _ => return None,
    })
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn tool(name: &str, args: &[String]) -> ExitCode {
    let environment = Environment::process();
    let mut console = Console {
        env: &|name| environment.get(name).map(str::to_owned),
        stdin: &mut std::io::stdin(),
        stdout: &mut std::io::stdout(),
        stderr: &mut std::io::stderr(),
    };
    match tools::run(name, args, &mut console) {
        Outcome::Exit(code) => exit_code(code),
        Outcome::StartPeerNode { chaincode_dev_mode } => peer_node(&environment, chaincode_dev_mode),
    }
}

/// Runs a node's main task on a runtime until it ends or a signal stops it.
fn run_node<E: std::fmt::Display>(name: &str, main: impl AsyncFnOnce(Shutdown) -> Result<(), E>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: cannot start the I/O runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        if let Err(error) = shutdown.on_signals() {
            return Err(format!("cannot listen for signals: {error}"));
        }
        main(shutdown).await.map_err(|error| error.to_string())
    });
    // Blocking work that is still running must not hold up the end for long; everything durable is on disk already.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn peer_node(environment: &Environment, chaincode_dev_mode: bool) -> ExitCode {
    let log = match logging::init(environment) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("peer: {error}");
            return ExitCode::FAILURE;
        }
    };
    run_node("peer", async |shutdown| {
        let mut config = fabric_peer::PeerConfig::find(environment)?;
        config.chaincode_dev_mode |= chaincode_dev_mode;
        fabric_peer::run(config, log, shutdown).await
    })
}

fn orderer(args: &[String]) -> ExitCode {
    match args.first().map(String::as_str) {
        None | Some("start") => {}
        Some("version") => {
            println!("{}", tools::version_text("orderer"));
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            eprintln!(
                "usage: orderer [<flags>] <command> [<args> ...]\n\nCommands:\n  start*\n    Start the orderer node\n\n  version\n    Show version information"
            );
            return ExitCode::FAILURE;
        }
    }
    let environment = Environment::process();
    let log = match logging::init(&environment) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("orderer: {error}");
            return ExitCode::FAILURE;
        }
    };
    run_node("orderer", async |shutdown| {
        let config = Config::find("orderer.yaml", "ORDERER", &environment)
            .map_err(fabric_orderer::OrdererError::from)
            .and_then(|config| fabric_orderer::OrdererConfig::load(&config))?;
        fabric_orderer::run(config, log, shutdown).await
    })
}

/// A contract that is part of this program, started by the chaincode runtime as any other chaincode process.
fn chaincode(args: &[String]) -> ExitCode {
    let Some((name, rest)) = args.split_first() else {
        eprintln!(
            "usage: konsort chaincode NAME [--peer.address HOST:PORT]; known names: {}",
            fabric_shim::samples::NAMES.join(", ")
        );
        return ExitCode::from(2);
    };
    let environment = Environment::process();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("chaincode: cannot start the I/O runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        if let Err(error) = shutdown.on_signals() {
            return Err(format!("cannot listen for signals: {error}"));
        }
        fabric_shim::samples::run(name, &environment, rest, shutdown).await.map_err(|error| error.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaincode {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Takes rights away from this process and becomes the given command.
fn confine(args: &[String]) -> ExitCode {
    match fabric_chaincode::confine::run(args.iter().map(std::ffi::OsString::from), &mut std::io::stderr()) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("confine: {error}");
            ExitCode::from(126)
        }
    }
}
