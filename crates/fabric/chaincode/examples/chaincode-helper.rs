//! What a peer's own binary offers its chaincode: `confine` and built-in contracts, and the `run` of an external builder.

use std::io::Write as _;

use fabric_shim::{ClientSettings, ClientTlsFiles, samples};
use konsort_node::{Environment, Shutdown};

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().unwrap_or_default();
    let mut log = std::io::stderr();
    let result: Result<(), Box<dyn std::error::Error>> = match verb.to_str() {
        Some("confine") => {
            fabric_chaincode::confine::run(args, &mut log).map(|never| match never {}).map_err(Into::into)
        }
        Some("chaincode") => {
            let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
            let name = args.next().unwrap_or_default();
            let args: Vec<String> = args.collect();
            block_on(samples::run(&name, &Environment::process(), &args, Shutdown::new()))
        }
        Some("external-run") => external(args.nth(1).unwrap_or_default().as_ref()),
        _ => Err("usage: chaincode-helper confine|chaincode|external-run ...".into()),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(log, "{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn block_on<E: std::error::Error + 'static>(
    future: impl Future<Output = Result<(), E>>,
) -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(future)?;
    Ok(())
}

/// Reads `chaincode.json` as an external builder's `run` does.
fn external(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("chaincode.json"))?)?;
    let field = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
    let settings = ClientSettings {
        chaincode_id: field("chaincode_id"),
        peer_address: field("peer_address"),
        tls: Some(ClientTlsFiles {
            certificate: field("client_cert").into_bytes(),
            key: field("client_key").into_bytes(),
            root: field("root_cert").into_bytes(),
        }),
    };
    block_on(fabric_shim::connect(samples::AssetTransfer, &settings))
}
