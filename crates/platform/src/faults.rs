//! What a network survives, in words.

use konsort_engines::NetworkSpec;
use konsort_engines::spec::EngineKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many nodes may fail before a network stops, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaultBudget {
    /// Nodes that agree: orderers or sealers.
    pub voters: u32,
    /// How many of them may fail at the same time.
    pub survives: u32,
    /// Whether the failing ones may also lie.
    pub byzantine: bool,
    /// One sentence, English.
    pub en: String,
    /// One sentence, Chinese.
    pub zh: String,
}

/// The fault budget of a network.
pub fn fault_budget(spec: &NetworkSpec) -> FaultBudget {
    let role = match spec.engine {
        EngineKind::Fabric => "orderer",
        EngineKind::Bcos => "sealer",
    };
    let voters = spec.nodes.iter().filter(|node| node.role == role).count() as u32;
    of(spec.engine, &spec.consensus, voters)
}

/// The fault budget of so many nodes that agree in this way.
pub fn of(engine: EngineKind, consensus: &str, voters: u32) -> FaultBudget {
    let byzantine = matches!(consensus, "pbft" | "rpbft" | "bft");
    let survives = voters.saturating_sub(1) / if byzantine { 3 } else { 2 };
    let (who, who_zh) = match engine {
        EngineKind::Fabric => ("orderer", "排序节点"),
        EngineKind::Bcos => ("sealer", "共识节点"),
    };
    let more = voters_for(survives + 1, byzantine);
    let plural = if voters == 1 { "" } else { "s" };
    let (how, how_zh) = if byzantine { ("fail or lie", "失效或作恶") } else { ("fail", "失效") };
    let (en, zh) = match (voters, survives) {
        (0, _) => (
            format!("There is no {who}: no block can be made. Add at least one."),
            format!("没有{who_zh},无法出块。请至少添加一个。"),
        ),
        (_, 0) => (
            format!(
                "{voters} {who}{plural} cannot lose any: when one stops, no block is made until it is back. {more} survive 1."
            ),
            format!(
                "{voters} 个{who_zh}不能容忍任何故障:一个停止后就不再出块,直到它恢复。{more} 个可以容忍 1 个故障。"
            ),
        ),
        _ => (
            format!(
                "Of {voters} {who}s {survives} may {how} at the same time; with one more lost no block is made until one is back."
            ),
            format!("{voters} 个{who_zh}中可以同时有 {survives} 个{how_zh};再失去一个就停止出块,直到有一个恢复。"),
        ),
    };
    FaultBudget { voters, survives, byzantine, en, zh }
}

/// How many nodes it takes to survive so many failures.
fn voters_for(failures: u32, byzantine: bool) -> u32 {
    failures * if byzantine { 3 } else { 2 } + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_the_way_of_agreeing() {
        let survives = |consensus: &str, voters| of(EngineKind::Bcos, consensus, voters).survives;
        assert_eq!([1, 3, 4, 6, 7, 10].map(|voters| survives("pbft", voters)), [0, 0, 1, 1, 2, 3]);
        assert_eq!([1, 2, 3, 4, 5, 7].map(|voters| survives("raft", voters)), [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn says_how_many_would_survive_one_failure() {
        let one = of(EngineKind::Fabric, "raft", 1);
        assert!(one.en.contains("1 orderer cannot lose any") && one.en.ends_with("3 survive 1."), "{}", one.en);
        assert!(of(EngineKind::Bcos, "pbft", 3).zh.contains("4 个可以容忍 1 个故障"));
        assert!(of(EngineKind::Bcos, "pbft", 0).en.contains("no block can be made"));
    }
}
