//! The table: what each command asks for, where its words go, what a list shows.

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

const DEPLOY: &[Field] = &[
    NETWORK,
    field("name", Place::Text, "name", ("Name on the network", "在网络上的名称")),
    field("release", Place::Text, "version", ("Version in people's words [default: 1.0]", "版本［默认 1.0］")),
    field("channel", Place::Text, "channel", ("Channel or group [default: the first]", "通道或群组［默认第一个］")),
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
];

const CALL: &[Field] = &[
    CONTRACT,
    field("method", Place::Path, "", ("Method", "方法")),
    field("words", Place::Words, "arguments", ("Its arguments as texts", "参数（文本）")),
    field("arguments", Place::Json, "arguments", ("Arguments as JSON instead", "以 JSON 给出参数")),
    SIGNER,
    ORGANISATION,
];

/// Every group of commands.
pub(super) const NOUNS: &[Noun] = &[
    Noun {
        name: "network",
        about: ("Networks: make, start, stop, remove, look at", "网络：创建、启动、停止、删除、查看"),
        verbs: &[
            list(
                "list",
                "/v1/networks",
                ("Every network", "列出网络"),
                &[],
                &["id", "name", "engine", "driver", "consensus", "state"],
            ),
            verb("show", "GET", "/v1/networks/{network}", Kind::Show, ("One network", "查看网络"), &[NETWORK]),
            verb(
                "create",
                "POST",
                "/v1/networks",
                Kind::Act,
                ("Make a network", "创建网络"),
                &[
                    field("name", Place::Text, "name", ("Display name", "名称")),
                    field("engine", Place::Text, "engine", ("fabric or bcos", "fabric 或 bcos")),
                    field("driver", Place::Text, "driver", ("process (default) or docker", "process（默认）或 docker")),
                    field("consensus", Place::Text, "consensus", ("raft, pbft or rpbft", "raft、pbft 或 rpbft")),
                    field(
                        "org",
                        Place::Many,
                        "organisations",
                        ("Organisation as NAME:NODES, several times", "组织，写作 名称:节点数，可多次"),
                    ),
                    field(
                        "orderers",
                        Place::Number,
                        "orderers",
                        ("Fabric: 1, 3, 5 or 7 orderers", "Fabric：排序节点数 1、3、5 或 7"),
                    ),
                    field("channel", Place::Text, "channel", ("First channel or group", "第一个通道或群组")),
                    field("first-port", Place::Number, "first_port", ("First port of a range", "起始端口")),
                    field(
                        "file",
                        Place::File,
                        "*",
                        ("File with the whole request as JSON", "包含完整请求的 JSON 文件"),
                    ),
                ],
            ),
            verb(
                "start",
                "POST",
                "/v1/networks/{network}/start",
                Kind::Act,
                ("Start every node", "启动全部节点"),
                &[NETWORK],
            ),
            verb(
                "stop",
                "POST",
                "/v1/networks/{network}/stop",
                Kind::Act,
                ("Stop every node", "停止全部节点"),
                &[NETWORK],
            ),
            verb(
                "delete",
                "DELETE",
                "/v1/networks/{network}",
                Kind::Act,
                ("Stop and remove it with its ledgers", "停止并删除网络及其账本"),
                &[NETWORK],
            ),
            verb(
                "topology",
                "GET",
                "/v1/networks/{network}/topology",
                Kind::Show,
                ("Organisations, nodes and who is connected", "组织、节点与连接"),
                &[NETWORK],
            ),
            verb(
                "history",
                "GET",
                "/v1/networks/{network}/config_history",
                Kind::Show,
                ("Changes of the configuration with their signers", "配置变更及签名者"),
                &[NETWORK, CHANNEL],
            ),
            verb(
                "profile",
                "GET",
                "/v1/networks/{network}/connection_profile",
                Kind::Show,
                ("Connection profile for applications", "应用连接配置"),
                &[NETWORK, field("organisation", Place::Query, "organisation", ("Organisation", "组织"))],
            ),
        ],
    },
    Noun {
        name: "node",
        about: ("Nodes: start, stop, add, remove, logs", "节点：启停、增删、日志"),
        verbs: &[
            list(
                "list",
                "/v1/networks/{network}/nodes",
                ("Every node of a network", "列出网络的节点"),
                &[NETWORK],
                &["id", "role", "organisation", "status", "heights", "lag", "peers", "certificate_days"],
            ),
            verb(
                "show",
                "GET",
                "/v1/networks/{network}/nodes/{node}",
                Kind::Show,
                ("One node", "查看节点"),
                &[NETWORK, NODE],
            ),
            verb(
                "add",
                "POST",
                "/v1/networks/{network}/nodes",
                Kind::Act,
                ("Add a node to a living network", "为运行中的网络增加节点"),
                &[
                    NETWORK,
                    field("organisation", Place::Text, "organisation", ("Its organisation", "所属组织")),
                    field(
                        "role",
                        Place::Text,
                        "role",
                        ("peer, orderer, sealer or observer", "peer、orderer、sealer 或 observer"),
                    ),
                    field(
                        "channel",
                        Place::Many,
                        "channels",
                        ("Channel to join, several times", "要加入的通道，可多次"),
                    ),
                ],
            ),
            verb(
                "remove",
                "DELETE",
                "/v1/networks/{network}/nodes/{node}",
                Kind::Act,
                ("Take a node out and remove it", "移除节点"),
                &[NETWORK, NODE],
            ),
            verb(
                "start",
                "POST",
                "/v1/networks/{network}/nodes/{node}/start",
                Kind::Act,
                ("Start a node", "启动节点"),
                &[NETWORK, NODE],
            ),
            verb(
                "stop",
                "POST",
                "/v1/networks/{network}/nodes/{node}/stop",
                Kind::Act,
                ("Stop a node", "停止节点"),
                &[NETWORK, NODE],
            ),
            verb(
                "restart",
                "POST",
                "/v1/networks/{network}/nodes/{node}/restart",
                Kind::Act,
                ("Restart a node", "重启节点"),
                &[NETWORK, NODE],
            ),
            verb(
                "role",
                "PUT",
                "/v1/networks/{network}/nodes/{node}/role",
                Kind::Act,
                ("BCOS: sealer or observer, weight", "BCOS：共识或观察，权重"),
                &[
                    NETWORK,
                    NODE,
                    field("role", Place::Word, "role", ("sealer or observer", "sealer 或 observer")),
                    field("weight", Place::Number, "weight", ("Weight as a sealer", "共识权重")),
                ],
            ),
            verb(
                "logs",
                "GET",
                "/v1/networks/{network}/nodes/{node}/logs",
                Kind::Show,
                ("The end of its log", "日志末尾"),
                &[NETWORK, NODE, field("tail", Place::Query, "tail", ("Lines", "行数"))],
            ),
        ],
    },
    Noun {
        name: "org",
        about: ("Organisations on the platform", "平台上的组织"),
        verbs: &[
            list("list", "/v1/organisations", ("Every organisation", "列出组织"), &[], &["id", "name", "created_at"]),
            verb("show", "GET", "/v1/organisations/{id}", Kind::Show, ("One organisation", "查看组织"), &[ID]),
            verb(
                "create",
                "POST",
                "/v1/organisations",
                Kind::Show,
                ("Record an organisation", "登记组织"),
                &[field("name", Place::Word, "name", ("Its name", "名称"))],
            ),
            verb("delete", "DELETE", "/v1/organisations/{id}", Kind::Show, ("Remove its record", "删除登记"), &[ID]),
        ],
    },
    Noun {
        name: "member",
        about: ("Organisations of a network", "网络的成员组织"),
        verbs: &[
            list(
                "list",
                "/v1/networks/{network}/members",
                ("Its organisations", "列出成员"),
                &[NETWORK],
                &["name", "mspid", "domain", "nodes"],
            ),
            verb(
                "add",
                "POST",
                "/v1/networks/{network}/members",
                Kind::Act,
                ("Bring an organisation into a living network", "让组织加入运行中的网络"),
                &[
                    NETWORK,
                    field("name", Place::Word, "name", ("Name in identities", "身份中的名称")),
                    field("nodes", Place::Number, "nodes", ("Its nodes [default: 1]", "节点数［默认 1］")),
                    field(
                        "channel",
                        Place::Many,
                        "channels",
                        ("Channel to join, several times", "要加入的通道，可多次"),
                    ),
                ],
            ),
        ],
    },
    Noun {
        name: "channel",
        about: ("Channels and groups", "通道与群组"),
        verbs: &[
            list(
                "list",
                "/v1/networks/{network}/channels",
                ("Channels or groups of a network", "列出通道或群组"),
                &[NETWORK],
                &["name", "organisations", "nodes"],
            ),
            verb(
                "show",
                "GET",
                "/v1/networks/{network}/channels/{channel}",
                Kind::Show,
                ("One of them", "查看"),
                &[NETWORK, field("channel", Place::Path, "", ("Channel or group", "通道或群组"))],
            ),
            verb(
                "create",
                "POST",
                "/v1/networks/{network}/channels",
                Kind::Act,
                ("Make a further one", "新建"),
                &[
                    NETWORK,
                    field("name", Place::Word, "name", ("Its name", "名称")),
                    field(
                        "organisation",
                        Place::Many,
                        "organisations",
                        ("Organisation in it, several times", "其中的组织，可多次"),
                    ),
                ],
            ),
            verb(
                "set",
                "PATCH",
                "/v1/networks/{network}/channels/{channel}",
                Kind::Act,
                ("Change a setting", "修改设置"),
                &[
                    NETWORK,
                    field("channel", Place::Path, "", ("Channel or group", "通道或群组")),
                    field(
                        "key",
                        Place::Word,
                        "key",
                        (
                            "max_message_count, batch_timeout, tx_count_limit, …",
                            "max_message_count、batch_timeout、tx_count_limit 等",
                        ),
                    ),
                    field("value", Place::Word, "value", ("New value", "新值")),
                ],
            ),
        ],
    },
    Noun {
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
                "call",
                "POST",
                "/v1/contracts/{contract}/methods/{method}",
                Kind::Call,
                (
                    "Call a method: read-only ones are evaluated, others sent",
                    "调用方法：只读方法查询，其他方法发送交易",
                ),
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
                &["at", "method", "ok", "code", "transaction"],
            ),
        ],
    },
    Noun {
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
    },
    Noun {
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
    },
    Noun {
        name: "user",
        about: ("Users of the platform", "平台用户"),
        verbs: &[
            list(
                "list",
                "/v1/users",
                ("Every user", "列出用户"),
                &[],
                &["id", "username", "role", "organisation", "disabled"],
            ),
            verb("show", "GET", "/v1/users/{id}", Kind::Show, ("One user", "查看用户"), &[ID]),
            verb(
                "create",
                "POST",
                "/v1/users",
                Kind::Show,
                (
                    "Make a user; the file holds {\"username\", \"password\", \"role\"}",
                    "创建用户；文件内容为 {\"username\", \"password\", \"role\"}",
                ),
                &[field(
                    "file",
                    Place::File,
                    "*",
                    (
                        "File with the request as JSON, so that no password is on the command line",
                        "JSON 请求文件，避免口令出现在命令行",
                    ),
                )],
            ),
            verb("delete", "DELETE", "/v1/users/{id}", Kind::Show, ("Remove a user", "删除用户"), &[ID]),
        ],
    },
    Noun {
        name: "key",
        about: ("API keys", "API 密钥"),
        verbs: &[
            list(
                "list",
                "/v1/api_keys",
                ("Every key", "列出密钥"),
                &[],
                &["id", "name", "prefix", "role", "expires_at", "last_used_at"],
            ),
            verb(
                "create",
                "POST",
                "/v1/api_keys",
                Kind::Show,
                ("Make a key; its secret is shown once", "创建密钥；密文只显示一次"),
                &[
                    field("name", Place::Word, "name", ("Name for people", "名称")),
                    field("role", Place::Text, "role", ("Role [default: application]", "角色［默认 application］")),
                    field("days", Place::Number, "expires_in_days", ("Days until it ends", "有效天数")),
                ],
            ),
            verb("delete", "DELETE", "/v1/api_keys/{id}", Kind::Show, ("Remove a key", "删除密钥"), &[ID]),
        ],
    },
    Noun {
        name: "operation",
        about: ("Operations: what is being done, and what failed", "操作：进行中与失败的操作"),
        verbs: &[
            list(
                "list",
                "/v1/operations",
                ("Newest first", "列出操作，新的在前"),
                &[
                    OF_NETWORK,
                    field(
                        "state",
                        Place::Query,
                        "state",
                        ("pending, running, done, failed, cancelled", "pending、running、done、failed、cancelled"),
                    ),
                ],
                &["id", "kind", "subject", "state", "created_at"],
            ),
            verb(
                "show",
                "GET",
                "/v1/operations/{id}",
                Kind::Show,
                ("One operation with its steps", "查看操作及其步骤"),
                &[ID],
            ),
            verb("log", "GET", "/v1/operations/{id}/log", Kind::Show, ("Its log", "操作日志"), &[ID]),
            verb(
                "retry",
                "POST",
                "/v1/operations/{id}/retry",
                Kind::Act,
                ("Go on from the failed step", "从失败的步骤重试"),
                &[ID],
            ),
            verb("cancel", "POST", "/v1/operations/{id}/cancel", Kind::Show, ("Give it up", "放弃操作"), &[ID]),
        ],
    },
    Noun {
        name: "audit",
        about: ("Audit log", "审计日志"),
        verbs: &[
            list(
                "list",
                "/v1/audit",
                ("Newest first", "列出记录，新的在前"),
                &[
                    OF_NETWORK,
                    field("actor", Place::Query, "actor", ("Only of this user", "只显示该用户的")),
                    field("action", Place::Query, "action", ("Only this action", "只显示该动作")),
                ],
                &["at", "actor_name", "action", "target", "outcome"],
            ),
            verb(
                "verify",
                "GET",
                "/v1/audit/verify",
                Kind::Show,
                ("Whether its chain of hashes is whole", "校验哈希链是否完整"),
                &[],
            ),
        ],
    },
    Noun {
        name: "search",
        about: ("Search anything: height, hash, address, name, key", "搜索：高度、哈希、地址、名称、键"),
        verbs: &[verb(
            "for",
            "GET",
            "/v1/search",
            Kind::Show,
            ("Search", "搜索"),
            &[field("text", Place::Query, "q", ("What to look for", "要查找的内容"))],
        )],
    },
];
