//! Reading arguments: which command, which flags, what is left.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Command, Flag, Kind};

/// A parsed command line.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// From the root to the command that was named.
    pub(crate) path: Vec<&'static Command>,
    /// What is neither command nor flag.
    pub(crate) args: Vec<String>,
    /// `--help` was given.
    pub(crate) help: bool,
    values: BTreeMap<&'static str, Vec<String>>,
    known: Vec<Flag>,
}

/// Why arguments cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// No such command at the root; the text tells where to get help instead of printing the usage.
    UnknownCommand(String),
    /// A flag is wrong; the usage follows the text.
    Flag(String),
}

/// Finds the command and its flags.
pub(crate) fn parse(root: &'static Command, args: &[String]) -> Result<Parsed, (Vec<&'static Command>, ParseError)> {
    let (path, rest) = find(root, args);
    let Some(command) = path.last().copied() else {
        return Err((vec![root], ParseError::UnknownCommand(String::new())));
    };
    if path.len() == 1
        && let Some(unknown) = positional(root, &rest).first()
        && unknown != "help"
    {
        let text = unknown_command(root, unknown);
        return Err((path, ParseError::UnknownCommand(text)));
    }
    let mut known: Vec<Flag> = command.flags.to_vec();
    for ancestor in &path {
        known.extend_from_slice(ancestor.persistent);
    }
    let mut parsed = Parsed { path: path.clone(), args: Vec::new(), help: false, values: BTreeMap::new(), known };
    parsed.read(&rest).map_err(|text| (path, ParseError::Flag(text)))?;
    Ok(parsed)
}

/// Descends into the tree; flags may stand between command names.
fn find(root: &'static Command, args: &[String]) -> (Vec<&'static Command>, Vec<String>) {
    let mut path = vec![root];
    let mut rest = args.to_vec();
    'descend: loop {
        let command = path[path.len() - 1];
        let mut persistent: Vec<Flag> = command.flags.to_vec();
        for ancestor in &path {
            persistent.extend_from_slice(ancestor.persistent);
        }
        let mut index = 0;
        while index < rest.len() {
            let arg = &rest[index];
            if arg == "--" {
                break 'descend;
            }
            if arg.starts_with('-') && arg.len() > 1 {
                if takes_next(&persistent, arg) {
                    index += 1;
                }
            } else if let Some(child) = command.child(arg) {
                path.push(child);
                rest.remove(index);
                continue 'descend;
            } else {
                break 'descend;
            }
            index += 1;
        }
        break;
    }
    (path, rest)
}

/// Whether the next argument belongs to this flag.
fn takes_next(known: &[Flag], arg: &str) -> bool {
    if arg.contains('=') {
        return false;
    }
    let flag = match arg.strip_prefix("--") {
        Some(long) => known.iter().find(|flag| flag.long == long),
        None if arg.chars().count() == 2 => known.iter().find(|flag| flag.short == arg.chars().nth(1)),
        None => return false,
    };
    flag.is_some_and(|flag| flag.kind != Kind::Bool)
}

fn positional(root: &'static Command, args: &[String]) -> Vec<String> {
    let mut known: Vec<Flag> = root.flags.to_vec();
    known.extend_from_slice(root.persistent);
    let mut found = Vec::new();
    let mut index = 0;
    while index < args.len() {
        let arg = &args[index];
        if arg.starts_with('-') && arg.len() > 1 {
            if takes_next(&known, arg) {
                index += 1;
            }
        } else {
            found.push(arg.clone());
        }
        index += 1;
    }
    found
}

fn unknown_command(root: &'static Command, name: &str) -> String {
    let mut text = format!("unknown command {name:?} for {:?}", root.name());
    let near: Vec<&str> = root
        .children
        .iter()
        .map(Command::name)
        .filter(|known| distance(name, known) <= 2 || known.to_lowercase().starts_with(&name.to_lowercase()))
        .collect();
    if !near.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for known in near {
            text.push('\t');
            text.push_str(known);
            text.push('\n');
        }
    }
    text
}

/// Edit distance, ignoring case.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let cost = if a == b { diagonal } else { 1 + diagonal.min(row[j]).min(row[j + 1]) };
            diagonal = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row[right.len()]
}

