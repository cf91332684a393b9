//! `osnadmin`: an orderer's channel list over its admin listener.

use std::path::Path;

use fabric_channel::protoutil;
use fabric_proto::common::{Block, Envelope};
use prost::Message;

use super::connect::read;
use super::{Console, block_on, gojson};
use crate::admin::ParticipationAnswer;
use crate::{Endpoint, ParticipationClient};

const USAGE: &str = "usage: osnadmin --orderer-address=ORDERER-ADDRESS [<flags>] <command> [<args> ...]

Orderer Service Node (OSN) administration


Flags:
      --[no-]help                Show context-sensitive help (also try --help-long and --help-man).
  -o, --orderer-address=ORDERER-ADDRESS
                                 Admin endpoint of the OSN
      --ca-file=CA-FILE          Path to file containing PEM-encoded TLS CA certificate(s) for the OSN
      --client-cert=CLIENT-CERT  Path to file containing PEM-encoded X509 public key to use for mutual TLS communication with the OSN
      --client-key=CLIENT-KEY    Path to file containing PEM-encoded private key to use for mutual TLS communication with the OSN
      --[no-]no-status           Remove the HTTP status message from the command output

Commands:
help [<command>...]
    Show help.

channel join --channelID=CHANNELID --config-block=CONFIG-BLOCK
    Join an Ordering Service Node (OSN) to a channel. If the channel does not yet exist, it will be created.

channel list [<flags>]
    List channel information for an Ordering Service Node (OSN). If the channelID flag is set, more detailed information will be
    provided for that channel.

channel remove --channelID=CHANNELID
    Remove a channel from an Ordering Service Node (OSN).

channel update --channelID=CHANNELID --config-update-envelope=CONFIG-UPDATE-ENVELOPE [<flags>]
    Update an Ordering Service Node (OSN) to a channel.

channel fetch --channelID=CHANNELID --blockID=BLOCKID --outputfile=OUTPUTFILE [<flags>]
    Fetch a specified block, writing it to a file.

";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    command: String,
    orderer: String,
    ca_file: String,
    client_cert: String,
    client_key: String,
    no_status: bool,
    channel: String,
    file: String,
    block: String,
}

/// Runs `osnadmin`; returns the exit code.
pub(super) fn run(args: &[String], console: &mut Console<'_>) -> i32 {
    if args.iter().any(|arg| arg == "--help" || arg == "help") {
        console.err(USAGE);
        return 0;
    }
    match execute(args) {
        Ok((output, code)) => {
            console.out(&format!("{output}\n"));
            code
        }
        Err(error) => {
            console.err(&format!("osnadmin: error: parsing arguments: {error}. Try --help\n"));
            1
        }
    }
}

fn execute(args: &[String]) -> Result<(String, i32), String> {
    let request = parse(args)?;
    let endpoint = endpoint(&request)?;
    let mut upload = Vec::new();
    match request.command.as_str() {
        "join" => {
            upload = read(Path::new(&request.file)).map_err(|error| format!("reading config block: {error}"))?;
            let block = Block::decode(upload.as_slice())
                .map_err(|_| "unmarshalling block: proto: cannot parse invalid wire-format data".to_owned())?;
            let found = protoutil::channel_id_of_block(&block).map_err(|error| error.to_string())?;
            same_channel(&request.channel, &found, "config block")?;
        }
        "update" => {
            upload =
                read(Path::new(&request.file)).map_err(|error| format!("reading config updte envelope: {error}"))?;
            let envelope = Envelope::decode(upload.as_slice())
                .map_err(|_| "unmarshalling envelope: proto: cannot parse invalid wire-format data".to_owned())?;
            let found = protoutil::channel_id(&envelope).map_err(|error| error.to_string())?;
            same_channel(&request.channel, &found, "config update envelope")?;
        }
        "fetch" => {
            let known = matches!(request.block.as_str(), "newest" | "oldest" | "config");
            if !known && request.block.parse::<i64>().is_err() {
                return Err(format!("'{}' not equal <newest|oldest|config|(number)>", request.block));
            }
        }
        _ => {}
    }
    let client = ParticipationClient::new(endpoint);
    let called = block_on(async {
        match request.command.as_str() {
            "join" => client.join(&upload).await,
            "update" => client.update(&upload).await,
            "remove" => client.remove(&request.channel).await,
            "fetch" => client.fetch(&request.channel, &request.block).await,
            _ if request.channel.is_empty() => client.list().await,
            _ => client.info(&request.channel).await,
        }
    });
    // Upstream prints failures of the call itself on standard output.
    let failed = |error: String| Ok((format!("Error: {error}\n"), 1));
    match called {
        Err(error) => failed(error),
        Ok(Err(error)) => failed(error.to_string()),
        Ok(Ok(answer)) => match describe(&request, &answer) {
            Ok(text) => Ok((text, 0)),
            Err(error) => failed(error),
        },
    }
}

fn describe(request: &Request, answer: &ParticipationAnswer) -> Result<String, String> {
    let mut text = if request.no_status { String::new() } else { format!("Status: {}\n", answer.status) };
    if answer.body.is_empty() {
        return Ok(text);
    }
    if answer.status == 200 && request.command == "fetch" {
        std::fs::write(&request.file, &answer.body).map_err(|error| format!("open {}: {error}", request.file))?;
        return Ok(text);
    }
    text.push_str(&gojson::indent(&answer.body)?);
    Ok(text)
}

