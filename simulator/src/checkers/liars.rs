//! Liars: a few of them spoil no shard's block, and nobody honest is barred for them.

use super::verdict::Verdict;
use crate::chain::state::Version;
use crate::nodes::cluster::Cluster;
use crate::seed::options::FaultSet;
use dynemix_engine::chain::block::Final;

/// On a calm network: a shard's block is missing only where enough of its minters lie, or its tie-breaker does.
pub(crate) fn spoil_little(cluster: &Cluster<'_>, decided: &Final, verdict: &mut Verdict) {
    if cluster.options.faults != FaultSet::Liars || cluster.healed {
        return;
    }
    let committee = &cluster.newest.system.committee;
    let height = decided.value.height;
    let bad = |seat: &u16| cluster.lies(committee.members[usize::from(*seat)].candidate);
    for (shard, header) in decided.value.headers.iter().enumerate() {
        let members = &committee.shards[shard];
        let slot = cluster.schedule.slot(cluster.now) + 100;
        let tie_breaker = committee.lowest(members.iter().copied(), &cluster.newest.system.seed, slot, shard as u16);
        let few = members.iter().filter(|seat| bad(seat)).count() <= (members.len() - 1) / 3;
        if header.is_none()
            && few
            && tie_breaker.is_some_and(|seat| !bad(&seat))
            && decided.attempt / 2 == slot
            && slot > 102
        {
            verdict.fail(format!("at height {height} a few liars spoiled the block of shard {shard}"));
        }
    }
}

/// Whoever is barred has lied.
pub(crate) fn alone_are_barred(cluster: &Cluster<'_>, version: &Version, verdict: &mut Verdict) {
    let height = version.system.height;
    for (&barred, _) in version.system.barred.iter() {
        if !cluster.lies(barred) {
            verdict.fail(format!("at height {height} node {barred} is barred, and honest"));
        }
    }
}
