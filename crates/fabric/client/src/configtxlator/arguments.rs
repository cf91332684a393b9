//! Commands and flags as upstream's command-line library reads them. Files are opened while reading, so a wrong name is a mistake
//! in the arguments, and an output file is emptied before anything else happens.

use std::fs::File;

/// Where input comes from.
#[derive(Debug)]
pub(super) enum Source {
    Standard,
    File(File),
}

/// Where output goes.
#[derive(Debug)]
pub(super) enum Sink {
    Standard,
    File(File),
}

#[derive(Debug)]
pub(super) enum Command {
    Start { hostname: String, port: u16, cors: Vec<String> },
    Encode { type_name: String, source: Source, sink: Sink },
    Decode { type_name: String, source: Source, sink: Sink },
    ComputeUpdate { original: Source, updated: Source, channel_id: String, sink: Sink },
    Version,
}

#[derive(Debug)]
pub(super) enum Parsed {
    Command(Command),
    /// Help: to be printed.
    Text(String),
    /// A mistake.
    Refused(String),
}

const HELP: &str = "\
usage: configtxlator [<flags>] <command> [<args> ...]

Utility for generating Hyperledger Fabric channel configurations

Flags:
  --help     Show context-sensitive help (also try --help-long and --help-man).
  --version  Show application version.

Commands:
  help [<command>...]
    Show help.

  start [<flags>]
    Start the configtxlator REST server

    --hostname=\"0.0.0.0\"  The hostname or IP on which the REST server will listen
    --port=7059           The port on which the REST server will listen
    --CORS=CORS ...       Allowable CORS domains, e.g. '*' or 'www.example.com' (may be repeated).

  proto_encode --type=TYPE [<flags>]
    Converts a JSON document to protobuf.

    --type=TYPE           The type of protobuf structure to encode to. For example, 'common.Config'.
    --input=/dev/stdin    A file containing the JSON document.
    --output=/dev/stdout  A file to write the output to.

  proto_decode --type=TYPE [<flags>]
    Converts a proto message to JSON.

    --type=TYPE           The type of protobuf structure to decode from. For example, 'common.Config'.
    --input=/dev/stdin    A file containing the proto message.
    --output=/dev/stdout  A file to write the JSON document to.

  compute_update --channel_id=CHANNEL_ID [<flags>]
    Takes two marshaled common.Config messages and computes the config update which transitions between the two.

    --original=ORIGINAL      The original config message.
    --updated=UPDATED        The updated config message.
    --channel_id=CHANNEL_ID  The name of the channel for this update.
    --output=/dev/stdout     A file to write the JSON document to.

  version
    Show version information

";

const KINGPIN_VERSION: &str = "0.0.1\n";

/// A command's flags, in the order in which they are checked.
fn flags_of(command: &str) -> Option<&'static [&'static str]> {
    Some(match command {
        "start" => &["hostname", "port", "CORS"],
        "proto_encode" | "proto_decode" => &["type", "input", "output"],
        "compute_update" => &["original", "updated", "channel_id", "output"],
        "version" => &[],
        _ => return None,
    })
}

struct Given {
    values: Vec<(&'static str, String)>,
}

impl Given {
    fn last(&self, name: &str) -> Option<&str> {
        self.values.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<String, String> {
        self.last(name).map(str::to_owned).ok_or_else(|| format!("required flag --{name} not provided"))
    }

    fn source(&self, name: &str) -> Result<Source, String> {
        match self.last(name) {
            None | Some("/dev/stdin") => Ok(Source::Standard),
            Some(path) => File::open(path).map(Source::File).map_err(|error| open_error(path, &error)),
        }
    }

    fn sink(&self) -> Result<Sink, String> {
        use std::os::unix::fs::OpenOptionsExt as _;
        match self.last("output") {
            None | Some("/dev/stdout") => Ok(Sink::Standard),
            Some(path) => std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)
                .map(Sink::File)
                .map_err(|error| open_error(path, &error)),
        }
    }
}

fn open_error(path: &str, error: &std::io::Error) -> String {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("open {path}: {reason}")
}

/// Reads the arguments behind the tool's name.
pub(super) fn parse(args: &[String]) -> Parsed {
    match read(args) {
        Ok(parsed) => parsed,
        Err(problem) => Parsed::Refused(problem),
    }
}

fn read(args: &[String]) -> Result<Parsed, String> {
    let mut command: Option<(&str, &'static [&'static str])> = None;
    let mut given = Given { values: Vec::new() };
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        if let Some(flag) = argument.strip_prefix("--") {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if matches!(name, "help" | "help-long" | "help-man") {
                return Ok(Parsed::Text(HELP.to_owned()));
            }
            if name == "version" {
                return Ok(Parsed::Text(KINGPIN_VERSION.to_owned()));
            }
            let known = command.iter().flat_map(|(_, flags)| *flags).find(|known| **known == name);
            let Some(known) = known else { return Err(format!("unknown long flag '--{name}'")) };
            let value = value
                .or_else(|| rest.next().cloned())
                .ok_or_else(|| format!("expected argument for flag '--{name}'"))?;
            given.values.push((known, value));
        } else if let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) {
            let letter: String = short.chars().take(1).collect();
            return Err(format!("unknown short flag '-{letter}'"));
        } else if command.is_some() {
            return Err(format!("unexpected {argument}"));
        } else if argument == "help" {
            return Ok(Parsed::Text(HELP.to_owned()));
        } else {
            let flags = flags_of(argument).ok_or_else(|| format!("expected command but got \"{argument}\""))?;
            command = Some((argument, flags));
        }
    }
    let Some((name, _)) = command else { return Ok(Parsed::Text(HELP.to_owned())) };
    command_of(name, &given).map(Parsed::Command)
}

fn command_of(name: &str, given: &Given) -> Result<Command, String> {
    Ok(match name {
        "start" => {
            let port = given.last("port").unwrap_or("7059");
            let port = port.parse().map_err(|_| format!("strconv.ParseInt: parsing \"{port}\": invalid syntax"))?;
            let cors = given.values.iter().filter(|(flag, _)| *flag == "CORS").map(|(_, value)| value.clone());
            Command::Start {
                hostname: given.last("hostname").unwrap_or("0.0.0.0").to_owned(),
                port,
                cors: cors.collect(),
            }
        }
        "proto_encode" => {
            Command::Encode { type_name: given.required("type")?, source: given.source("input")?, sink: given.sink()? }
        }
        "proto_decode" => {
            Command::Decode { type_name: given.required("type")?, source: given.source("input")?, sink: given.sink()? }
        }
        "compute_update" => {
            let channel_id = given.required("channel_id")?;
            for which in ["original", "updated"] {
                if given.last(which).is_none() {
                    return Err(format!("required flag --{which} not provided"));
                }
            }
            Command::ComputeUpdate {
                original: given.source("original")?,
                updated: given.source("updated")?,
                channel_id,
                sink: given.sink()?,
            }
        }
        _ => Command::Version,
    })
}
