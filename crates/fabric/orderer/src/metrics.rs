//! Metrics under upstream's names.

use konsort_node::Metrics;
use konsort_node::metrics::{CounterFamily, GaugeFamily, HistogramFamily};

macro_rules! families {
    ($( $(#[$doc:meta])* $field:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal; )*) => {
        /// All metric families of an orderer.
        #[derive(Clone, Debug)]
        pub struct OrdererMetrics {
            $( $(#[$doc])* pub $field: families!(@type $kind), )*
        }

        impl OrdererMetrics {
            /// Registers them.
            pub fn new(metrics: &Metrics) -> Self {
                Self { $( $field: metrics.$kind($name, $help, &[$($label),*]), )* }
            }
        }
    };
    (@type counter) => { CounterFamily };
    (@type gauge) => { GaugeFamily };
    (@type histogram) => { HistogramFamily };
    (@type ledger_histogram) => { HistogramFamily };
}

families! {
    /// Validation of broadcast messages.
    validate_duration: histogram "broadcast_validate_duration" ["channel", "type", "status"] "The time to validate a transaction in seconds.";
    /// Handing them to the consenter.
    enqueue_duration: histogram "broadcast_enqueue_duration" ["channel", "type", "status"] "The time to enqueue a transaction in seconds.";
    /// Broadcast messages answered.
    processed_count: counter "broadcast_processed_count" ["channel", "type", "status"] "The number of transactions processed.";
    /// Deliver streams opened.
    streams_opened: counter "deliver_streams_opened" [] "The number of GRPC streams that have been opened for the deliver service.";
    /// Deliver streams closed.
    streams_closed: counter "deliver_streams_closed" [] "The number of GRPC streams that have been closed for the deliver service.";
    /// Deliver requests.
    requests_received: counter "deliver_requests_received" ["channel", "filtered", "data_type"] "The number of deliver requests that have been received.";
    /// Deliver requests answered.
    requests_completed: counter "deliver_requests_completed" ["channel", "filtered", "data_type", "success"] "The number of deliver requests that have been completed.";
    /// Blocks sent.
    blocks_sent: counter "deliver_blocks_sent" ["channel", "filtered", "data_type"] "The number of blocks sent by the deliver service.";
    /// From a batch's first transaction to its cut.
    block_fill_duration: histogram "blockcutter_block_fill_duration" ["channel"] "The time from first transaction enqueuing to the block being cut in seconds.";
    /// Consenters.
    cluster_size: gauge "consensus_etcdraft_cluster_size" ["channel"] "Number of nodes in this channel.";
    /// Whether this node leads.
    is_leader: gauge "consensus_etcdraft_is_leader" ["channel"] "The leadership status of the current node: 1 if it is the leader else 0.";
    /// Consenters heard from.
    active_nodes: gauge "consensus_etcdraft_active_nodes" ["channel"] "Number of active nodes in this channel.";
    /// Last block.
    committed_block_number: gauge "consensus_etcdraft_committed_block_number" ["channel"] "The block number of the latest block committed.";
    /// Blocks.
    height: gauge "ledger_blockchain_height" ["channel"] "Height of the chain in blocks.";
    /// Writing one block.
    block_commit_time: ledger_histogram "ledger_blockstorage_commit_time" ["channel"] "Time taken in seconds for committing the block to storage.";
    /// Last snapshot.
    snapshot_block_number: gauge "consensus_etcdraft_snapshot_block_number" ["channel"] "The block number of the latest snapshot.";
    /// Changes of leader.
    leader_changes: counter "consensus_etcdraft_leader_changes" ["channel"] "The number of leader changes since process start.";
    /// Failed proposals.
    proposal_failures: counter "consensus_etcdraft_proposal_failures" ["channel"] "The number of proposal failures.";
    /// Writes of the log.
    data_persist_duration: histogram "consensus_etcdraft_data_persist_duration" ["channel"] "The time taken for etcd/raft data to be persisted in storage (in seconds).";
    /// Transactions received.
    normal_proposals: counter "consensus_etcdraft_normal_proposals_received" ["channel"] "The total number of proposals received for normal type transactions.";
    /// Configuration transactions received.
    config_proposals: counter "consensus_etcdraft_config_proposals_received" ["channel"] "The total number of proposals received for config type transactions.";
    /// Waiting messages to another orderer.
    egress_queue_length: gauge "cluster_comm_egress_queue_length" ["host", "msg_type", "channel"] "Length of the egress queue.";
    /// Room for them.
    egress_queue_capacity: gauge "cluster_comm_egress_queue_capacity" ["host", "msg_type", "channel"] "Capacity of the egress queue.";
    /// Streams from other orderers.
    ingress_streams: gauge "cluster_comm_ingress_stream_count" [] "Count of streams from other nodes.";
    /// Streams to other orderers.
    egress_streams: gauge "cluster_comm_egress_stream_count" ["channel"] "Count of streams to other nodes.";
    /// Connections to other orderers.
    egress_connections: gauge "cluster_comm_egress_tls_connection_count" [] "Count of TLS connections to other nodes.";
    /// Sending one message.
    send_time: histogram "cluster_comm_msg_send_time" ["host", "channel"] "The time it takes to send a message in seconds.";
    /// Messages dropped because the queue was full.
    dropped: counter "cluster_comm_msg_dropped_count" ["host", "channel"] "Count of messages dropped.";
    /// Participation status.
    participation_status: gauge "participation_status" ["channel"] "The channel participation status of the node: 0 if inactive, 1 if active, 2 if onboarding, 3 if failed.";
    /// Participation relation.
    participation_relation: gauge "participation_consensus_relation" ["channel"] "The channel participation consensus relation of the node: 0 if other, 1 if consenter, 2 if follower, 3 if config-tracker.";
}
