//! Wire messages and gRPC services of the Fabric protocol family, and [`Raw`]: received bytes kept beside their decoded view.
//!
//! ```
//! use fabric_proto::{common::Payload, Raw};
//!
//! let payload = Raw::author(Payload { header: None, data: "hello".into() });
//! let received: Raw<Payload> = Raw::decode(payload.bytes().clone()).unwrap();
//! assert_eq!(received.data, "hello".as_bytes());
//! ```
//!
//! Every `bytes` field is a [`bytes::Bytes`], so decoding from `Bytes` shares the received buffer instead of copying it.
//! Map fields are ordered maps. The crate holds no rules: what a message means is said in `fabric-channel` and above.

#![allow(missing_docs, reason = "generated code carries the documentation of its .proto files")]
#![allow(clippy::pedantic, reason = "generated code")]

pub mod raw;

pub use raw::{DecodeError, Raw};

macro_rules! package {
    ($file:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $file, ".rs"));
    };
}

pub mod common {
    package!("common");
}
pub mod msp {
    package!("msp");
}
pub mod protos {
    package!("protos");
}
pub mod orderer {
    package!("orderer");
    pub mod smartbft {
        package!("orderer.smartbft");
    }
}
pub mod etcdraft {
    package!("etcdraft");
}
pub mod gossip {
    package!("gossip");
}
pub mod gateway {
    package!("gateway");
}
pub mod discovery {
    package!("discovery");
}
pub mod lifecycle {
    package!("lifecycle");
}
pub mod queryresult {
    package!("queryresult");
}
pub mod rwset {
    package!("rwset");
}
pub mod kvrwset {
    package!("kvrwset");
}
pub mod transientstore {
    package!("transientstore");
}
pub mod commithash {
    package!("commithash");
}

/// The serialized `google.protobuf.FileDescriptorSet` of every message above, for reflection (JSON forms, conformance).
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
