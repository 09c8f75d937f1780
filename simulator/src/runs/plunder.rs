//! What one attacker does who holds a quorum of a shard's seats: it certifies a block that no transaction stands
//! behind.
//!
//! In blockchain mode nobody takes it. In quilt mode its patch may pass every check, and then it must be banned before
//! anything that it moved can be spent.

use crate::chain::state::{Version, account_key, cell_item, new_key};
use crate::checkers::verdict::Verdict;
use crate::nodes::byzantine::Behaviour;
use crate::nodes::cluster::Cluster;
use crate::seed::options::FaultSet;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::{DYNE, MATURITY_HEIGHTS};
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock, transactions_root};
use dynemix_engine::chain::patch::Patch;
use dynemix_engine::chain::record::Attest;
use dynemix_engine::committee::members::shard_of;
use dynemix_engine::committee::quorum::shard_quorum;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::transaction::item::{Item, Items, block_bytes};
use dynemix_engine::vote::signing::Signing;
use std::sync::Arc;

/// Accounts that one plunder takes from.
const VICTIMS: usize = 5;
/// In runs of [`FaultSet::Captured`] a shard falls each so many slots.
const FALLS_EACH: u64 = 6;
/// Number of the first thief's account; none of these exists at genesis.
const THIEF: u64 = 5_000_000;

/// How a plunder goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The patch is right in itself, and its transactions are never shown.
    Withheld,
    /// The same, and transactions are shown that nobody signed.
    Unsigned,
    /// The same, and a payment that its sender signed, once, is made again.
    Replayed,
    /// More is credited than debited.
    Printed,
    /// Accounts of another shard are debited.
    Elsewhere,
}

/// A block that an attacker has certified.
struct Plundered {
    height: u64,
    shard: u16,
    block: Hash,
    thief: u64,
    victims: Vec<(u32, u64)>,
    way: Way,
    seen: bool,
    banned: bool,
}

/// All attackers: what they have taken.
#[derive(Default)]
pub(super) struct Plunder {
    plundered: Vec<Plundered>,
    /// Plunders that were not banned in time.
    pub(super) unbanned: u64,
}

impl Plunder {
    /// In runs where shards fall: one does, now and then, to an attacker who had nothing before.
    pub(super) fn fall(cluster: &mut Cluster<'_>, slot: u64) {
        if cluster.options.faults != FaultSet::Captured
            || cluster.healed
            || slot < 4
            || !slot.is_multiple_of(FALLS_EACH)
        {
            return;
        }
        let committee = cluster.newest.system.committee.clone();
        let shard = cluster.dice.below(committee.shards.len() as u64) as usize;
        let seats = &committee.shards[shard];
        for &seat in seats.iter().take(shard_quorum(seats.len())) {
            cluster.nodes[committee.members[usize::from(seat)].candidate as usize].behaviour = Some(Behaviour::Plunder);
        }
        cluster.count("shards captured");
        cluster.say(|| format!("shard {shard} falls"));
    }

    /// Whether this node keeps its vote for something else.
    pub(super) fn keeps_its_vote(cluster: &Cluster<'_>, candidate: u32) -> bool {
        let committee = &cluster.newest.system.committee;
        let shard = committee.seat_of(candidate).map(|seat| committee.members[usize::from(seat)].shard);
        shard.is_some_and(|shard| has_fallen(cluster, usize::from(shard)))
    }

    /// While votes are under way, each fallen shard's attacker certifies what it likes. Returns the shard-blocks that
    /// it has certified.
    pub(super) fn plunder(&mut self, cluster: &mut Cluster<'_>) -> Vec<Hash> {
        let mut certified = Vec::new();
        if cluster.healed {
            return certified;
        }
        let shards = cluster.newest.system.committee.shards.len();
        for shard in (0..shards).filter(|&shard| has_fallen(cluster, shard)).collect::<Vec<_>>() {
            let height = cluster.newest.system.height + 1;
            if !self
                .plundered
                .iter()
                .any(|plundered| (plundered.height, usize::from(plundered.shard)) == (height, shard))
            {
                certified.extend(self.take_what_it_can(cluster, shard));
            }
        }
        certified
    }

