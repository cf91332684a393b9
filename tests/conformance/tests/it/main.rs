//! Stock clients against the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod api;
mod bcos;
mod chain;
mod chain_disk;
mod chain_faults;
mod chain_partition;
mod chaincode;
mod console;
mod descriptors;
mod docs;
mod faults;
mod faults_clients;
mod gateway;
mod hostile;
mod places;
mod sdk;
mod tools;
