//! `konsort network|node|org|…`: every command is one request of the platform's API, described by a row of a table.

mod bodies;
mod print;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use http::Method;
use konsort_node::Environment;
use serde_json::{Value, json};

use super::{Surroundings, display::paint, runtime};
use crate::api::{Api, ServerRecord, escape};
use crate::language::Language;
use table::{Kind, NOUNS, Noun, Place, Verb};

/// Between two looks at a log that is followed.
const FOLLOW: Duration = Duration::from_millis(500);

/// Whether a word is one of these commands.
pub(super) fn knows(name: &str) -> bool {
    NOUNS.iter().any(|noun| noun.name == name)
}

/// The commands.
pub(super) fn commands(language: Language) -> impl Iterator<Item = Command> {
    NOUNS.iter().map(move |noun| noun_command(noun, language))
}

fn noun_command(noun: &'static Noun, language: Language) -> Command {
    let pick = |texts: (&'static str, &'static str)| language.pick(texts.0, texts.1);
    let mut command = Command::new(noun.name)
        .about(pick(noun.about))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(global("server", "URL").help(pick((
            "Address of the server [default: KONSORT_SERVER, or the one that works in --data]",
            "服务器地址［默认：KONSORT_SERVER，或 --data 目录中的服务器］",
        ))))
        .arg(global("key-file", "FILE").value_parser(value_parser!(PathBuf)).help(pick((
            "File with an API key (kst_…) [default: KONSORT_KEY]",
            "存放 API 密钥（kst_…）的文件［默认：KONSORT_KEY］",
        ))))
        .arg(
            global("ca", "FILE")
                .value_parser(value_parser!(PathBuf))
                .help(pick(("Certificates that an https:// server is trusted by", "信任 https:// 服务器所用的证书"))),
        )
        .arg(
            global("data", "DIR")
                .default_value(".konsort")
                .value_parser(value_parser!(PathBuf))
                .help(pick(("Data folder of a server on this machine", "本机服务器的数据目录"))),
        );
    for verb in noun.verbs {
        let mut sub = Command::new(verb.name).about(pick(verb.about));
        for field in verb.fields {
            let mut arg = Arg::new(field.name).help(pick(field.help)).required(field.required);
            let shown = field.name;
            arg = match field.place {
                Place::Path | Place::Word => arg.value_name(shown),
                Place::Words => arg.value_name(shown).num_args(0..),
                Place::Switch => arg.long(field.name).action(ArgAction::SetTrue),
                Place::Many => arg.long(field.name).value_name(shown).action(ArgAction::Append),
                _ => arg.long(field.name).value_name(shown),
            };
            sub = sub.arg(arg);
        }
        if verb.kind == Kind::List {
            sub = sub.arg(
                Arg::new("limit")
                    .long("limit")
                    .value_name("N")
                    .default_value("50")
                    .value_parser(value_parser!(usize))
                    .help(pick(("At most so many", "最多条数"))),
            );
        }
        if verb.kind == Kind::Act {
            sub = sub
                .arg(
                    Arg::new("dry-run")
                        .long("dry-run")
                        .action(ArgAction::SetTrue)
                        .help(pick(("Only say what would be done", "只显示将要执行的步骤"))),
                )
                .arg(
                    Arg::new("no-wait")
                        .long("no-wait")
                        .action(ArgAction::SetTrue)
                        .help(pick(("Return at once with the operation", "不等待操作完成，立即返回"))),
                );
        }
        command = command.subcommand(sub);
    }
    command
}

fn global(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).global(true)
}

/// Runs one of them.
pub(super) fn run(name: &str, arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let noun = NOUNS.iter().find(|noun| noun.name == name).context("no such command")?;
    let (word, arguments) = arguments.subcommand().context("a command is missing")?;
    let verb = noun.verbs.iter().find(|verb| verb.name == word).context("no such command")?;
    let api = api(arguments, surroundings.language)?;
    runtime()?.block_on(request(&api, verb, arguments, surroundings))
}

