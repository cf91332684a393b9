//! `konsort up` without `--engine`: the server with its console, a network of each engine with a sample contract, and a first
//! transaction on each; all of it through the API, as anybody else would do it.

use std::io::BufRead as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Method;
use konsort_platform::local::chain::{SAMPLE_ABI, SAMPLE_BYTECODE};
use konsort_platform::local::{NodeProcess, Ports};
use serde_json::{Value, json};

use super::display::paint;
use super::{Output, Surroundings, runtime};
use crate::api::{Api, ServerRecord};

/// Port of the console when it is free.
const PORT: u16 = 8080;
/// How long a server gets to answer, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// One of the two networks.
struct Demo {
    name: &'static str,
    request: fn() -> Value,
    contract: &'static str,
    artifact: fn() -> Value,
    method: &'static str,
    arguments: fn() -> Value,
}

const FABRIC: Demo = Demo {
    name: "fabric-demo",
    request: || {
        json!({ "name": "fabric-demo", "engine": "fabric", "consensus": "raft", "orderers": 1, "block_time_ms": 100,
            "organisations": [{ "name": "Org1", "nodes": 1 }, { "name": "Org2", "nodes": 1 }] })
    },
    contract: "basic",
    artifact: || json!({ "kind": "builtin", "name": "asset-transfer" }),
    method: "InitLedger",
    arguments: || json!([]),
};

const BCOS: Demo = Demo {
    name: "bcos-demo",
    request: || {
        json!({ "name": "bcos-demo", "engine": "bcos", "consensus": "pbft", "block_time_ms": 20,
            "organisations": [{ "name": "AgencyA", "nodes": 2 }, { "name": "AgencyB", "nodes": 2 }] })
    },
    contract: "Asset",
    artifact: || {
        let abi: Value = serde_json::from_str(SAMPLE_ABI).unwrap_or_default();
        json!({ "kind": "evm", "bytecode": SAMPLE_BYTECODE.trim(), "abi": abi })
    },
    method: "create",
    arguments: || json!(["asset1", "made by konsort up", "100"]),
};

/// Whether a folder holds what this command makes.
pub(super) fn is_in(data: &Path) -> bool {
    data.join("server.db").exists() || data.join("server.json").exists()
}

fn step(what: &str, started: Instant, surroundings: Surroundings) {
    let time = format!("{:>7.3} s", started.elapsed().as_secs_f64());
    eprintln!("{}  {what}", paint(&time, "2", surroundings));
}

/// The running server of a folder, or one started for it; and the link that opens its console.
pub(super) fn server(
    data: &Path,
    ports: Ports,
    surroundings: Surroundings,
) -> anyhow::Result<(Api, NodeProcess, String)> {
    if let Some(record) = ServerRecord::read(data)
        && let Some(process) = NodeProcess::of("server", record.pid)
    {
        let api = Api::of(&record, surroundings.language)?;
        if runtime()?.block_on(api.get("/v1/version")).is_ok() {
            let link = record.setup_link.unwrap_or(record.url);
            return Ok((api, process, link));
        }
    }
    let listen = match ports {
        Ports::WellKnown if TcpListener::bind(("127.0.0.1", PORT)).is_ok() => PORT,
        Ports::WellKnown | Ports::Free => 0,
        Ports::From(port) => port,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot make the folder {}", data.display()))?;
    let log = data.join("server.log");
    let errors = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--output", "json", "server", "--listen", &format!("127.0.0.1:{listen}"), "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors.with_context(|| format!("cannot write {}", log.display()))?)
        // Ctrl-C is for this command, which stops the server in its turn.
        .process_group(0)
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        std::io::BufReader::new(output).read_line(&mut line)?;
    }
    let Ok(told) = serde_json::from_str::<Value>(&line) else {
        let _ended = child.wait();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(5).collect();
        bail!("the server did not start: {}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    };
    let link = told["console"].as_str().unwrap_or_default().to_owned();
    let record = ServerRecord::read(data).with_context(|| format!("cannot read server.json in {}", data.display()))?;
    let process = NodeProcess::of("server", record.pid).context("the server ended again")?;
    Ok((Api::of(&record, surroundings.language)?, process, link))
}

/// `konsort up`
pub(super) fn up(data: &Path, detach: bool, ports: Ports, surroundings: Surroundings) -> anyhow::Result<()> {
    let started = Instant::now();
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    step(pick("starting the server", "启动服务器"), started, surroundings);
    let (api, process, link) = server(data, ports, surroundings)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            both = async { tokio::try_join!(demo(&api, &FABRIC, started, surroundings), demo(&api, &BCOS, started, surroundings)) } => both,
            () = super::up::interrupted() => Err(anyhow::anyhow!("{}", pick("interrupted", "已中断"))),
        }
    });
    let networks = match outcome {
        Ok((fabric, bcos)) => [fabric, bcos],
        Err(error) => {
            if !detach {
                let _best_effort = stop(data, surroundings);
            }
            return Err(error.context(format!(
                "{} {}",
                pick("the log of the server is", "服务器日志位于"),
                data.join("server.log").display()
            )));
        }
    };
    report(data, &link, started.elapsed(), &networks, surroundings);
    if detach {
        return Ok(());
    }
    super::display::running(surroundings);
    let died = runtime.block_on(async {
        tokio::select! {
            () = super::up::interrupted() => None,
            name = super::up::first_death(std::slice::from_ref(&process)) => Some(name),
        }
    });
    if died.is_some() {
        bail!(
            "{} {}",
            pick("the server stopped by itself; see", "服务器意外停止，请查看"),
            data.join("server.log").display()
        );
    }
    stop(data, surroundings)?;
    super::display::stopped(data, true, surroundings);
    Ok(())
}

