//! Whether what the pages name exists: commands and options in the program's help, endpoints in the API's document.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use conformance::konsort;
use serde_json::Value;

/// The commands of the program in a block or a text, each as its words, without what a shell does with them.
pub(super) fn konsort_lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    joined.lines().flat_map(commands).filter(|words| words.first().is_some_and(|word| word == "konsort")).collect()
}

/// The commands of a line: words without quotes; an operator, a substitution or a pipe begins a new command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let (mut word, mut quote) = (String::new(), None);
    let mut previous = ' ';
    for c in line.chars() {
        match (c, quote) {
            // A substitution is a command of its own, also within quotes.
            ('(', _) if previous == '$' => {
                word.clear();
                all.push(Vec::new());
                quote = None;
            }
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ' | '|' | ';' | '&' | '(' | ')' | '<' | '>', None) => {
                if !word.is_empty() {
                    all.last_mut().unwrap().push(std::mem::take(&mut word));
                }
                if c != ' ' {
                    all.push(Vec::new());
                }
            }
            (c, _) => word.push(c),
        }
        previous = c;
    }
    all.last_mut().unwrap().push(word);
    // Settings before a command belong to its surroundings.
    let is_setting = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    };
    for words in &mut all {
        words.retain(|word| !word.is_empty());
        let first = words.iter().position(|word| !is_setting(word)).unwrap_or(words.len());
        words.drain(..first);
    }
    all
}

/// What the program says of itself, asked once per command.
pub(super) struct Help {
    texts: BTreeMap<Vec<String>, String>,
    options: BTreeSet<String>,
}

impl Help {
    /// With the options of every command.
    pub(super) fn new() -> Self {
        let mut help = Self { texts: BTreeMap::new(), options: BTreeSet::new() };
        let tools =
            ["peer", "fisco-bcos", "build_chain", "configtxgen", "configtxlator", "cryptogen", "discover", "osnadmin"];
        let mut ahead: Vec<Vec<String>> = tools.iter().map(|tool| vec![(*tool).to_owned()]).collect();
        ahead.push(Vec::new());
        while let Some(path) = ahead.pop() {
            let text = help.text(&path).to_owned();
            help.options.extend(options_of(&text));
            // Some tools give the same text whatever command is named, so the depth has an end.
            for word in subcommands(&text).into_iter().filter(|word| word != "help" && path.len() < 4) {
                ahead.push(path.iter().cloned().chain([word]).collect());
            }
        }
        help
    }

    fn text(&mut self, path: &[String]) -> &str {
        self.texts.entry(path.to_vec()).or_insert_with(|| {
            let output = Command::new(konsort().unwrap()).args(path).arg("--help").env("LANG", "C").output().unwrap();
            let texts = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
            texts.concat()
        })
    }

    /// Whether a command with these words exists and knows its options.
    pub(super) fn check(&mut self, words: &[String]) -> Result<(), String> {
        let shown = words.join(" ");
        let mut path = Vec::new();
        let mut rest = words[1..].iter().peekable();
        // Options of the program itself may come before its commands.
        while let Some(word) = rest.next_if(|word| word.starts_with('-')) {
            if word == "--output" {
                rest.next();
            }
        }
        while let Some(word) = rest.peek() {
            let help = self.text(&path);
            let is_tool =
                path.is_empty() && help.contains("Tools under their usual names") && is_listed_tool(help, word);
            if !is_tool && !subcommands(help).contains(*word) {
                break;
            }
            path.push((*word).clone());
            rest.next();
        }
        let help = self.text(&path).to_owned();
        let more = rest.peek().is_some_and(|word| !word.starts_with('-'));
        if more && (path.is_empty() || help.contains("<COMMAND>")) {
            return Err(format!("`{shown}`: there is no such command"));
        }
        let known = options_of(&help);
        for word in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
            let name = word.split('=').next().unwrap_or(word);
            if name != "-" && !known.contains(name) && name.parse::<f64>().is_err() {
                return Err(format!("`{shown}`: konsort {} knows no {name}", path.join(" ")));
            }
        }
        Ok(())
    }

    /// Whether any command knows an option.
    pub(super) fn has_option(&self, text: &str) -> Result<(), String> {
        let name = text.split(['=', ' ']).next().unwrap_or(text);
        if self.options.contains(name) { Ok(()) } else { Err(format!("no command knows {name}")) }
    }
}

