//! The kinds of problem that several modules share.

use super::Kind;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal $status:literal [$title:literal, $title_zh:literal] [$hint:literal, $hint_zh:literal];)*) => {
        $($(#[$doc])* pub const $name: Kind = Kind { code: $code, status: $status, title: [$title, $title_zh], hint: [$hint, $hint_zh] };)*
    };
}

kinds! {
    /// The body is not JSON.
    MALFORMED_JSON = "malformed_json" 400
        ["The request body is not valid JSON", "请求体不是有效的 JSON"]
        ["Send a JSON document of the endpoint's schema", "请按接口的结构发送 JSON 文档"];
    /// A path or query parameter cannot be read.
    INVALID_PARAMETER = "invalid_parameter" 400
        ["A parameter of the address is not valid", "地址中的参数无效"]
        ["Compare the parameter with the API's description", "请对照接口说明修改参数"];
    /// A page token that this server did not give.
    INVALID_PAGE_TOKEN = "invalid_page_token" 400
        ["The page token is not valid", "分页令牌无效"]
        ["Use next_page_token of the page before, with the same filters", "请使用上一页返回的 next_page_token，并保持筛选条件不变"];
    /// Nobody is logged in.
    UNAUTHENTICATED = "unauthenticated" 401
        ["Nobody is logged in", "尚未登录"]
        ["Log in, or send an API key as Authorization: Bearer kst_…", "请登录，或以 Authorization: Bearer kst_… 携带 API 密钥"];
    /// Name and password do not fit.
    WRONG_CREDENTIALS = "wrong_credentials" 401
        ["User name or password is wrong", "用户名或密码错误"]
        ["Check both; an administrator can set a new password", "请核对后重试；管理员可以重设密码"];
    /// The session or key has ended.
    SESSION_EXPIRED = "session_expired" 401
        ["The session or API key is not valid any more", "会话或 API 密钥已失效"]
        ["Log in again or use another key", "请重新登录或更换密钥"];
    /// The role does not allow this.
    FORBIDDEN = "forbidden" 403
        ["Your role does not allow this", "当前角色没有此权限"]
        ["Ask an administrator of your organisation for a role that does", "请联系组织管理员授予相应角色"];
    /// The CSRF token is missing or wrong.
    CSRF = "csrf_token_wrong" 403
        ["The request did not come from the console's own page", "请求并非来自控制台页面"]
        ["Send the csrf_token of GET /v1/session as header x-csrf-token; reload the page", "请以 x-csrf-token 请求头携带 GET /v1/session 返回的 csrf_token，或刷新页面"];
    /// The link for the first setup is wrong or used.
    SETUP_LINK = "setup_link_wrong" 403
        ["The setup link is wrong or was used already", "初始化链接无效或已被使用"]
        ["Use the link that the server printed last", "请使用服务器最近打印的链接"];
    /// The thing is not there, or not for the caller.
    NOT_FOUND = "not_found" 404
        ["There is no such thing", "对象不存在"]
        ["Check the id; it may have been deleted or belong to an organisation that you are not in", "请检查编号；对象可能已删除，或属于您未加入的组织"];
    /// No such address.
    NO_SUCH_ROUTE = "no_such_endpoint" 404
        ["There is no such endpoint", "接口不存在"]
        ["Look at /v1/openapi.json for what there is", "请查看 /v1/openapi.json 中的接口列表"];
    /// The address exists, not with this method.
    METHOD_NOT_ALLOWED = "method_not_allowed" 405
        ["This endpoint does not know that method", "该接口不支持此方法"]
        ["Look at the Allow header for those it knows", "请查看 Allow 响应头"];
    /// A name is taken.
    ALREADY_EXISTS = "already_exists" 409
        ["This name is taken", "名称已被占用"]
        ["Choose another name", "请更换名称"];
    /// The state forbids it.
    CONFLICT = "conflict" 409
        ["This is not possible in the present state", "当前状态下无法执行"]
        ["Look at the present state and try again", "请查看当前状态后重试"];
    /// The same idempotency key is being worked on.
    IDEMPOTENCY_RUNNING = "idempotency_in_progress" 409
        ["A request with this idempotency key is still running", "使用该幂等键的请求仍在执行"]
        ["Wait a moment and send it again", "请稍后重试"];
    /// The same idempotency key was used for another request.
    IDEMPOTENCY_OTHER = "idempotency_key_reused" 422
        ["This idempotency key was used for another request", "该幂等键已用于其他请求"]
        ["Use a new key for a new request", "新的请求请使用新的幂等键"];
    /// The request was done, and its answer held a secret that is shown once, or was too large to be kept.
    IDEMPOTENCY_SECRET = "idempotency_answer_not_kept" 409
        ["The request was carried out; its answer held a secret or was too large and was not kept", "请求已执行；响应含有密钥或过大，未作保存"]
        ["Look at the list for what was made; make a new one when a secret is lost", "请在列表中查看结果；若密钥遗失请重新创建"];
    /// The thing was changed by somebody else.
    PRECONDITION_FAILED = "precondition_failed" 412
        ["Somebody changed this in the meantime", "对象已被他人修改"]
        ["Read it again, apply your change to the new version and send it with its ETag", "请重新读取，在新版本上修改并携带其 ETag 提交"];
    /// The body is too big.
    TOO_LARGE = "too_large" 413
        ["The request is too large", "请求过大"]
        ["Send less at once", "请减少单次发送的数据量"];
    /// The media type is not known.
    UNSUPPORTED_MEDIA = "unsupported_media_type" 415
        ["This media type is not accepted here", "不支持该媒体类型"]
        ["Send application/json, or the type that the API's description names", "请发送 application/json 或接口说明中的类型"];
    /// A field is wrong.
    INVALID_FIELD = "invalid_field" 422
        ["A field of the request is not valid", "请求字段无效"]
        ["Correct the field and send it again", "请修改该字段后重新提交"];
    /// Engines or drivers have no such thing.
    UNSUPPORTED = "unsupported" 422
        ["This kind of network has no such thing", "该类型的网络不支持此操作"]
        ["Look at the compatibility table in the documentation", "请查看文档中的兼容性表"];
    /// The network said no.
    REFUSED_BY_NETWORK = "refused_by_network" 422
        ["The network refused it", "网络拒绝了该请求"]
        ["The detail says why; correct the call or the policy", "详情说明了原因，请修改调用或策略"];
    /// Too many requests.
    RATE_LIMITED = "rate_limited" 429
        ["Too many attempts", "尝试次数过多"]
        ["Wait as long as Retry-After says", "请按 Retry-After 指示的时间等待"];
    /// Ours.
    INTERNAL = "internal" 500
        ["The server failed; this is a fault of ours", "服务器内部错误"]
        ["Report it with the trace_id; the server's log has the cause", "请携带 trace_id 反馈；原因见服务器日志"];
    /// A file could not be read or written.
    FILE_FAILED = "file_failed" 500
        ["A file on the server could not be read or written", "服务器文件读写失败"]
        ["Look at permissions and disk of the server's data folder", "请检查服务器数据目录的权限与磁盘"];
    /// No space.
    DISK_FULL = "disk_full" 507
        ["The server's disk is full", "服务器磁盘已满"]
        ["Free some space on the disk of the data folder and try again", "请清理数据目录所在磁盘后重试"];
    /// A node does not answer.
    NODE_UNREACHABLE = "node_unreachable" 502
        ["A node does not answer", "节点无响应"]
        ["Look at the node's state and log; start it and try again", "请查看节点状态与日志，启动后重试"];
    /// The database is gone.
    DATABASE_UNAVAILABLE = "database_unavailable" 503
        ["The database does not answer", "数据库无响应"]
        ["Try again in a moment; nothing was changed", "请稍后重试；数据未被更改"];
    /// Docker is gone.
    DRIVER_UNAVAILABLE = "driver_unavailable" 503
        ["The place where nodes run does not answer", "节点运行环境无响应"]
        ["The detail says how to make it available", "请按详情恢复运行环境"];
    /// A driver failed.
    DRIVER_FAILED = "driver_failed" 500
        ["A node could not be placed", "节点无法运行"]
        ["The detail names the file, process or container", "请查看详情中的文件、进程或容器"];
    /// A port is taken.
    PORT_TAKEN = "port_taken" 409
        ["A port that a node needs is in use", "节点所需端口被占用"]
        ["Stop that program or choose other ports, then retry", "请停止占用端口的程序或更换端口后重试"];
    /// Outside login provider.
    OIDC_FAILED = "oidc_failed" 502
        ["The login provider could not be used", "统一登录服务不可用"]
        ["Check issuer, client id and secret in the settings", "请检查设置中的签发者、客户端编号与密钥"];
    /// Setup has been done.
    SETUP_DONE = "setup_done" 409
        ["The first administrator is there already", "已完成初始化"]
        ["Log in instead", "请直接登录"];
}