    fn take_what_it_can(&mut self, cluster: &mut Cluster<'_>, shard: usize) -> Option<Hash> {
        let version = cluster.newest.clone();
        let committee = version.system.committee.clone();
        let ways = [Way::Withheld, Way::Withheld, Way::Unsigned, Way::Replayed, Way::Printed, Way::Elsewhere];
        let way = ways[cluster.dice.below(ways.len() as u64) as usize];
        let thief = THIEF + self.plundered.len() as u64;
        let victims = victims_of(cluster, &version, shard, way);
        if victims.is_empty() {
            return None;
        }
        let (block, items) = forged(cluster, &version, shard, way, thief, &victims);
        let height = block.height;
        let from = committee.members[usize::from(bad_seats(cluster, shard)[0])].candidate;
        let shown = matches!(way, Way::Unsigned | Way::Replayed);
        cluster.say(|| format!("the attacker of shard {shard} plunders at height {height}: {way:?}"));
        cluster.count("plunders");
        for node in 0..cluster.options.candidates {
            cluster.transmit(from, node, Message::Block(block.clone()), 0);
        }
        if shown {
            // Each custodian hears of the minter that is to send them, and so of those that the attacker has.
            let seats = &committee.shards[shard];
            for (place, &custodian) in version.system.custodians_of(shard as u16).iter().enumerate() {
                let sends = committee.members[usize::from(seats[place % seats.len()])].candidate;
                if cluster.lies(sends) {
                    cluster.transmit(sends, custodian, Message::Bodies(block.hash, items.clone().into()), 0);
                }
            }
        }
        let (shard, block) = (shard as u16, block.hash);
        self.plundered.push(Plundered { height, shard, block, thief, victims, way, seen: false, banned: false });
        Some(block)
    }

    /// A height is final: what became of each plunder?
    pub(super) fn on_final(&mut self, cluster: &Cluster<'_>, version: &Version, verdict: &mut Verdict) {
        let height = version.system.height;
        let calm = cluster.options.faults == FaultSet::Captured;
        let mut failure = None;
        for plundered in &mut self.plundered {
            let listed = |plundered: &Plundered| {
                version.system.minted.iter().flatten().any(|minted| minted.block == plundered.block)
            };
            if plundered.height == height && listed(plundered) {
                plundered.seen = true;
                if matches!(plundered.way, Way::Printed | Way::Elsewhere) || !cluster.options.quilt() {
                    failure =
                        Some(format!("at height {height} a block is final that must not be held: {:?}", plundered.way));
                }
            }
            if version.bans.contains(&(plundered.height, plundered.shard)) {
                plundered.banned = true;
                let robbed =
                    plundered.victims.iter().find(|&&(account, amount)| version.state.hot(account).balance < amount);
                if let Some((account, _)) = robbed {
                    failure = Some(format!(
                        "after the ban of height {height} account {account} has not got back what it had"
                    ));
                }
            }
            let matured = version.state.find(&new_key(plundered.thief));
            let too_late = plundered.seen && !plundered.banned && height == plundered.height + MATURITY_HEIGHTS;
            if too_late {
                self.unbanned += 1;
            }
            if calm && (too_late || matured.is_some()) {
                failure = Some(format!(
                    "the plunder of shard {} at height {} was not banned in time",
                    plundered.shard, plundered.height
                ));
            }
        }
        if let Some(failure) = failure {
            verdict.fail(failure);
        }
    }

    /// Blocks of fallen shards that became final.
    pub(super) fn finals(&self) -> u64 {
        self.plundered.iter().filter(|plundered| plundered.seen).count() as u64
    }

    /// Plunders that were banned.
    pub(super) fn banned(&self) -> u64 {
        self.plundered.iter().filter(|plundered| plundered.banned).count() as u64
    }
}

fn bad_seats(cluster: &Cluster<'_>, shard: usize) -> Vec<u16> {
    let committee = &cluster.newest.system.committee;
    let bad =
        |seat: &&u16| cluster.nodes[committee.members[usize::from(**seat)].candidate as usize].behaviour.is_some();
    committee.shards[shard].iter().filter(bad).copied().collect()
}

fn has_fallen(cluster: &Cluster<'_>, shard: usize) -> bool {
    bad_seats(cluster, shard).len() >= shard_quorum(cluster.newest.system.committee.shards[shard].len())
}