fn is_listed_tool(help: &str, word: &str) -> bool {
    let tail = help.split_once("Tools under their usual names").map_or("", |(_, tail)| tail);
    let list = tail.split('…').next().unwrap_or_default();
    list.split(|c: char| c.is_whitespace() || c == '|' || c == ':').any(|tool| !tool.is_empty() && tool == word)
}

/// The commands that a help text lists, in each of the forms that the tools have.
fn subcommands(help: &str) -> BTreeSet<String> {
    let begins = |line: &str| line == "Commands:" || line == "Available Commands:";
    let mut found = BTreeSet::new();
    for line in help.lines().skip_while(|line| !begins(line.trim_end())).skip(1) {
        if line.starts_with("Flags:") || line.starts_with("Options:") || line.starts_with("Use \"") {
            break;
        }
        // `  name  What it does`, `  name*`, and of kingpin `  name [<flags>]` or `channel join --channelID=…`.
        let indent = line.len() - line.trim_start().len();
        if indent <= 2 && !line.trim().is_empty() {
            found.extend(line.split_whitespace().next().map(|word| word.trim_end_matches('*').to_owned()));
        }
    }
    found
}

fn options_of(help: &str) -> BTreeSet<String> {
    let part = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let words = help.split(part).filter(|word| word.starts_with('-') && word.len() > 1);
    words.map(str::to_owned).collect()
}

/// The method, if one is named, and the path of an endpoint.
fn parts(text: &str) -> Option<(Option<&str>, &str)> {
    let (method, path) = match text.split_once(' ') {
        Some((method, path)) if ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) => (Some(method), path),
        Some(_) => return None,
        None => (None, text),
    };
    let is_path = path.starts_with("/v1/") || (method.is_some() && path.starts_with('/'));
    is_path.then(|| (method, path.split('?').next().unwrap_or(path)))
}

/// Whether a text names an endpoint.
pub(super) fn is_endpoint(text: &str) -> bool {
    parts(text).is_some()
}

/// What is wrong with an endpoint, if the text is one.
pub(super) fn endpoint_fault(document: &Value, text: &str) -> Option<String> {
    let (method, path) = parts(text)?;
    let Some(found) = document["paths"].get(path) else { return Some("no such path".to_owned()) };
    let method = method?.to_ascii_lowercase();
    found.get(&method).is_none().then(|| format!("the path has no {method}"))
}

#[test]
fn commands_are_found_in_lines() {
    let lines =
        konsort_lines("A=$(konsort --output json tx list x | jq -r '.[0].id')\nKEY=a konsort up \\\n  -d > out &\n");
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0][..5], ["konsort", "--output", "json", "tx", "list"]);
    assert_eq!(lines[1], ["konsort", "up", "-d"]);
}

#[test]
fn what_does_not_exist_is_noticed() {
    let mut help = Help::new();
    let mut check = |text: &str| help.check(&konsort_lines(text)[0]);
    check("konsort --output json network list --limit 3").unwrap();
    check("konsort peer lifecycle chaincode install notes.tgz").unwrap();
    for wrong in ["network lst", "nothing", "network list --nothing", "peer channel join --nothing", "up --nothing=1"] {
        check(&format!("konsort {wrong}")).unwrap_err();
    }
    help.has_option("--nothing").unwrap_err();
    let document = serde_json::json!({ "paths": { "/v1/networks": { "get": {} } } });
    assert!(
        endpoint_fault(&document, "POST /v1/networks").is_some() && endpoint_fault(&document, "/v1/nets").is_some()
    );
    assert!(endpoint_fault(&document, "GET /v1/networks").is_none());
}
