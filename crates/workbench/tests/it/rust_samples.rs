//! The Rust samples compile against the chaincode library of this workspace. That the builder makes programs of them is tested by
//! `builds::rust_samples_become_programs`, which takes minutes.

macro_rules! sample {
    ($name:ident, $path:literal) => {
        #[allow(dead_code, missing_docs, clippy::pedantic)]
        #[path = $path]
        mod $name;
    };
}

sample!(asset_transfer, "../../samples/rust-asset-transfer/src/main.rs");
sample!(evidence, "../../samples/rust-evidence/src/main.rs");
sample!(private_data, "../../samples/rust-private-data/src/main.rs");
sample!(empty, "../../samples/empty-rust/src/main.rs");
