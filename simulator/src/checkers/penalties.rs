//! Penalties: a lie costs its sender before it costs those who hear it, and nobody honest pays.

use super::verdict::Verdict;
use crate::nodes::cluster::Cluster;
use crate::seed::options::FaultSet;
use dynemix_engine::consensus::allowance::Offence;
use std::collections::HashMap;

/// Signatures and certificates that do not hold which one liar makes one honest node verify in a slot: one, and it is
/// not heard any more. One more if it is said at the border of two slots, or with a list of its own.
const FAILED_MAX: u64 = 3;

/// What liars have cost.
#[derive(Default)]
pub(crate) struct Penalties {
    /// Checks that failed, by node and liar, in the slot that goes on.
    failed: HashMap<(u32, u32), u64>,
    slot: u64,
}

impl Penalties {
    /// A node makes another pay. Beyond what is tolerated there may be two chains, and each is false to the other.
    pub(crate) fn on_penalty(
        &mut self,
        cluster: &Cluster<'_>,
        by: u32,
        whom: u32,
        offence: Offence,
        verdict: &mut Verdict,
    ) {
        if !cluster.lies(by) && !cluster.lies(whom) && cluster.options.faults != FaultSet::Beyond {
            verdict.fail(format!("node {by} punishes node {whom}, which is honest, for {offence:?}"));
        }
    }

    /// A message has made a node verify what does not hold.
    pub(crate) fn on_cost(&mut self, cluster: &Cluster<'_>, node: u32, from: u32, failed: u64, verdict: &mut Verdict) {
        let slot = cluster.schedule.slot(cluster.now);
        if slot != self.slot {
            self.slot = slot;
            self.failed.clear();
        }
        if failed == 0 || cluster.lies(node) || cluster.options.faults == FaultSet::Beyond {
            return;
        }
        let sum = self.failed.entry((node, from)).or_insert(0);
        *sum += failed;
        if *sum > FAILED_MAX {
            verdict.fail(format!("node {from} has made node {node} verify {sum} falsehoods in slot {slot}"));
        }
    }
}