/// Takes a network to its first transaction, from wherever an earlier run left it.
async fn demo(api: &Api, demo: &Demo, started: Instant, surroundings: Surroundings) -> anyhow::Result<Value> {
    let told = |title: &str| step(&format!("{}: {title}", demo.name), started, surroundings);
    let found = api.list(&format!("/v1/networks?name={}", demo.name), 1).await?;
    let id = if let Some(network) = found.first() {
        let id = network["id"].as_str().unwrap_or_default().to_owned();
        unfinished(api, &id, &told).await?;
        if network["state"] == "stopped" {
            let operation = api.post(&format!("/v1/networks/{id}/start"), &json!({})).await?;
            api.wait(&operation, &told).await?;
        }
        id
    } else {
        let operation = api.post("/v1/networks", &(demo.request)()).await?;
        let id = operation["network"].as_str().context("the operation names no network")?.to_owned();
        api.wait(&operation, &told).await?;
        id
    };
    let known = api.list(&format!("/v1/contracts?network={id}&name={}", demo.contract), 1).await?;
    let live = known.first().filter(|contract| contract["deployed_at"].is_string());
    let mut first = None;
    if live.is_none() {
        let request = json!({ "name": demo.contract, "version": "1.0", "artifact": (demo.artifact)() });
        let operation = api.post(&format!("/v1/networks/{id}/contracts"), &request).await?;
        api.wait(&operation, &told).await?;
    }
    let contract = api.list(&format!("/v1/contracts?network={id}&name={}", demo.contract), 1).await?;
    let contract = contract.into_iter().next().context("the deployed contract is not listed")?;
    let calls = format!("/v1/contracts/{}/calls", contract["id"].as_str().unwrap_or_default());
    if api.list(&calls, 1).await?.is_empty() {
        told(surroundings.language.pick("the first transaction", "第一笔交易"));
        let method = format!(
            "/v1/contracts/{}/methods/{}?mode=submit",
            contract["id"].as_str().unwrap_or_default(),
            demo.method
        );
        let answer = api.post(&method, &json!({ "arguments": (demo.arguments)() })).await?;
        if answer["ok"] != true {
            bail!("{}: the first transaction did not take effect: {answer}", demo.name);
        }
        first = Some((answer["transaction"].clone(), started.elapsed().as_millis() as u64));
    }
    let mut network = api.get(&format!("/v1/networks/{id}")).await?;
    let nodes = api.list(&format!("/v1/networks/{id}/nodes"), 100).await?;
    if let Some(map) = network.as_object_mut() {
        map.insert("contract".to_owned(), contract);
        map.insert("nodes".to_owned(), Value::Array(nodes));
        if let Some((transaction, milliseconds)) = first {
            map.insert("first_transaction".to_owned(), transaction);
            map.insert("first_transaction_ms".to_owned(), milliseconds.into());
        }
    }
    Ok(network)
}

