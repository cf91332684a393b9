//! The command line.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use super::config::Config;
use super::layout;

const TEMPLATE: &str = include_str!("template.yaml");

const USAGE: &str = "\
usage: cryptogen [<flags>] <command> [<args> ...]

Utility for generating Hyperledger Fabric key material

Flags:
  --help  Show context-sensitive help (also try --help-long and --help-man).

Commands:
  help [<command>...]
    Show help.

  generate [<flags>]
    Generate key material

  showtemplate
    Show the default configuration template

  version
    Show version information

  extend [<flags>]
    Extend existing network

";

/// Why the arguments make no command; the text follows `cryptogen: error: `.
type UsageError = String;

enum Command {
    Generate { output: String, config: Option<String> },
    Extend { input: String, config: Option<String> },
    ShowTemplate,
    Version,
    Help(&'static str),
}

/// Runs `cryptogen` with the arguments that follow its name and gives the exit code.
pub fn run(args: &[String], stdout: &mut dyn Write, stderr: &mut dyn Write) -> i32 {
    let command = match parse(args) {
        Ok(command) => command,
        Err(error) => {
            let _ = writeln!(stderr, "cryptogen: error: {error}, try --help");
            return 1;
        }
    };
    let done = match command {
        Command::Generate { output, config } => with_config(config, |config| {
            layout::generate(config, Path::new(&output), &mut |domain| {
                let _ = writeln!(stdout, "{domain}");
            })
        }),
        Command::Extend { input, config } => with_config(config, |config| {
            layout::extend(config, Path::new(&input), &mut |domain| {
                let _ = writeln!(stdout, "{domain}");
            })
        }),
        Command::ShowTemplate => {
            let _ = stdout.write_all(TEMPLATE.as_bytes());
            return 0;
        }
        Command::Version => {
            let _ = stdout.write_all(crate::tools::version_text("cryptogen").as_bytes());
            return 0;
        }
        Command::Help(text) => {
            let _ = stdout.write_all(text.as_bytes());
            return 0;
        }
    };
    match done {
        Ok(()) => 0,
        Err((text, code)) => {
            let _ = write!(stdout, "{text}");
            code
        }
    }
}

/// Upstream prints failures on its standard output: configuration mistakes end with 255, others with 1.
fn with_config(
    text: Option<String>,
    work: impl FnOnce(&Config) -> Result<(), super::CryptogenError>,
) -> Result<(), (String, i32)> {
    use super::CryptogenError as E;
    let config = Config::parse(text.as_deref().unwrap_or(TEMPLATE)).map_err(|error| (error.to_string(), 255))?;
    work(&config).map_err(|error| match error {
        E::Yaml(_) | E::Template { .. } => (error.to_string(), 255),
        _ => (format!("{error}\n"), 1),
    })
}

fn parse(args: &[String]) -> Result<Command, UsageError> {
    let mut words = args.iter().map(String::as_str);
    let command = match words.next() {
        None => return Err("command not specified".to_owned()),
        Some("--help" | "--help-long" | "--help-man" | "help") => return Ok(Command::Help(USAGE)),
        Some(flag) if flag.starts_with("--") => return Err(format!("unknown long flag '{flag}'")),
        Some(flag) if flag.starts_with('-') => return Err(format!("unknown short flag '{flag}'")),
        Some(command @ ("generate" | "extend" | "showtemplate" | "version")) => command,
        Some(other) => return Err(format!("expected command but got {other:?}")),
    };
    let folder_flag = match command {
        "generate" => "output",
        "extend" => "input",
        _ => "",
    };
    let (mut folder, mut config_path) = (None, None);
    while let Some(word) = words.next() {
        if word == "--help" {
            return Ok(Command::Help(USAGE));
        }
        let Some(flag) = word.strip_prefix("--") else {
            return Err(match word.strip_prefix('-') {
                Some(_) => format!("unknown short flag '{word}'"),
                None => format!("unexpected {word}"),
            });
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let target = match name {
            "config" if !folder_flag.is_empty() => &mut config_path,
            name if !folder_flag.is_empty() && name == folder_flag => &mut folder,
            _ => return Err(format!("unknown long flag '--{name}'")),
        };
        let value = match value {
            Some(value) => value,
            None => words.next().ok_or_else(|| format!("expected argument for flag '--{name}'"))?,
        };
        if target.replace(value.to_owned()).is_some() {
            return Err(format!("flag '{name}' cannot be repeated"));
        }
    }
    let config = config_path.map(|path| fs::read_to_string(&path).map_err(|error| open_error(&path, &error)));
    let config = config.transpose()?;
    let folder = folder.unwrap_or_else(|| "crypto-config".to_owned());
    Ok(match command {
        "generate" => Command::Generate { output: folder, config },
        "extend" => Command::Extend { input: folder, config },
        "showtemplate" => Command::ShowTemplate,
        _ => Command::Version,
    })
}

fn open_error(path: &str, error: &io::Error) -> UsageError {
    match error.kind() {
        io::ErrorKind::NotFound => format!("open {path}: no such file or directory"),
        io::ErrorKind::PermissionDenied => format!("open {path}: permission denied"),
        _ => format!("open {path}: {error}"),
    }
}