/// Accounts that a plunder of a shard takes from, and how much of each.
fn victims_of(cluster: &mut Cluster<'_>, version: &Version, shard: usize, way: Way) -> Vec<(u32, u64)> {
    let accounts = cluster.options.accounts();
    let shards = version.system.committee.shards.len();
    let (mut victims, first) = (Vec::new(), cluster.dice.below(accounts));
    for number in (0..accounts).map(|offset| (first + offset) % accounts) {
        let own = shard_of(&version.system.seed, &account_key(number), shards) == shard;
        let hot = version.state.hot(number as u32);
        // Not those whose loss would show elsewhere in the run.
        let paid_before = way != Way::Replayed || hot.sequence > 0;
        if own != (way == Way::Elsewhere)
            && hot.balance > 2 * DYNE
            && paid_before
            && number >= u64::from(cluster.options.candidates)
        {
            victims.push((number as u32, hot.balance - DYNE));
        }
        if victims.len() == VICTIMS {
            break;
        }
    }
    victims.sort_unstable();
    victims
}

/// The certified block of a plunder, and what may be shown as its items.
fn forged(
    cluster: &Cluster<'_>,
    version: &Version,
    shard: usize,
    way: Way,
    thief: u64,
    victims: &[(u32, u64)],
) -> (Arc<CertifiedBlock>, Vec<Item>) {
    let (height, parent_root) = (version.system.height + 1, version.state.header().root);
    let slot = cluster.local_ms(0) / cluster.options.slot_ms;
    let mut patch = Patch { height, slot, shard: shard as u32, parent_root, ..Patch::default() };
    let mut items: Vec<Item> = Vec::new();
    for &(account, amount) in victims {
        patch.delta.debits.accounts.push(account);
        patch.delta.debits.amounts.push(amount);
        let sequence = u64::from(version.state.hot(account).sequence);
        let (sender, recipient) = (account_key(u64::from(account)), new_key(thief));
        let expires_slot = slot + 100;
        let replayed = if way == Way::Replayed { sequence - 1 } else { sequence };
        let cell = Cell {
            sender,
            recipient,
            amount,
            sequence: replayed,
            expires_slot,
            kind: 1,
            outputs: 1,
            ..bytemuck::Zeroable::zeroed()
        };
        // The victim did sign such a payment, when its sequence was the next.
        items.push(cell_item(cell, &[], way == Way::Replayed));
    }
    items.sort_by_key(|item| item.id());
    let sum: u64 = victims.iter().map(|victim| victim.1).sum();
    patch.delta.created_keys.push(new_key(thief));
    patch.delta.created_amounts.push(if way == Way::Printed { 2 * sum } else { sum });
    let mut patch_bytes = Vec::new();
    patch.encode(&mut patch_bytes);
    let mut ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
    let (transactions, bytes) = (items.len() as u32, block_bytes(&items));
    let (transactions_root, patch_hash) = (transactions_root(&mut ids), Patch::hash(&patch_bytes));
    let block =
        ShardBlock { parent_root, slot, shard: shard as u32, transactions, bytes, transactions_root, patch_hash };
    let hash = block.hash();
    let mut attest = Attest {
        height,
        slot,
        shard: shard as u16,
        block: hash,
        certificate: Certificate { signers: SeatSet::default(), aggregate: [0; 48] },
    };
    let digest = attest.digest(&cluster.shared.chain.genesis_hash);
    let seats = bad_seats(cluster, shard);
    let signer = |seat: &u16| cluster.signing(version.system.committee.members[usize::from(*seat)].candidate);
    let signatures: Vec<_> = seats.iter().map(|seat| signer(seat).sign(&digest)).collect();
    seats.iter().for_each(|&seat| assert!(attest.certificate.signers.insert(seat)));
    attest.certificate.aggregate = cluster.signing(0).aggregate(&signatures);
    let in_blocks: Items = if cluster.options.quilt() { Items::default() } else { items.clone().into() };
    let certificate = attest.certificate;
    (Arc::new(CertifiedBlock { height, block, hash, certificate, items: in_blocks, patch: patch_bytes }), items)
}
