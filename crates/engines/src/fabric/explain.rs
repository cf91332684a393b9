//! What verdicts and refusals mean, and what to do about them, in both languages.

use fabric_client::PeerDetail;

/// A transaction's verdict in words: English, Chinese. Both are empty for `VALID`.
pub fn verdict(code: &str) -> (&'static str, &'static str) {
    match code {
        "VALID" => ("", ""),
        "MVCC_READ_CONFLICT" => (
            "another transaction changed a key that this one had read, between its endorsement and its commit; \
             nothing was written, send it again",
            "该交易读取的键在背书之后、提交之前已被另一笔交易修改；未写入任何数据，请重新发送",
        ),
        "PHANTOM_READ_CONFLICT" => (
            "another transaction added or removed a key in a range that this one had read; nothing was written, send it again",
            "该交易读取的键范围内，另一笔交易新增或删除了键；未写入任何数据，请重新发送",
        ),
        "ENDORSEMENT_POLICY_FAILURE" => (
            "the endorsements do not satisfy the policy of the contract, a collection or a key; name the organisations that \
             must endorse, or change the policy by an upgrade",
            "背书不满足合约、私有集合或键的背书策略；请指定必须背书的组织，或通过升级修改策略",
        ),
        "BAD_CREATOR_SIGNATURE" => (
            "the sender's certificate is unknown, expired or revoked on this channel, or its signature is wrong; use another \
             identity",
            "发送者的证书在此通道上未知、过期或已吊销，或签名错误；请使用其他身份",
        ),
        "INVALID_ENDORSER_TRANSACTION" => (
            "the transaction's parts do not belong together; build it anew from one proposal and its answers",
            "交易各部分不匹配；请用同一提案及其应答重新构造",
        ),
        "INVALID_CONFIG_TRANSACTION" => (
            "the configuration change was not allowed by the configuration it met; compute it anew and collect the signatures",
            "配置变更不被当前配置允许；请重新计算并收集签名",
        ),
        "DUPLICATE_TXID" => (
            "a transaction with this id was committed before; the first one counts",
            "相同编号的交易此前已提交；以第一笔为准",
        ),
        "EXPIRED_CHAINCODE" | "CHAINCODE_VERSION_CONFLICT" => (
            "the contract was upgraded between endorsement and commit; send it again",
            "合约在背书与提交之间被升级；请重新发送",
        ),
        "INVALID_CHAINCODE" => (
            "no contract of this name is committed on the channel; deploy it first",
            "通道上没有该名称的合约；请先部署",
        ),
        "BAD_RWSET" | "ILLEGAL_WRITESET" | "INVALID_WRITESET" => (
            "the writes of the transaction are not allowed (another contract's or a reserved namespace); check the contract",
            "交易写入了不允许的内容（其他合约或保留命名空间）；请检查合约",
        ),
        "NOT_VALIDATED" => ("no peer has judged this transaction yet", "尚无节点验证该交易"),
        "INVALID_OTHER_REASON" => (
            "the peers found it invalid for a reason that the protocol has no code for; the peer's log names it",
            "节点以协议没有代码的原因判其无效；详见节点日志",
        ),
        _ => (
            "the transaction is malformed and was recorded without effect; build it with a current SDK",
            "交易格式不正确，已记录但未生效；请使用新版 SDK 构造",
        ),
    }
}

/// A gateway's refusal with what each node behind it said.
pub(super) fn refused(message: &str, details: &[PeerDetail]) -> String {
    if details.is_empty() {
        return message.to_owned();
    }
    let said: Vec<String> =
        details.iter().map(|detail| format!("{} ({}): {}", detail.address, detail.msp_id, detail.message)).collect();
    format!("{message} [{}]", said.join("; "))
}

#[cfg(test)]
mod tests {
    use fabric_proto::protos::TxValidationCode;

    use super::*;

    #[test]
    fn every_verdict_has_words_in_both_languages() {
        for number in 0..=255 {
            let Ok(code) = TxValidationCode::try_from(number) else { continue };
            let (english, chinese) = verdict(code.as_str_name());
            assert_eq!(english.is_empty(), code == TxValidationCode::Valid, "{code:?}");
            assert_eq!(chinese.is_empty(), english.is_empty());
        }
    }
}
