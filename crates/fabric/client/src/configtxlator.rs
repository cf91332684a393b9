//! The command line of `configtxlator`: messages to JSON and back, updates between two configurations, and the same over HTTP.

mod arguments;
mod server;

use std::io::{Read as _, Write as _};

use fabric_proto::common::Config;
use prost::Message as _;

use self::arguments::{Command, Parsed, Sink, Source};
use crate::protolator;
use crate::tools::Console;
use crate::tools::version_text;

pub use server::router;

/// The largest input that is read, in bytes.
pub(crate) const MAX_INPUT: u64 = 100 << 20;

/// Runs the tool with the arguments behind its name; returns the exit code.
pub fn run(args: &[String], console: &mut Console<'_>) -> i32 {
    let command = match arguments::parse(args) {
        Parsed::Command(command) => command,
        Parsed::Text(text) => {
            console.out(&text);
            return 0;
        }
        Parsed::Refused(problem) => {
            console.err(&format!("configtxlator: error: {problem}, try --help\n"));
            return 1;
        }
    };
    let done = match command {
        Command::Version => {
            console.out(&version_text("configtxlator"));
            return 0;
        }
        Command::Start { hostname, port, cors } => server::serve(&hostname, port, cors, console),
        Command::Encode { type_name, source, sink } => {
            encode(&type_name, source, sink, console).map_err(|error| format!("Error decoding: {error}"))
        }
        Command::Decode { type_name, source, sink } => {
            decode(&type_name, source, sink, console).map_err(|error| format!("Error decoding: {error}"))
        }
        Command::ComputeUpdate { original, updated, channel_id, sink } => {
            compute_update(original, updated, &channel_id, sink, console)
                .map_err(|error| format!("Error computing update: {error}"))
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            console.err(&format!("configtxlator: error: {error}\n"));
            1
        }
    }
}

fn read(source: Source, console: &mut Console<'_>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match source {
        Source::Standard => console.stdin.take(MAX_INPUT).read_to_end(&mut bytes)?,
        Source::File(file) => file.take(MAX_INPUT).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn write(sink: Sink, bytes: &[u8], console: &mut Console<'_>) -> std::io::Result<()> {
    match sink {
        Sink::Standard => console.stdout.write_all(bytes),
        Sink::File(mut file) => file.write_all(bytes),
    }
}

fn check_type(type_name: &str) -> Result<(), String> {
    if protolator::is_known(type_name) { Ok(()) } else { Err("error encode input: proto: not found".into()) }
}

fn encode(type_name: &str, source: Source, sink: Sink, console: &mut Console<'_>) -> Result<(), String> {
    check_type(type_name)?;
    let json = read(source, console).map_err(|error| format!("error reading input: {error}"))?;
    let json = String::from_utf8(json).map_err(|error| format!("error decoding input: {error}"))?;
    let bytes = protolator::encode(type_name, &json).map_err(|error| error.to_string())?;
    write(sink, &bytes, console).map_err(|error| format!("error writing output: {error}"))
}

fn decode(type_name: &str, source: Source, sink: Sink, console: &mut Console<'_>) -> Result<(), String> {
    check_type(type_name)?;
    let bytes = read(source, console).map_err(|error| format!("error reading input: {error}"))?;
    let json = protolator::decode(type_name, &bytes).map_err(|error| error.to_string())?;
    write(sink, json.as_bytes(), console).map_err(|error| format!("error encoding output: {error}"))
}

fn compute_update(
    original: Source,
    updated: Source,
    channel_id: &str,
    sink: Sink,
    console: &mut Console<'_>,
) -> Result<(), String> {
    let mut config = |source, which: &str| -> Result<Config, String> {
        let bytes = read(source, console).map_err(|error| format!("error reading {which} config: {error}"))?;
        Config::decode(bytes.as_slice()).map_err(|error| format!("error unmarshalling {which} config: {error}"))
    };
    let original = config(original, "original")?;
    let updated = config(updated, "updated")?;
    let mut update = fabric_channel::config::compute(&original, &updated)
        .map_err(|error| format!("error computing config update: {error}"))?;
    channel_id.clone_into(&mut update.channel_id);
    write(sink, &update.encode_to_vec(), console)
        .map_err(|error| format!("error writing config update to output: {error}"))
}
