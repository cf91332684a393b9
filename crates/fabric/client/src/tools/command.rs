//! A tree of commands with flags, parsed and explained exactly as upstream's command-line library does it.

mod parse;
mod usage;

pub(crate) use parse::{ParseError, Parsed, parse};
pub(crate) use usage::{help, usage};

/// What a flag holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// May be repeated; every occurrence adds one value.
    TextArray,
    Bool,
    Int,
    /// Not negative.
    Uint,
    Duration,
}

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) kind: Kind,
    /// The value when the flag is absent, as help prints it; empty: the kind's zero.
    pub(crate) default: &'static str,
    pub(crate) usage: &'static str,
    pub(crate) hidden: bool,
}

impl Flag {
    const fn of(
        kind: Kind,
        long: &'static str,
        short: Option<char>,
        default: &'static str,
        usage: &'static str,
    ) -> Self {
        Self { long, short, kind, default, usage, hidden: false }
    }

    pub(crate) const fn text(long: &'static str, usage: &'static str) -> Self {
        Self::of(Kind::Text, long, None, "", usage)
    }

    pub(crate) const fn array(long: &'static str, usage: &'static str) -> Self {
        Self::of(Kind::TextArray, long, None, "", usage)
    }

    pub(crate) const fn switch(long: &'static str, usage: &'static str) -> Self {
        Self::of(Kind::Bool, long, None, "", usage)
    }

    pub(crate) const fn int(long: &'static str, usage: &'static str) -> Self {
        Self::of(Kind::Int, long, None, "", usage)
    }

    pub(crate) const fn uint(long: &'static str, usage: &'static str) -> Self {
        Self::of(Kind::Uint, long, None, "", usage)
    }

    pub(crate) const fn duration(long: &'static str, default: &'static str, usage: &'static str) -> Self {
        Self::of(Kind::Duration, long, None, default, usage)
    }

    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub(crate) const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// One command of the tree. Runnable commands have no children here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    /// The name, then what follows it in the usage line.
    pub(crate) usage: &'static str,
    pub(crate) short: &'static str,
    pub(crate) long: &'static str,
    pub(crate) flags: &'static [Flag],
    pub(crate) persistent: &'static [Flag],
    pub(crate) children: &'static [Command],
}

impl Command {
    pub(crate) fn name(&self) -> &'static str {
        self.usage.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn runnable(&self) -> bool {
        self.children.is_empty()
    }

    pub(crate) fn child(&self, name: &str) -> Option<&'static Command> {
        self.children.iter().find(|child| child.name() == name)
    }
}

/// Tells what is wrong with the arguments; returns the exit code.
pub(crate) fn refuse(console: &mut super::Console<'_>, path: &[&'static Command], error: &ParseError) -> i32 {
    match error {
        ParseError::UnknownCommand(text) => {
            let root = path.first().map_or("", |root| root.name());
            console.err(&format!("Error: {text}\nRun '{root} --help' for usage.\n"));
        }
        ParseError::Flag(text) => console.err(&format!("Error: {text}\n{}\n", usage(path))),
    }
    1
}

#[cfg(test)]
mod tests;
