//! The endorser's figures under upstream's names.

use konsort_node::Metrics;
use konsort_node::metrics::{Counter, CounterFamily, HistogramFamily};

pub(super) struct EndorserMetrics {
    pub(super) received: Counter,
    pub(super) successful: Counter,
    pub(super) validation_failures: Counter,
    pub(super) acl_failures: CounterFamily,
    pub(super) duplicates: CounterFamily,
    pub(super) simulation_failures: CounterFamily,
    pub(super) endorsement_failures: CounterFamily,
    pub(super) duration: HistogramFamily,
}

impl EndorserMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let plain = |name: &str, help: &str| metrics.counter(&format!("endorser_{name}"), help, &[]).with(&[]);
        let labels = &["channel", "chaincode"];
        Self {
            received: plain("proposals_received", "The number of proposals received."),
            successful: plain("successful_proposals", "The number of successful proposals."),
            validation_failures: plain(
                "proposal_validation_failures",
                "The number of proposals that have failed initial validation.",
            ),
            acl_failures: metrics.counter(
                "endorser_proposal_acl_failures",
                "The number of proposals that failed ACL checks.",
                labels,
            ),
            duplicates: metrics.counter(
                "endorser_duplicate_transaction_failures",
                "The number of failed proposals due to duplicate transaction ID.",
                labels,
            ),
            simulation_failures: metrics.counter(
                "endorser_proposal_simulation_failures",
                "The number of failed proposal simulations",
                labels,
            ),
            endorsement_failures: metrics.counter(
                "endorser_endorsement_failures",
                "The number of failed endorsements.",
                &["channel", "chaincode", "chaincodeerror"],
            ),
            duration: metrics.histogram(
                "endorser_proposal_duration",
                "The time to complete a proposal.",
                &["channel", "chaincode", "success"],
            ),
        }
    }
}
