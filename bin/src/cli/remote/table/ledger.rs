//! Contracts and what is on the ledgers.

use super::{
    CHANNEL, CONTRACT, Field, Kind, NETWORK, Noun, OF_NETWORK, ORGANISATION, Place, SIGNER, field, list, verb,
};

/// What is deployed, and how; the rest of a deployment's fields differ.
macro_rules! deployment {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            field("release", Place::Text, "version", ("Version in people's words [default: 1.0]", "版本［默认 1.0］")),
            field("project", Place::Text, "project", ("Id of a project to compile or package", "要编译或打包的项目编号")),
            field(
                "contract-name",
                Place::Text,
                "contract_name",
                ("Solidity: which contract of the sources", "Solidity：源码中的合约名"),
            ),
            field(
                "builtin",
                Place::Other,
                "",
                ("Sample that is part of the program: asset-transfer", "内置示例：asset-transfer"),
            ),
            field("package", Place::Other, "", ("File with a chaincode package (tar.gz)", "链码包文件（tar.gz）")),
            field("bytecode", Place::Other, "", ("File with EVM creation code, hex", "EVM 创建代码文件（十六进制）")),
            field("abi", Place::Other, "", ("File with the ABI of --bytecode", "--bytecode 对应的 ABI 文件")),
            field(
                "arguments",
                Place::Json,
                "arguments",
                ("Arguments of the constructor or of Init, JSON", "构造函数或 Init 的参数（JSON）"),
            ),
            field("policy", Place::Text, "policy", ("Fabric: endorsement policy", "Fabric：背书策略")),
            field(
                "collections",
                Place::File,
                "collections",
                ("Fabric: file with private data collections", "Fabric：私有数据集合文件"),
            ),
            field("init", Place::Switch, "init", ("Fabric: Init has to be called first", "Fabric：须先调用 Init")),
            SIGNER,
        ]
    };
}

const DEPLOY: &[Field] = deployment![
    NETWORK,
    field("name", Place::Text, "name", ("Name on the network", "在网络上的名称")),
    field("channel", Place::Text, "channel", ("Channel or group [default: the first]", "通道或群组［默认第一个］")),
];
const UPGRADE: &[Field] = deployment![CONTRACT];

const CALL: &[Field] = &[
    CONTRACT,
    field("method", Place::Path, "", ("Method", "方法")),
    field("words", Place::Words, "arguments", ("Its arguments as texts", "参数（文本）")),
    field("arguments", Place::Json, "arguments", ("Arguments as JSON instead", "以 JSON 给出参数")),
    SIGNER,
    ORGANISATION,
];

pub(super) const CONTRACT_COMMANDS: Noun = Noun {
    name: "contract",
    about: ("Contracts: deploy, upgrade, call, try", "合约：部署、升级、调用、试算"),
    verbs: &[
        list(
            "list",
            "/v1/contracts",
            ("Every contract", "列出合约"),
            &[OF_NETWORK],
            &["id", "name", "network", "channel", "version", "state", "address"],
        ),
        verb(
            "show",
            "GET",
            "/v1/contracts/{contract}",
            Kind::Show,
            ("One contract with its deployments", "查看合约及其部署"),
            &[CONTRACT],
        ),
        verb(
            "deploy",
            "POST",
            "/v1/networks/{network}/contracts",
            Kind::Act,
            ("Deploy a contract", "部署合约"),
            DEPLOY,
        ),
        verb(
            "upgrade",
            "POST",
            "/v1/contracts/{contract}/upgrade",
            Kind::Act,
            ("Deploy a further version of it", "部署新版本"),
            UPGRADE,
        ),
        verb(
            "call",
            "POST",
            "/v1/contracts/{contract}/methods/{method}",
            Kind::Call,
            ("Call a method: read-only ones are evaluated, others sent", "调用方法：只读方法查询，其他方法发送交易"),
            CALL,
        ),
        verb(
            "simulate",
            "POST",
            "/v1/contracts/{contract}/methods/{method}/simulate",
            Kind::Call,
            ("What a call would do", "试算调用结果"),
            CALL,
        ),
        verb(
            "interface",
            "GET",
            "/v1/contracts/{contract}/interface",
            Kind::Show,
            ("Its methods and events", "方法与事件"),
            &[CONTRACT],
        ),
        list(
            "events",
            "/v1/contracts/{contract}/events",
            ("Its events", "合约事件"),
            &[CONTRACT],
            &["height", "transaction", "name", "payload"],
        ),
        list(
            "calls",
            "/v1/contracts/{contract}/calls",
            ("Calls through the platform", "经平台的调用记录"),
            &[CONTRACT],
            &["at", "caller", "call.method", "call.ok", "call.code", "call.transaction"],
        ),
    ],
};

pub(super) const BLOCK_COMMANDS: Noun = Noun {
    name: "block",
    about: ("Blocks", "区块"),
    verbs: &[
        list(
            "list",
            "/v1/networks/{network}/blocks",
            ("Newest first", "列出区块，新的在前"),
            &[NETWORK, CHANNEL],
            &["height", "hash", "transactions", "time", "producer"],
        ),
        verb(
            "show",
            "GET",
            "/v1/networks/{network}/blocks/{block}",
            Kind::Show,
            ("One block by height or hash", "按高度或哈希查看区块"),
            &[NETWORK, field("block", Place::Path, "", ("Height or hash", "高度或哈希")), CHANNEL],
        ),
    ],
};

pub(super) const TX_COMMANDS: Noun = Noun {
    name: "tx",
    about: ("Transactions", "交易"),
    verbs: &[
        list(
            "list",
            "/v1/networks/{network}/transactions",
            ("Newest first", "列出交易，新的在前"),
            &[
                NETWORK,
                CHANNEL,
                field("contract", Place::Query, "contract", ("Only of this contract", "只显示该合约的")),
                field("from", Place::Query, "from", ("Only from this sender", "只显示该发送者的")),
            ],
            &["height", "id", "kind", "ok", "from", "to", "method"],
        ),
        verb(
            "show",
            "GET",
            "/v1/networks/{network}/transactions/{tx}",
            Kind::Show,
            ("One transaction, decoded", "查看交易（已解码）"),
            &[NETWORK, field("tx", Place::Path, "", ("Id or hash", "交易编号或哈希"))],
        ),
        verb(
            "trace",
            "GET",
            "/v1/networks/{network}/transactions/{tx}/trace",
            Kind::Show,
            ("Its steps, or read-write set and endorsements", "执行步骤，或读写集与背书"),
            &[NETWORK, field("tx", Place::Path, "", ("Id or hash", "交易编号或哈希"))],
        ),
    ],
};
