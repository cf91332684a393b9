//! `eth_feeHistory`: there is no base fee, and the price of gas is a setting of the chain.

use serde_json::{Value, json};

use super::Eth;
use crate::rpc::error::RpcError;
use crate::rpc::params::Params;
use crate::rpc::text;

/// Blocks in one answer (the bound of most nodes).
const MOST_FEE_BLOCKS: u64 = 1_024;
impl Eth {
    pub(super) fn fee_history(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let count = match params.required(0, "block count")? {
            Value::String(text) => text::number(text, "block count")?,
            Value::Number(number) => number.as_u64().unwrap_or(0),
            _ => return Err(RpcError::params("the block count must be a number")),
        };
        let ledger = self.ledger();
        let newest = self.known(params.text(1, "newest block")?)?;
        let newest = newest.ok_or_else(|| RpcError::new(-32000, "request beyond head block"))?;
        let percentiles = match params.get(2) {
            None => 0,
            Some(Value::Array(percentiles)) if percentiles.len() <= 100 => percentiles.len(),
            Some(_) => return Err(RpcError::params("the percentiles must be an array of at most 100 numbers")),
        };
        let count = count.min(MOST_FEE_BLOCKS).min(newest + 1);
        if count == 0 {
            return Ok(json!({ "oldestBlock": "0x0", "gasUsedRatio": [] }));
        }
        let oldest = newest + 1 - count;
        let limit = ledger.settings()?.gas_limit.max(1);
        let price = text::quantity_256(&ledger.settings()?.gas_price);
        let mut ratios = Vec::new();
        for number in oldest..=newest {
            let used: u64 = ledger.block(number)?.header().gas_used;
            #[expect(clippy::cast_precision_loss, reason = "a ratio for people and fee estimators")]
            ratios.push(used as f64 / limit as f64);
        }
        let zeros = vec!["0x0"; ratios.len() + 1];
        let mut out = json!({
            "oldestBlock": text::quantity(oldest),
            "baseFeePerGas": zeros,
            "baseFeePerBlobGas": zeros,
            "blobGasUsedRatio": vec![0; ratios.len()],
            "gasUsedRatio": ratios,
        });
        if percentiles > 0 {
            out["reward"] = json!(vec![vec![price; percentiles]; ratios.len()]);
        }
        Ok(out)
    }
}
