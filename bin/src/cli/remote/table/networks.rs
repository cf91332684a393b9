//! Networks and what they are made of.

use super::{CHANNEL, Field, Kind, NETWORK, NODE, Noun, Place, field, list, verb};

pub(super) const NETWORK_COMMANDS: Noun = Noun {
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
                field("file", Place::File, "*", ("File with the whole request as JSON", "包含完整请求的 JSON 文件")),
            ],
        ),
        verb(
            "import",
            "POST",
            "/v1/networks/import",
            Kind::Show,
            ("Record a network that somebody else runs, to watch and use it", "登记由他人运行的网络，以便监控和使用"),
            &[field(
                "file",
                Place::File,
                "*",
                (
                    "File with the request as JSON: nodes, endpoints, trust roots",
                    "JSON 请求文件：节点、端点、信任根证书",
                ),
            )],
        ),
        verb(
            "start",
            "POST",
            "/v1/networks/{network}/start",
            Kind::Act,
            ("Start every node", "启动全部节点"),
            &[NETWORK],
        ),
        verb("stop", "POST", "/v1/networks/{network}/stop", Kind::Act, ("Stop every node", "停止全部节点"), &[NETWORK]),
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
};

pub(super) const NODE_COMMANDS: Noun = Noun {
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
                field("channel", Place::Many, "channels", ("Channel to join, several times", "要加入的通道，可多次")),
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
};

pub(super) const MEMBER_COMMANDS: Noun = Noun {
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
                field("channel", Place::Many, "channels", ("Channel to join, several times", "要加入的通道，可多次")),
            ],
        ),
    ],
};

pub(super) const CHANNEL_COMMANDS: Noun = Noun {
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
};

const IDENTITY: &[Field] = &[
    NETWORK,
    field("organisation", Place::Path, "", ("Its organisation", "所属组织")),
    field("name", Place::Path, "", ("Its name", "名称")),
];

pub(super) const IDENTITY_COMMANDS: Noun = Noun {
    name: "identity",
    about: ("Identities and accounts: issue, revoke", "身份与账户：签发、吊销"),
    verbs: &[
        list(
            "list",
            "/v1/networks/{network}/identities",
            ("Every identity of a network", "列出网络的身份"),
            &[NETWORK],
            &["organisation", "name", "role", "subject", "expires_at", "revoked"],
        ),
        verb(
            "issue",
            "POST",
            "/v1/networks/{network}/identities",
            Kind::Act,
            ("Issue an identity; its key stays on the server", "签发身份，私钥保存在服务器上"),
            &[
                NETWORK,
                field("organisation", Place::Word, "organisation", ("Its organisation", "所属组织")),
                field("name", Place::Word, "name", ("Its name", "名称")),
                field(
                    "role",
                    Place::Word,
                    "role",
                    (
                        "Fabric: client, admin or auditor; BCOS: account",
                        "Fabric：client、admin 或 auditor；BCOS：account",
                    ),
                ),
            ],
        ),
        verb(
            "revoke",
            "POST",
            "/v1/networks/{network}/identities/{organisation}/{name}/revoke",
            Kind::Act,
            ("Revoke an identity", "吊销身份"),
            IDENTITY,
        ),
    ],
};
