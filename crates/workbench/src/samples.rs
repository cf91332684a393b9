//! Contracts to start from, for both engines. Their files are in the folder `samples` of this crate.

use serde::Serialize;
use utoipa::ToSchema;

use crate::interface::Engine;
use crate::project::{Files, Language};

/// A sample contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sample {
    /// Its id: `solidity-evidence`.
    pub id: &'static str,
    /// Language.
    pub language: Language,
    /// Engine.
    pub engine: Engine,
    /// Title, English.
    pub title: &'static str,
    /// Title, Chinese.
    pub title_zh: &'static str,
    /// What it shows, English.
    pub description: &'static str,
    /// What it shows, Chinese.
    pub description_zh: &'static str,
    /// The file to open first.
    pub main: &'static str,
    /// Its files' paths.
    pub paths: Vec<&'static str>,
}

/// Path and content.
type File = (&'static str, &'static str);

/// A sample as it stands in the table.
struct Row {
    id: &'static str,
    language: Language,
    texts: &'static Texts,
    /// The first is opened first.
    files: &'static [File],
}

/// What people read of a sample; the same for every language it is written in.
struct Texts {
    title: &'static str,
    title_zh: &'static str,
    description: &'static str,
    description_zh: &'static str,
}

/// A sample's files, by their names in its folder.
macro_rules! files {
    ($folder:literal: $($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../samples/", $folder, "/", $path)))),+]
    };
}

const STORAGE: Texts = Texts {
    title: "Simple storage",
    title_zh: "简单存储",
    description: "One number with an owner: constructor, events, a refusal with its reason. The first contract to try.",
    description_zh: "带所有者的一个数字:构造函数、事件、带原因的拒绝。适合作为第一个合约。",
};
const EVIDENCE: Texts = Texts {
    title: "Evidence deposit",
    title_zh: "存证",
    description: "Records that a document existed at a time, by its hash; witnesses attest, the depositor may revoke. The document itself stays outside.",
    description_zh: "以哈希证明文件在某一时间已存在;见证人可以确认,存证人可以吊销。文件本身不上链。",
};
const RECEIVABLES: Texts = Texts {
    title: "Receivables",
    title_zh: "应收账款",
    description: "A supplier records an invoice, the buyer confirms it; parts are split, passed on, pledged to a bank and redeemed. The open parts always add up.",
    description_zh: "供应商登记应收账款,买方确认;可拆分、转让、质押给银行、兑付。未结部分之和始终一致。",
};
const POINTS: Texts = Texts {
    title: "Points",
    title_zh: "积分",
    description: "Merchants give loyalty points, members spend them at any merchant; positions are the base of settlement. Points are no money.",
    description_zh: "商户发放积分,会员可在任一商户使用;各商户头寸作为结算依据。积分不是货币。",
};
const UNITS: Texts = Texts {
    title: "Register of units",
    title_zh: "份额登记",
    description: "Who holds how many shares, quotas or certificates, with the functions of ERC-20, roles and frozen accounts. No sale, no exchange.",
    description_zh: "登记份额、配额或证书的持有数量,接口与 ERC-20 一致,含角色与冻结账户。不含销售与兑换。",
};
const ASSETS: Texts = Texts {
    title: "Asset transfer",
    title_zh: "资产转移",
    description: "Things with an owner: create, read, update, transfer, delete, list, with events. The functions of the well-known sample.",
    description_zh: "带所有者的资产:创建、读取、修改、转移、删除、列表,并发出事件。与常见示例的函数一致。",
};
const OFFERS: Texts = Texts {
    title: "Private data",
    title_zh: "私有数据",
    description: "Public offers whose prices only members of a collection see; others can check a price by its hash. Deploy it with collections.json.",
    description_zh: "报价公开,价格仅集合成员可见;其他人可凭哈希核对价格。部署时请使用 collections.json。",
};

const ROWS: [Row; 17] = [
    Row {
        id: "solidity-simple-storage",
        language: Language::Solidity,
        texts: &STORAGE,
        files: files!("solidity-simple-storage": "SimpleStorage.sol"),
    },
    Row {
        id: "solidity-evidence",
        language: Language::Solidity,
        texts: &EVIDENCE,
        files: files!("solidity-evidence": "Evidence.sol"),
    },
    Row {
        id: "solidity-receivables",
        language: Language::Solidity,
        texts: &RECEIVABLES,
        files: files!("solidity-receivables": "Receivables.sol"),
    },
    Row {
        id: "solidity-points",
        language: Language::Solidity,
        texts: &POINTS,
        files: files!("solidity-points": "Points.sol"),
    },
    Row {
        id: "solidity-units",
        language: Language::Solidity,
        texts: &UNITS,
        files: files!("solidity-units": "UnitRegister.sol", "access/Roles.sol"),
    },
    Row {
        id: "javascript-asset-transfer",
        language: Language::Javascript,
        texts: &ASSETS,
        files: files!("javascript-asset-transfer": "lib/asset-transfer.js", "index.js", "interface.json", "package.json"),
    },
    Row {
        id: "javascript-evidence",
        language: Language::Javascript,
        texts: &EVIDENCE,
        files: files!("javascript-evidence": "lib/evidence.js", "index.js", "interface.json", "package.json"),
    },
    Row {
        id: "javascript-private-data",
        language: Language::Javascript,
        texts: &OFFERS,
        files: files!("javascript-private-data": "lib/offers.js", "collections.json", "index.js", "interface.json", "package.json"),
    },
    Row {
        id: "typescript-asset-transfer",
        language: Language::Typescript,
        texts: &ASSETS,
        files: files!("typescript-asset-transfer": "src/assetTransfer.ts", "package.json", "src/asset.ts", "src/index.ts", "tsconfig.json"),
    },
    Row {
        id: "typescript-evidence",
        language: Language::Typescript,
        texts: &EVIDENCE,
        files: files!("typescript-evidence": "src/evidence.ts", "package.json", "src/index.ts", "src/record.ts", "tsconfig.json"),
    },
    Row {
        id: "typescript-private-data",
        language: Language::Typescript,
        texts: &OFFERS,
        files: files!("typescript-private-data": "src/offers.ts", "collections.json", "package.json", "src/index.ts", "tsconfig.json"),
    },
    Row {
        id: "go-asset-transfer",
        language: Language::Go,
        texts: &ASSETS,
        files: files!("go-asset-transfer": "contract.go", "go.mod", "go.sum", "main.go"),
    },
    Row {
        id: "go-evidence",
        language: Language::Go,
        texts: &EVIDENCE,
        files: files!("go-evidence": "contract.go", "go.mod", "go.sum", "main.go"),
    },
    Row {
        id: "go-private-data",
        language: Language::Go,
        texts: &OFFERS,
        files: files!("go-private-data": "contract.go", "collections.json", "go.mod", "go.sum", "main.go"),
    },
    Row {
        id: "rust-asset-transfer",
        language: Language::Rust,
        texts: &ASSETS,
        files: files!("rust-asset-transfer": "src/main.rs", "Cargo.toml", "interface.json"),
    },
    Row {
        id: "rust-evidence",
        language: Language::Rust,
        texts: &EVIDENCE,
        files: files!("rust-evidence": "src/main.rs", "Cargo.toml", "interface.json"),
    },
    Row {
        id: "rust-private-data",
        language: Language::Rust,
        texts: &OFFERS,
        files: files!("rust-private-data": "src/main.rs", "Cargo.toml", "collections.json", "interface.json"),
    },
];

/// All samples.
pub fn all() -> Vec<Sample> {
    ROWS.iter()
        .map(|row| Sample {
            id: row.id,
            language: row.language,
            engine: if row.language == Language::Solidity { Engine::Bcos } else { Engine::Fabric },
            title: row.texts.title,
            title_zh: row.texts.title_zh,
            description: row.texts.description,
            description_zh: row.texts.description_zh,
            main: row.files.first().map_or("", |(path, _)| path),
            paths: row.files.iter().map(|(path, _)| *path).collect(),
        })
        .collect()
}

/// The files of one; `None` when there is no such sample.
pub fn files(id: &str) -> Option<Files> {
    let row = ROWS.iter().find(|row| row.id == id)?;
    Some(made(row.files))
}

fn made(files: &[File]) -> Files {
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

/// The smallest project of a language, for those who start from nothing.
pub fn empty(language: Language) -> Files {
    match language {
        Language::Solidity => made(files!("empty-solidity": "Contract.sol")),
        Language::Javascript => made(files!("empty-javascript": "index.js", "package.json")),
        Language::Typescript => made(files!("empty-typescript": "src/index.ts", "package.json", "tsconfig.json")),
        Language::Go => made(files!("empty-go": "main.go", "go.mod", "go.sum")),
        Language::Rust => made(files!("empty-rust": "src/main.rs", "Cargo.toml")),
    }
}
