//! The table: what each command asks for, where its words go, what a list shows.

mod ledger;
mod networks;
mod people;

/// A group of commands.
#[derive(Debug)]
pub(super) struct Noun {
    pub(super) name: &'static str,
    pub(super) about: (&'static str, &'static str),
    pub(super) verbs: &'static [Verb],
}

/// A command.
#[derive(Debug)]
pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) about: (&'static str, &'static str),
    pub(super) method: &'static str,
    /// With `{names}` of fields that are part of it.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) fields: &'static [Field],
    pub(super) columns: &'static [&'static str],
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Items, page by page.
    List,
    /// One thing.
    Show,
    /// An operation, whose end is waited for.
    Act,
    /// The outcome of a call, which may be that it did not take effect.
    Call,
}

/// A word of a command.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) place: Place,
    /// Its name in the request.
    pub(super) key: &'static str,
    pub(super) required: bool,
    pub(super) help: (&'static str, &'static str),
}

/// Where a word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A word, part of the path.
    Path,
    /// A word, part of the body.
    Word,
    /// Further words: a list in the body.
    Words,
    /// An option, part of the query.
    Query,
    /// An option, a text in the body.
    Text,
    /// An option, a number in the body.
    Number,
    /// An option, JSON in the body.
    Json,
    /// An option, a file whose JSON is part of the body.
    File,
    /// An option that may come several times: a list in the body.
    Many,
    /// An option without a value: true in the body.
    Switch,
    /// An option that is looked at elsewhere.
    Other,
}

const fn field(name: &'static str, place: Place, key: &'static str, help: (&'static str, &'static str)) -> Field {
    Field { name, place, key, required: matches!(place, Place::Path | Place::Word), help }
}

const fn list(
    name: &'static str,
    path: &'static str,
    about: (&'static str, &'static str),
    fields: &'static [Field],
    columns: &'static [&'static str],
) -> Verb {
    Verb { name, about, method: "GET", path, kind: Kind::List, fields, columns }
}

const fn verb(
    name: &'static str,
    method: &'static str,
    path: &'static str,
    kind: Kind,
    about: (&'static str, &'static str),
    fields: &'static [Field],
) -> Verb {
    Verb { name, about, method, path, kind, fields, columns: &[] }
}

const NETWORK: Field = field("network", Place::Path, "", ("Name or id of the network", "网络的名称或编号"));
const OF_NETWORK: Field = field("network", Place::Query, "network", ("Only of this network", "只显示该网络的"));
const NODE: Field = field("node", Place::Path, "", ("Node, as peer0-org1 or node0", "节点，如 peer0-org1 或 node0"));
const CONTRACT: Field = field("contract", Place::Path, "", ("Name or id of the contract", "合约的名称或编号"));
const ID: Field = field("id", Place::Path, "", ("Its id", "编号"));
const CHANNEL: Field = field("channel", Place::Query, "channel", ("Channel or group", "通道或群组"));
const SIGNER: Field = field("signer", Place::Text, "signer", ("Identity or account that signs", "签名的身份或账户"));
const ORGANISATION: Field = field(
    "organisation",
    Place::Text,
    "organisation",
    ("Organisation whose identity and nodes are used", "使用其身份与节点的组织"),
);

/// Columns of `konsort status`.
pub(super) const NODE_STATUS: &[&str] = &["network", "id", "role", "organisation", "status", "heights"];

/// Every group of commands.
pub(super) const NOUNS: &[Noun] = &[
    networks::NETWORK_COMMANDS,
    networks::NODE_COMMANDS,
    people::ORG_COMMANDS,
    networks::MEMBER_COMMANDS,
    networks::IDENTITY_COMMANDS,
    networks::CHANNEL_COMMANDS,
    people::PROJECT_COMMANDS,
    ledger::CONTRACT_COMMANDS,
    ledger::BLOCK_COMMANDS,
    ledger::TX_COMMANDS,
    people::USER_COMMANDS,
    people::KEY_COMMANDS,
    people::OPERATION_COMMANDS,
    people::AUDIT_COMMANDS,
    people::SEARCH_COMMANDS,
];