fn same_channel(asked: &str, found: &str, place: &str) -> Result<(), String> {
    if asked == found {
        return Ok(());
    }
    Err(format!("specified --channelID {asked} does not match channel ID {found} in {place}"))
}

fn endpoint(request: &Request) -> Result<Endpoint, String> {
    if request.ca_file.is_empty() {
        return Ok(Endpoint::plain(&request.orderer));
    }
    let roots =
        read(Path::new(&request.ca_file)).map_err(|error| format!("reading orderer CA certificate: {error}"))?;
    if !roots.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err("failed to add ca-file PEM to cert pool".into());
    }
    let pair = |path: &str| read(Path::new(path)).map_err(|error| format!("loading client cert/key pair: {error}"));
    let certificate = pair(&request.client_cert)?;
    let key = pair(&request.client_key)?;
    Ok(Endpoint::tls(&request.orderer, roots).client_certificate(certificate, key))
}

fn parse(args: &[String]) -> Result<Request, String> {
    let mut request = Request::default();
    let mut words = Vec::new();
    let mut rest = args.iter();
    let mut options: Vec<(String, String)> = Vec::new();
    while let Some(arg) = rest.next() {
        if let Some(long) = arg.strip_prefix("--") {
            if long == "no-status" {
                request.no_status = true;
                continue;
            }
            let (name, inline) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let value = inline
                .or_else(|| rest.next().cloned())
                .ok_or_else(|| format!("expected argument for flag '--{name}'"))?;
            options.push((format!("--{name}"), value));
        } else if let Some(short) = arg.strip_prefix('-').filter(|short| !short.is_empty()) {
            let letter: String = short.chars().take(1).collect();
            let after = &short[letter.len()..];
            let value = if after.is_empty() { rest.next().cloned() } else { Some(after.to_owned()) };
            let value = value.ok_or_else(|| format!("expected argument for flag '-{letter}'"))?;
            options.push((format!("-{letter}"), value));
        } else {
            words.push(arg.as_str());
        }
    }
    request.command = match words.as_slice() {
        ["channel", command @ ("join" | "list" | "remove" | "update" | "fetch")] => (*command).to_owned(),
        [] | ["channel"] => return Err("command not specified".into()),
        ["channel", other, ..] | [other, ..] => return Err(format!("expected command but got {other:?}")),
    };
    for (flag, value) in options {
        let slot = match (flag.as_str(), request.command.as_str()) {
            ("--orderer-address" | "-o", _) => &mut request.orderer,
            ("--ca-file", _) => &mut request.ca_file,
            ("--client-cert", _) => &mut request.client_cert,
            ("--client-key", _) => &mut request.client_key,
            ("--channelID" | "-c", _) => &mut request.channel,
            ("--config-block" | "-b", "join")
            | ("--config-update-envelope" | "-e", "update")
            | ("--outputfile" | "-f", "fetch") => &mut request.file,
            ("--blockID" | "-b", "fetch") => &mut request.block,
            ("--tlsHandshakeTimeShift" | "-t", "update" | "fetch") => continue,
            (flag, _) if flag.starts_with("--") => return Err(format!("unknown long flag '{flag}'")),
            (flag, _) => return Err(format!("unknown short flag '{flag}'")),
        };
        *slot = value;
    }
    let needs_channel = request.command != "list";
    let file_flag = match request.command.as_str() {
        "join" => "config-block",
        "update" => "config-update-envelope",
        "fetch" => "outputfile",
        _ => "",
    };
    for (missing, flag) in [
        (request.orderer.is_empty(), "orderer-address"),
        (needs_channel && request.channel.is_empty(), "channelID"),
        (request.command == "fetch" && request.block.is_empty(), "blockID"),
        (!file_flag.is_empty() && request.file.is_empty(), file_flag),
    ] {
        if missing {
            return Err(format!("required flag --{flag} not provided"));
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_as_upstream_does() {
        let request = parsed("channel join --channelID c -b g.block -o h:1 --no-status").unwrap();
        assert_eq!(
            (request.command.as_str(), request.channel.as_str(), request.file.as_str()),
            ("join", "c", "g.block")
        );
        assert!(request.no_status);
        assert_eq!(parsed("channel list").unwrap_err(), "required flag --orderer-address not provided");
        assert_eq!(parsed("channel remove -o h:1").unwrap_err(), "required flag --channelID not provided");
        assert_eq!(parsed("channel list -o h:1 --nope x").unwrap_err(), "unknown long flag '--nope'");
        assert_eq!(parsed("chan").unwrap_err(), "expected command but got \"chan\"");
    }

    #[test]
    fn answers_are_printed_with_status_and_indented_body() {
        let answer =
            ParticipationAnswer { status: 405, body: "{\"error\":\"cannot join: channel already exists\"}\n".into() };
        let text = describe(&Request::default(), &answer).unwrap();
        assert_eq!(text, "Status: 405\n{\n\t\"error\": \"cannot join: channel already exists\"\n}\n");
        let removed = ParticipationAnswer { status: 204, body: bytes::Bytes::new() };
        assert_eq!(describe(&Request::default(), &removed).unwrap(), "Status: 204\n");
    }
}
