//! `konsort server`: the platform's server with its API and console.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use konsort_node::Environment;
use konsort_platform::server::{Config, Server};

use super::up::interrupted;
use super::{Output, Surroundings, runtime};
use crate::language::Language;

pub(super) fn command(language: Language) -> Command {
    let pick = |english, chinese| language.pick(english, chinese);
    Command::new("server")
        .about(pick(
            "Run the server: networks of both engines, contracts, explorer, API and console",
            "运行服务器：两种引擎的网络、合约、浏览器、API 与控制台",
        ))
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .default_value(".konsort-server")
                .value_parser(value_parser!(PathBuf))
                .help(pick("Folder of everything the server keeps", "存放服务器全部数据的目录")),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS")
                .default_value("127.0.0.1:8080")
                .value_parser(value_parser!(SocketAddr))
                .help(pick("Address to listen on; port 0 takes a free one", "监听地址；端口 0 表示任选空闲端口")),
        )
        .arg(
            Arg::new("database-url")
                .long("database-url")
                .value_name("URL")
                .help(pick(
                    "PostgreSQL as postgres://user:password@host/name [default: SQLite in the data folder]; a password is better kept out of sight in KONSORT_DATABASE_URL",
                    "PostgreSQL 地址，如 postgres://用户:口令@主机/库名［默认使用数据目录中的 SQLite］；含口令时建议改用环境变量 KONSORT_DATABASE_URL",
                )),
        )
}

pub(super) fn run(arguments: &ArgMatches, surroundings: Surroundings) -> anyhow::Result<()> {
    let environment = Environment::process();
    konsort_node::logging::init(&environment)?;
    let listen = arguments.get_one::<SocketAddr>("listen").copied();
    let config = Config {
        data: arguments.get_one::<PathBuf>("data").cloned().unwrap_or_else(|| PathBuf::from(".konsort-server")),
        listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
        database_url: arguments
            .get_one::<String>("database-url")
            .cloned()
            .or_else(|| environment.get("KONSORT_DATABASE_URL").map(str::to_owned)),
        program: std::env::current_exe()?,
        environment,
    };
    runtime()?.block_on(async {
        let server = Server::start(config).await?;
        tell(&server, surroundings);
        server.wait(interrupted()).await?;
        Ok(())
    })
}

fn tell(server: &Server, surroundings: Surroundings) {
    let url = server.app.own_url();
    if surroundings.output == Output::Json {
        let line = serde_json::json!({
            "url": url,
            "address": server.addr.to_string(),
            "console": server.setup_link.as_deref().unwrap_or(&url),
            "setup_link": server.setup_link,
            "data": server.app.data,
        });
        println!("{line}");
        return;
    }
    let language = surroundings.language;
    match &server.setup_link {
        Some(link) => {
            println!(
                "{}",
                language.pick("Open this link once to make the administrator:", "请打开此链接创建管理员（一次有效）：")
            );
            println!("{link}");
        }
        None => println!("{} {url}", language.pick("The console:", "控制台：")),
    }
}
