//! Filtered blocks are byte for byte those of a stock peer.

use std::path::PathBuf;

use fabric_peer::deliver::filtered_block;
use fabric_proto::common::Block;
use fabric_proto::protos::FilteredBlock;
use prost::Message as _;

fn golden(path: &str) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric").join(path);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn equal_to_those_of_a_stock_peer() {
    for number in 9..=16 {
        let block = Block::decode(golden(&format!("blocks/{number:03}.block")).as_slice()).unwrap();
        let expected = golden(&format!("deliver/{number:03}.filtered.pb"));
        let filtered = filtered_block(&block).unwrap();
        assert_eq!(filtered, FilteredBlock::decode(expected.as_slice()).unwrap(), "block {number}");
        assert_eq!(filtered.encode_to_vec(), expected, "block {number}");
    }
}

#[test]
fn every_block_of_the_chain_can_be_filtered_and_hides_payloads() {
    let mut events = 0;
    for number in 0..105 {
        let block = Block::decode(golden(&format!("blocks/{number:03}.block")).as_slice()).unwrap();
        // Blocks with crafted transactions may hold parts that no filter can read; those must be refused by name.
        match filtered_block(&block) {
            Ok(filtered) => {
                assert_eq!(filtered.number, number);
                for tx in filtered.filtered_transactions {
                    let Some(fabric_proto::protos::filtered_transaction::Data::TransactionActions(actions)) = tx.data
                    else {
                        continue;
                    };
                    for action in actions.chaincode_actions {
                        let event = action.chaincode_event.unwrap();
                        assert!(event.payload.is_empty());
                        events += 1;
                    }
                }
            }
            Err(error) => assert!(error.to_string().contains(&format!("of block {number}:")), "{error}"),
        }
    }
    assert!(events > 0);
}
