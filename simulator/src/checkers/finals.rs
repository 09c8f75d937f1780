//! Final blocks: one at each height, whose certificate holds and whose shard-blocks were certified.

use super::verdict::Verdict;
use crate::nodes::cluster::Cluster;
use crate::seed::options::FaultSet;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::chain::block::Final;
use dynemix_engine::committee::statement::{Statement, StatementKind};
use dynemix_engine::vote::signing::Signing;
use std::collections::{BTreeMap, BTreeSet};

/// What became final, and what was certified before it.
#[derive(Default)]
pub(crate) struct Finals {
    /// By height: the block, and who held it for final first.
    finals: BTreeMap<u64, (Hash, u32)>,
    certified: BTreeSet<Hash>,
}

impl Finals {
    /// A shard-block was certified; true if it is a new one.
    pub(crate) fn on_certified(&mut self, block: Hash) -> bool {
        self.certified.insert(block)
    }

    /// An honest node holds a height for final.
    pub(crate) fn on_final(&mut self, candidate: u32, height: u64, hash: Hash, verdict: &mut Verdict) {
        let (first, by) = *self.finals.entry(height).or_insert((hash, candidate));
        if first != hash {
            verdict.fork(format!("fork at height {height}: nodes {by} and {candidate} hold different blocks"));
        }
    }

    /// The first final certificate of a height, looked at without the code that made it.
    pub(crate) fn on_first(&self, cluster: &Cluster<'_>, decided: &Final, verdict: &mut Verdict) {
        let committee = &cluster.newest.system.committee;
        let seats = committee.len();
        let quorum = if seats < 200 { 2 * seats / 3 + 1 } else { (3 * seats).div_ceil(5) };
        let height = decided.value.height;
        let signers: Vec<u32> =
            decided.certificate.signers.iter().map(|seat| committee.members[usize::from(seat)].candidate).collect();
        if signers.len() < quorum {
            verdict.fail(format!(
                "height {height} is final with {} signers of {seats}, {quorum} are needed",
                signers.len()
            ));
        }
        let signed = Statement {
            kind: StatementKind::Second,
            height,
            number: decided.attempt,
            shard: 0,
            justified_by: 0,
            hash: decided.hash,
        };
        let digest = signed.digest(&cluster.shared.chain.genesis_hash);
        if !cluster.signing(0).verify_aggregate(&signers, &digest, &decided.certificate.aggregate) {
            verdict.fail(format!("the final certificate of height {height} does not verify"));
        }
        if let Some(header) = decided.value.headers.iter().flatten().find(|header| !self.certified.contains(*header)) {
            verdict.fail(format!(
                "height {height} lists {:02x}{:02x}.., the hash of no certified shard-block",
                header[0], header[1]
            ));
        }
        if cluster.options.faults == FaultSet::None && decided.attempt % 2 == 1 {
            verdict.fail(format!("without faults height {height} needed its second try"));
        }
    }
}
