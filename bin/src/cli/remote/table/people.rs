//! Organisations, users, keys, and what the platform remembers.

use super::{Field, ID, Kind, Noun, OF_NETWORK, Place, field, list, verb};

pub(super) const ORG_COMMANDS: Noun = Noun {
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
};

pub(super) const USER_COMMANDS: Noun = Noun {
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
};

pub(super) const KEY_COMMANDS: Noun = Noun {
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
                field("organisation", Place::Text, "organisation", ("Organisation it works for", "所属组织")),
                field(
                    "network",
                    Place::Many,
                    "networks",
                    ("Only for this network (id), several times", "仅限该网络（编号），可多次"),
                ),
                field("days", Place::Number, "expires_in_days", ("Days until it ends", "有效天数")),
            ],
        ),
        verb("delete", "DELETE", "/v1/api_keys/{id}", Kind::Show, ("Remove a key", "删除密钥"), &[ID]),
    ],
};

pub(super) const OPERATION_COMMANDS: Noun = Noun {
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
};

pub(super) const AUDIT_COMMANDS: Noun = Noun {
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
            &["seq", "at", "actor.name", "action", "target", "status"],
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
};

pub(super) const SEARCH_COMMANDS: Noun = Noun {
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
};

const PROJECT: Field = field("project", Place::Path, "", ("Id of the project", "项目编号"));

pub(super) const PROJECT_COMMANDS: Noun = Noun {
    name: "project",
    about: ("Projects: sources of contracts on the server", "项目：服务器上的合约源码"),
    verbs: &[
        list(
            "list",
            "/v1/projects",
            ("Every project", "列出项目"),
            &[],
            &["id", "name", "language", "engine", "updated_at"],
        ),
        list(
            "samples",
            "/v1/samples",
            ("What a project can begin with", "可用的示例"),
            &[],
            &["id", "language", "engine", "title"],
        ),
        verb("show", "GET", "/v1/projects/{project}", Kind::Show, ("One project", "查看项目"), &[PROJECT]),
        verb(
            "create",
            "POST",
            "/v1/projects",
            Kind::Show,
            ("Make a project, of a sample or empty", "从示例或空白创建项目"),
            &[
                field("name", Place::Word, "name", ("Its name", "名称")),
                field("sample", Place::Text, "sample", ("Sample to begin with", "起始示例")),
                field("language", Place::Text, "language", ("Language, when there is no sample", "未给出示例时的语言")),
            ],
        ),
        verb(
            "build",
            "POST",
            "/v1/projects/{project}/build",
            Kind::Act,
            ("Compile Solidity, or package chaincode", "编译 Solidity 或打包链码"),
            &[
                PROJECT,
                field(
                    "compiler",
                    Place::Text,
                    "compiler",
                    ("Solidity: version of the compiler", "Solidity：编译器版本"),
                ),
            ],
        ),
        verb("delete", "DELETE", "/v1/projects/{project}", Kind::Show, ("Remove a project", "删除项目"), &[PROJECT]),
    ],
};