/// Takes up the operation that an interrupted run left: one that still goes on, or the last one when it failed.
async fn unfinished(api: &Api, network: &str, told: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let operations = api.list(&format!("/v1/operations?network={network}"), 10).await?;
    for (at, operation) in operations.iter().enumerate() {
        match operation["state"].as_str().unwrap_or_default() {
            "failed" if at == 0 => {
                let id = operation["id"].as_str().unwrap_or_default();
                let again = api.post(&format!("/v1/operations/{id}/retry"), &json!({})).await?;
                api.wait(&again, told).await?;
            }
            "pending" | "running" => {
                api.wait(operation, told).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives up what is still being done to a network, and waits until that has ended.
async fn give_up(api: &Api, network: &str) -> anyhow::Result<()> {
    for operation in api.list(&format!("/v1/operations?network={network}"), 10).await? {
        if matches!(operation["state"].as_str(), Some("pending" | "running")) {
            let id = operation["id"].as_str().unwrap_or_default();
            // It may have ended by itself; and how it ended does not matter here.
            let _ended = api.post(&format!("/v1/operations/{id}/cancel"), &json!({})).await;
            let _outcome = api.wait(&operation, &|_| {}).await;
        }
    }
    Ok(())
}

fn report(data: &Path, link: &str, elapsed: Duration, networks: &[Value], surroundings: Surroundings) {
    if surroundings.output == Output::Json {
        let told = json!({
            "data": data, "console": link, "elapsed_ms": elapsed.as_millis() as u64, "networks": networks,
        });
        println!("{told}");
        return;
    }
    let pick = |english, chinese| surroundings.language.pick(english, chinese);
    for network in networks {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let first = network["first_transaction_ms"].as_u64().map_or_else(String::new, |milliseconds| {
            format!("   {} {milliseconds} ms", pick("first transaction after", "首笔交易用时"))
        });
        println!(
            "\n{}   {} {}{first}",
            text(&network["name"]),
            pick("contract", "合约"),
            text(&network["contract"]["name"])
        );
        for node in network["nodes"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let ports = node["ports"].as_object().cloned().unwrap_or_default();
            let ports: Vec<String> = ports.iter().map(|(name, port)| format!("{name} {port}")).collect();
            println!(
                "  {:<16} {:<9} {:<9} {}",
                text(&node["id"]),
                text(&node["role"]),
                text(&node["organisation"]),
                ports.join("  ")
            );
        }
    }
    println!("\n{}", pick("look around with", "常用命令"));
    println!("  konsort network list     konsort node list fabric-demo     konsort tx list bcos-demo");
    println!("\n{} {link}", pick("console", "控制台"));
}

/// Stops every network and the server of a folder.
pub(super) fn stop(data: &Path, surroundings: Surroundings) -> anyhow::Result<()> {
    let (api, process, _) = server(data, Ports::Free, surroundings)?;
    runtime()?.block_on(async {
        for network in api.list("/v1/networks", 1000).await? {
            let id = network["id"].as_str().unwrap_or_default();
            give_up(&api, id).await?;
            if network["state"] != "stopped" && network["driver"] != "external" {
                let operation = api.post(&format!("/v1/networks/{id}/stop"), &json!({})).await?;
                api.wait(&operation, &|_| {}).await?;
            }
        }
        anyhow::Ok(())
    })?;
    end(&process)
}

fn end(process: &NodeProcess) -> anyhow::Result<()> {
    process.terminate();
    let until = Instant::now() + PATIENCE;
    while process.is_running() {
        if Instant::now() > until {
            process.kill();
            bail!("the server (process {}) did not stop in time and was ended by force", process.pid);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// `konsort down`: removes every network, the server and what it kept.
pub(super) fn remove(data: &Path, surroundings: Surroundings) -> anyhow::Result<()> {
    let (api, process, _) = server(data, Ports::Free, surroundings)?;
    runtime()?.block_on(async {
        for network in api.list("/v1/networks", 1000).await? {
            let id = network["id"].as_str().unwrap_or_default();
            give_up(&api, id).await?;
            let operation = api.send(Method::DELETE, &format!("/v1/networks/{id}"), None).await?;
            api.wait(&operation, &|_| {}).await?;
        }
        anyhow::Ok(())
    })?;
    end(&process)?;
    // Only what the server makes is removed; a folder that holds anything else of the user's stays.
    for folder in ["networks", "projects", "compilers", "packages", "drivers", "scratch", "builds", "build-cache"] {
        gone(std::fs::remove_dir_all(data.join(folder)), &data.join(folder))?;
    }
    for entry in std::fs::read_dir(data)?.flatten() {
        let name = entry.file_name();
        if ["server.", "audit."].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            gone(std::fs::remove_file(entry.path()), &entry.path())?;
        }
    }
    let _not_empty = std::fs::remove_dir(data);
    Ok(())
}

fn gone(outcome: std::io::Result<()>, path: &Path) -> anyhow::Result<()> {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
