//! What the protocol costs as a function of the number of nodes: the figure that no checker can walk to.

/// A deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Nodes that are up.
    pub nodes: u64,
    /// Between two polls of a node, in ms; above 0.
    pub poll_ms: u64,
    /// Between two renewals of its row, in ms; above 0.
    pub heartbeat_ms: u64,
    /// Committed changes of the ring in a minute.
    pub changes_a_minute: u64,
}

impl Fleet {
    /// The service's own times: a poll a second, a heartbeat every five.
    #[must_use]
    pub fn new(nodes: u64, changes_a_minute: u64) -> Self {
        Self { nodes, poll_ms: 1_000, heartbeat_ms: 5_000, changes_a_minute }
    }
}

/// What it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Redis messages for a change: the entry, and each node that reads it.
    pub messages: u64,
    /// For a strong one: each node's acknowledgement too. The node that waits reads them as one stream.
    pub messages_strong: u64,
    /// Database statements that follow a change: every other node reads it, and every node writes the epoch into its row.
    pub statements: u64,
    /// Database statements a second while nothing changes: polls and heartbeats.
    pub idle_a_second: u64,
    /// All of them a second, at the fleet's rate of changes.
    pub statements_a_second: u64,
}

/// The cost of a fleet. Rates are rounded up.
#[must_use]
pub fn cost(fleet: Fleet) -> Cost {
    let nodes = fleet.nodes;
    let statements = nodes.saturating_sub(1) + nodes;
    let idle = (nodes * 1_000).div_ceil(fleet.poll_ms) + (nodes * 1_000).div_ceil(fleet.heartbeat_ms);
    Cost {
        messages: 1 + nodes,
        messages_strong: 1 + nodes + nodes,
        statements,
        idle_a_second: idle,
        statements_a_second: idle + (statements * fleet.changes_a_minute).div_ceil(60),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cost, Fleet, cost};

    #[test]
    fn cost_grows_with_the_nodes_and_with_nothing_else() {
        // nodes, changes a minute, messages, strong, statements, idle, all a second
        let table = [
            (1, 0, 2, 3, 1, 2, 2),
            (3, 1, 4, 7, 5, 4, 5),
            (10, 6, 11, 21, 19, 12, 14),
            (30, 60, 31, 61, 59, 36, 95),
            (100, 60, 101, 201, 199, 120, 319),
            (1_000, 1, 1_001, 2_001, 1_999, 1_200, 1_234),
            (1_000, 60, 1_001, 2_001, 1_999, 1_200, 3_199),
        ];
        for (nodes, rate, messages, messages_strong, statements, idle_a_second, statements_a_second) in table
        {
            assert_eq!(
                cost(Fleet::new(nodes, rate)),
                Cost { messages, messages_strong, statements, idle_a_second, statements_a_second },
                "{nodes} nodes, {rate} changes a minute"
            );
        }
    }
}
