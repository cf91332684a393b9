//! Help texts, laid out as upstream's tools print them.

use std::fmt::Write as _;

use super::{Command, Flag, Kind};

const HELP: Flag = Flag::switch("help", "").short('h');

/// The usage text of a command, ending with a line break.
pub(crate) fn usage(path: &[&'static Command]) -> String {
    let Some(command) = path.last() else { return String::new() };
    let command_path = path.iter().map(|part| part.name()).collect::<Vec<_>>().join(" ");
    let mut text = String::from("Usage:");
    if command.runnable() {
        let above = path[..path.len() - 1].iter().map(|part| part.name()).collect::<Vec<_>>().join(" ");
        let separator = if above.is_empty() { "" } else { " " };
        let _ = write!(text, "\n  {above}{separator}{} [flags]", command.usage);
    } else {
        let _ = write!(text, "\n  {command_path} [command]");
        text.push_str("\n\nAvailable Commands:");
        let is_root = path.len() == 1;
        let mut rows: Vec<(&str, &str)> = command.children.iter().map(|child| (child.name(), child.short)).collect();
        if is_root {
            rows.push(("completion", "Generate the autocompletion script for the specified shell"));
            rows.push(("help", "Help about any command"));
        }
        rows.sort_unstable();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(11);
        for (name, short) in rows {
            let _ = write!(text, "\n  {name:width$} {short}");
        }
    }
    let help_usage = format!("help for {}", command.name());
    let mut local: Vec<(Flag, String)> =
        command.flags.iter().chain(command.persistent).map(|flag| (*flag, flag.usage.to_owned())).collect();
    local.push((HELP, help_usage));
    text.push_str("\n\nFlags:\n");
    text.push_str(flag_table(local).trim_end());
    let inherited: Vec<(Flag, String)> = path[..path.len() - 1]
        .iter()
        .flat_map(|ancestor| ancestor.persistent)
        .map(|flag| (*flag, flag.usage.to_owned()))
        .filter(|(flag, _)| !flag.hidden)
        .collect();
    if !inherited.is_empty() {
        text.push_str("\n\nGlobal Flags:\n");
        text.push_str(flag_table(inherited).trim_end());
    }
    if !command.runnable() {
        let _ = write!(text, "\n\nUse \"{command_path} [command] --help\" for more information about a command.");
    }
    text.push('\n');
    text
}

/// The long description and the usage.
pub(crate) fn help(path: &[&'static Command]) -> String {
    let description =
        path.last().map_or("", |command| if command.long.is_empty() { command.short } else { command.long });
    if description.is_empty() {
        return usage(path);
    }
    format!("{description}\n\n{}", usage(path))
}

fn flag_table(mut flags: Vec<(Flag, String)>) -> String {
    flags.retain(|(flag, _)| !flag.hidden);
    flags.sort_by_key(|(flag, _)| flag.long);
    let rows: Vec<(String, String)> = flags.iter().map(|(flag, usage)| row(flag, usage)).collect();
    let width = rows.iter().map(|(left, _)| left.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (left, right) in rows {
        let _ = writeln!(text, "{left:width$}   {right}");
    }
    text
}

fn row(flag: &Flag, usage: &str) -> (String, String) {
    let mut left = match flag.short {
        Some(short) => format!("  -{short}, --{}", flag.long),
        None => format!("      --{}", flag.long),
    };
    let kind = match flag.kind {
        Kind::Text => " string",
        Kind::TextArray => " stringArray",
        Kind::Bool => "",
        Kind::Int => " int",
        Kind::Uint => " uint",
        Kind::Duration => " duration",
    };
    left.push_str(kind);
    let mut right = usage.to_owned();
    if !flag.default.is_empty() {
        match flag.kind {
            Kind::Text => {
                let _ = write!(right, " (default {:?})", flag.default);
            }
            _ => {
                let _ = write!(right, " (default {})", flag.default);
            }
        }
    }
    (left, right)
}