fn api(arguments: &ArgMatches, language: Language) -> anyhow::Result<Api> {
    let environment = Environment::process();
    let path = |name: &str| arguments.get_one::<PathBuf>(name).map(PathBuf::as_path);
    let url =
        arguments.get_one::<String>("server").cloned().or_else(|| environment.get("KONSORT_SERVER").map(str::to_owned));
    let Some(url) = url else {
        if path("key-file").is_some() {
            bail!(
                "{}",
                language.pick(
                    "--key-file needs --server URL (or KONSORT_SERVER): a server on this machine is used with its own key",
                    "--key-file 需与 --server URL（或 KONSORT_SERVER）同用：本机服务器使用其自身的密钥"
                )
            );
        }
        let data = path("data").unwrap_or(Path::new(".konsort"));
        return Api::of(&record(data, language)?, language);
    };
    let key = match path("key-file") {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => environment
            .get("KONSORT_KEY")
            .map(str::to_owned)
            .context("no API key: give --key-file FILE or set KONSORT_KEY; keys are made with `konsort key create` or in the console")?,
    };
    Api::new(&url, key.trim(), path("ca"), language)
}

async fn request(api: &Api, verb: &Verb, arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let mut path = verb.path.to_owned();
    let mut query = String::new();
    for field in verb.fields {
        let Some(value) = text_of(arguments, field.place, field.name) else { continue };
        match field.place {
            Place::Path => {
                let value = resolve(api, field.name, &value).await?;
                path = path.replace(&format!("{{{}}}", field.name), &escape(&value));
            }
            Place::Query => {
                let value = resolve(api, field.name, &value).await?;
                query.push(if query.is_empty() { '?' } else { '&' });
                query.push_str(&format!("{}={}", field.key, escape(&value)));
            }
            _ => {}
        }
    }
    if arguments.try_get_one::<bool>("dry-run").ok().flatten() == Some(&true) {
        query.push_str(if query.is_empty() { "?dry_run=true" } else { "&dry_run=true" });
    }
    let whole = format!("{path}{query}");
    if verb.kind == Kind::List {
        let limit = arguments.get_one::<usize>("limit").copied().unwrap_or(50).clamp(1, 100_000);
        let items = api.list(&whole, limit).await?;
        print::list(&items, verb.columns, surroundings);
        return Ok(());
    }
    let body = bodies::body(verb, arguments)?;
    let method = Method::from_bytes(verb.method.as_bytes())?;
    let answer = api.send(method, &whole, body.as_ref()).await?;
    let waits = verb.kind == Kind::Act && answer["steps"].is_array() && answer["id"].is_string();
    if waits && !arguments.get_flag("no-wait") {
        let started = std::time::Instant::now();
        let told = |title: &str| {
            let time = format!("{:>7.3} s", started.elapsed().as_secs_f64());
            eprintln!("{}  {title}", paint(&time, "2", surroundings));
        };
        let done = api.wait(&answer, &told).await?;
        print::show(&done, surroundings);
        return Ok(());
    }
    if verb.kind == Kind::Call && answer["ok"] == json!(false) {
        print::show(&answer, surroundings);
        bail!(
            "{}",
            answer["explanation"]
                .as_str()
                .or_else(|| answer["problem"].as_str())
                .unwrap_or("the call did not take effect")
        );
    }
    print::show(&answer, surroundings);
    Ok(())
}

fn text_of(arguments: &ArgMatches, place: Place, name: &str) -> Option<String> {
    match place {
        Place::Switch => arguments.get_flag(name).then(|| "true".to_owned()),
        Place::Many | Place::Words => None,
        _ => arguments.get_one::<String>(name).cloned(),
    }
}

