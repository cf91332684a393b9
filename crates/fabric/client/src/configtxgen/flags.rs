//! Flags in the manner of upstream's language: one dash or two, value behind `=` or as the next argument.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Names and help texts, by name.
const FLAGS: [(&str, &str); 10] = [
    (
        "asOrg",
        "Performs the config generation as a particular organization (by name), only including values in the write set that org (likely) has privilege to set",
    ),
    (
        "channelCreateTxBaseProfile",
        "[DEPRECATED] Specifies a profile to consider as the orderer system channel current state to allow modification of non-application parameters during channel create tx generation. Only valid in conjunction with 'outputCreateChannelTx'.",
    ),
    ("channelID", "The channel ID to use in the configtx"),
    ("configPath", "The path containing the configuration to use (if set)"),
    ("inspectBlock", "Prints the configuration contained in the block at the specified path"),
    (
        "inspectChannelCreateTx",
        "[DEPRECATED] Prints the configuration contained in the transaction at the specified path",
    ),
    ("outputBlock", "The path to write the genesis block to (if set)"),
    ("outputCreateChannelTx", "[DEPRECATED] The path to write a channel creation configtx to (if set)"),
    ("printOrg", "Prints the definition of an organization as JSON. (useful for adding an org to a channel manually)"),
    ("profile", "The profile from configtx.yaml to use for generation."),
];

/// What was given.
#[derive(Debug, Default)]
pub(super) struct Flags {
    values: BTreeMap<&'static str, String>,
    pub(super) version: bool,
}

impl Flags {
    pub(super) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        !self.value(name).is_empty()
    }
}

/// The flags, or the text to print instead of doing anything.
#[derive(Debug)]
pub(super) enum Parsed {
    Flags(Flags),
    Usage { problem: String, exit_code: i32 },
}

fn usage() -> String {
    let mut text = String::from("Usage of configtxgen:\n");
    for (name, help) in FLAGS {
        let _ = writeln!(text, "  -{name} string\n    \t{help}");
    }
    text.push_str("  -version\n    \tShow version information\n");
    text
}

fn refuse(problem: &str) -> Parsed {
    Parsed::Usage { problem: format!("{problem}\n{}", usage()), exit_code: 2 }
}

/// Reads the arguments up to the first that is no flag.
pub(super) fn parse(args: &[String]) -> Parsed {
    let mut flags = Flags::default();
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        let Some(dashed) = argument.strip_prefix('-').filter(|dashed| !dashed.is_empty()) else { break };
        let named = dashed.strip_prefix('-').unwrap_or(dashed);
        if named.is_empty() {
            break;
        }
        if named.starts_with('-') || named.starts_with('=') {
            return refuse(&format!("bad flag syntax: {argument}"));
        }
        let (name, value) = match named.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (named, None),
        };
        if name == "version" {
            match value.as_deref().unwrap_or("true") {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => flags.version = true,
                "0" | "f" | "F" | "false" | "FALSE" | "False" => flags.version = false,
                other => return refuse(&format!("invalid boolean value \"{other}\" for -version: parse error")),
            }
            continue;
        }
        if name == "help" || name == "h" {
            return Parsed::Usage { problem: usage(), exit_code: 0 };
        }
        let Some((known, _)) = FLAGS.iter().find(|(known, _)| *known == name) else {
            return refuse(&format!("flag provided but not defined: -{name}"));
        };
        let Some(value) = value.or_else(|| rest.next().cloned()) else {
            return refuse(&format!("flag needs an argument: -{name}"));
        };
        flags.values.insert(known, value);
    }
    Parsed::Flags(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn both_spellings_are_read() {
        let Parsed::Flags(flags) = parse(&args("-profile A --channelID=c -outputBlock x rest -version")) else {
            panic!("flags expected")
        };
        assert_eq!((flags.value("profile"), flags.value("channelID"), flags.value("outputBlock")), ("A", "c", "x"));
        assert!(!flags.version, "flags end at the first other argument");
    }

    #[test]
    fn mistakes_are_answered_with_the_usage() {
        for (text, problem, code) in [
            ("-nope", "flag provided but not defined: -nope\nUsage of configtxgen:\n", 2),
            ("-profile", "flag needs an argument: -profile\nUsage of configtxgen:\n", 2),
            ("---x", "bad flag syntax: ---x\n", 2),
            ("-h", "Usage of configtxgen:\n  -asOrg string\n", 0),
        ] {
            let Parsed::Usage { problem: found, exit_code } = parse(&args(text)) else { panic!("{text}") };
            assert!(found.starts_with(problem), "{found}");
            assert_eq!(exit_code, code);
        }
    }
}