impl Parsed {
    /// The command that was named.
    pub(crate) fn command(&self) -> &'static Command {
        self.path[self.path.len() - 1]
    }

    /// The names from the root, for example `peer channel join`.
    pub(crate) fn names(&self) -> String {
        self.path.iter().map(|command| command.name()).collect::<Vec<_>>().join(" ")
    }

    fn read(&mut self, args: &[String]) -> Result<(), String> {
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                self.args.extend(rest.cloned());
                return Ok(());
            }
            if let Some(long) = arg.strip_prefix("--") {
                self.read_long(arg, long, &mut rest)?;
            } else if arg.len() > 1 && arg.starts_with('-') {
                self.read_short(&arg[1..], &mut rest)?;
            } else {
                self.args.push(arg.clone());
            }
        }
        Ok(())
    }

    fn read_long<'a>(
        &mut self,
        arg: &str,
        long: &str,
        rest: &mut impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        let (name, inline) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: {arg}"));
        }
        let Some(flag) = self.known.iter().find(|flag| flag.long == name).copied() else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            return Err(format!("unknown flag: --{name}"));
        };
        let value = match inline {
            Some(value) => value,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => rest.next().cloned().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
        };
        self.set(flag, value)
    }

    fn read_short<'a>(&mut self, group: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<(), String> {
        let mut letters = group;
        while let Some(letter) = letters.chars().next() {
            let after = &letters[letter.len_utf8()..];
            let Some(flag) = self.known.iter().find(|flag| flag.short == Some(letter)).copied() else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(format!("unknown shorthand flag: '{letter}' in -{group}"));
            };
            if let Some(value) = after.strip_prefix('=') {
                return self.set(flag, value.to_owned());
            }
            if flag.kind == Kind::Bool {
                self.set(flag, "true".to_owned())?;
                letters = after;
                continue;
            }
            if !after.is_empty() {
                return self.set(flag, after.to_owned());
            }
            let value =
                rest.next().cloned().ok_or_else(|| format!("flag needs an argument: '{letter}' in -{group}"))?;
            return self.set(flag, value);
        }
        Ok(())
    }

    fn set(&mut self, flag: Flag, value: String) -> Result<(), String> {
        check(flag, &value).map_err(|reason| {
            let shorthand = flag.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
            format!("invalid argument {value:?} for {:?} flag: {reason}", format!("{shorthand}--{}", flag.long))
        })?;
        let values = self.values.entry(flag.long).or_default();
        if flag.kind != Kind::TextArray {
            values.clear();
        }
        values.push(value);
        Ok(())
    }

    fn default_of(&self, long: &str) -> &'static str {
        self.known.iter().find(|flag| flag.long == long).map_or("", |flag| flag.default)
    }

    /// A text flag, or its default.
    pub(crate) fn text(&self, long: &str) -> &str {
        self.values.get(long).and_then(|values| values.last()).map_or_else(|| self.default_of(long), String::as_str)
    }

    /// All values of a repeated flag; one empty text when it is absent (upstream's default).
    pub(crate) fn array(&self, long: &str) -> Vec<String> {
        self.values.get(long).cloned().unwrap_or_else(|| vec![String::new()])
    }

    /// A switch.
    pub(crate) fn switch(&self, long: &str) -> bool {
        parse_bool(self.text(long)).unwrap_or(false)
    }

    /// A number; absent is 0.
    pub(crate) fn int(&self, long: &str) -> i64 {
        parse_int(self.text(long)).unwrap_or(0)
    }

    /// A duration; absent is its default.
    pub(crate) fn duration(&self, long: &str) -> Duration {
        fabric_channel::config::parse_duration(self.text(long)).unwrap_or_default()
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn parse_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn check(flag: Flag, value: &str) -> Result<(), String> {
    let syntax = |function: &str| Err(format!("strconv.{function}: parsing {value:?}: invalid syntax"));
    match flag.kind {
        Kind::Text | Kind::TextArray => Ok(()),
        Kind::Bool if parse_bool(value).is_some() => Ok(()),
        Kind::Bool => syntax("ParseBool"),
        Kind::Int if parse_int(value).is_some() => Ok(()),
        Kind::Int => syntax("ParseInt"),
        Kind::Uint if value.parse::<u64>().is_ok() => Ok(()),
        Kind::Uint => syntax("ParseUint"),
        Kind::Duration => fabric_channel::config::parse_duration(value).map(|_| ()).map_err(|error| error.to_string()),
    }
}