/// Names become ids where the API wants ids.
async fn resolve(api: &Api, field: &str, value: &str) -> anyhow::Result<String> {
    let (prefix, list) = match field {
        "network" => ("net_", "/v1/networks?name="),
        "contract" => ("ctr_", "/v1/contracts?name="),
        _ => return Ok(value.to_owned()),
    };
    if value.starts_with(prefix) {
        return Ok(value.to_owned());
    }
    let found = api.list(&format!("{list}{}", escape(value)), 2).await?;
    match found.as_slice() {
        [one] => Ok(one["id"].as_str().unwrap_or_default().to_owned()),
        [] => bail!("there is no {field} {value}; see `konsort {field} list`"),
        _ => bail!("there is more than one {field} {value}; give its id, see `konsort {field} list`"),
    }
}

/// The server that works in a folder.
pub(super) fn record(data: &Path, language: Language) -> anyhow::Result<ServerRecord> {
    ServerRecord::read(data).with_context(|| {
        let (english, chinese) = (
            "no server works here; start one with `konsort up` or `konsort server`, or name one with --server",
            "此处没有运行中的服务器，请执行 `konsort up` 或 `konsort server`，或用 --server 指定",
        );
        format!("{}: {}", data.display(), language.pick(english, chinese))
    })
}

/// The log of a node of any network: `konsort logs NODE`.
pub(super) fn logs(data: &Path, node: &str, follow: bool, surroundings: Surroundings) -> anyhow::Result<()> {
    let api = Api::of(&record(data, surroundings.language)?, surroundings.language)?;
    runtime()?.block_on(async {
        let mut found = None;
        for network in api.list("/v1/networks", 1000).await? {
            let id = network["id"].as_str().unwrap_or_default().to_owned();
            let nodes = api.list(&format!("/v1/networks/{id}/nodes"), 1000).await?;
            if nodes.iter().any(|known| known["id"] == node) {
                anyhow::ensure!(
                    found.is_none(),
                    "more than one network has a node {node}; use `konsort node logs NETWORK {node}`"
                );
                found = Some(id);
            }
        }
        let network = found.with_context(|| format!("there is no node {node}; see `konsort node list NETWORK`"))?;
        let path = format!("/v1/networks/{network}/nodes/{}/logs", escape(node));
        let answer = api.get(&format!("{path}?tail=1000")).await?;
        print::show(&answer, surroundings);
        if !follow {
            return Ok(());
        }
        let mut seen: Vec<Value> = lines(&answer);
        loop {
            tokio::time::sleep(FOLLOW).await;
            let now = lines(&api.get(&format!("{path}?tail=1000")).await?);
            // What came since: behind the longest end of what was seen that the new lines begin with.
            let overlap =
                (0..seen.len()).find(|from| now.starts_with(&seen[*from..])).map_or(0, |from| seen.len() - from);
            if now.len() > overlap {
                print::show(&json!({ "lines": &now[overlap..] }), surroundings);
            }
            seen = now;
        }
    })
}

fn lines(answer: &Value) -> Vec<Value> {
    answer["lines"].as_array().cloned().unwrap_or_default()
}

/// Every network and node of a server: `konsort status`. False when a node does not run.
pub(super) fn status(data: &Path, surroundings: Surroundings) -> anyhow::Result<bool> {
    let api = Api::of(&record(data, surroundings.language)?, surroundings.language)?;
    runtime()?.block_on(async {
        let (mut all, mut run) = (Vec::new(), true);
        for network in api.list("/v1/networks", 1000).await? {
            let id = network["id"].as_str().unwrap_or_default();
            for mut node in api.list(&format!("/v1/networks/{id}/nodes"), 1000).await? {
                run &= !matches!(node["status"].as_str(), Some("stopped" | "failed"));
                node["network"] = network["name"].clone();
                all.push(node);
            }
        }
        print::list(&all, table::NODE_STATUS, surroundings);
        Ok::<bool, anyhow::Error>(run)
    })
}

/// A file's text as JSON.
fn document(path: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    serde_json::from_str(&text).with_context(|| format!("{path} is not JSON"))
}
