//! What the threads that verify have in common: signatures in batches, proofs, and who is charged when they do not
//! hold. Nothing that consensus gets from them costs it a signature.

use super::door::NodeSigning;
use super::entry::{Entry, cost_of_frame};
use super::execution::SharedState;
use super::gate::Gate;
use super::inbox::Inbox;
use super::verdicts::{Hints, Verdicts};
use crate::intake::duties::DutyTable;
use crate::intake::price::Failure;
use crate::keep::mapped::MappedMemory;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Sig, VoteKey};
use dynemix_engine::base::parameters::Chain;
use dynemix_engine::chain::block::{CertifiedBlock, Final, ShardBlock, transactions_root};
use dynemix_engine::chain::record::Record;
use dynemix_engine::committee::statement::{Statement, StatementKind};
use dynemix_engine::messages::message::Message;
use dynemix_engine::rules::admit::View;
use dynemix_engine::transaction::item::Item;
use dynemix_engine::verify::Verifier;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::{Body, PeerInfo};
use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) const UNPOISONED: &str = "whoever panics while holding the state ends the process";

/// Proofs of possession that did not hold and are remembered; beyond, all are forgotten.
const FALSE_PROOFS_MAX: usize = 4_096;
/// How long what was verified waits for room in the inbox.
const ROOM: Duration = Duration::from_millis(500);

/// Counters of a thread.
#[derive(Default)]
pub struct PrepareCounters {
    /// Signatures of transactions that were verified, each once.
    pub signatures: AtomicU64,
    /// Time spent on them, microseconds.
    pub verify_micros: AtomicU64,
    /// Batches that they were verified in.
    pub batches: AtomicU64,
    /// Time in which there was too much before consensus, microseconds.
    pub blocked_micros: AtomicU64,
    /// Frames that were no messages.
    pub malformed: AtomicU64,
}

/// What a thread verifies with.
pub struct Checks {
    /// Its parameters bound what a transaction may look like.
    pub chain: Arc<Chain>,
    /// The state, for keys and indices.
    pub state: SharedState,
    /// Checks what minters have signed, and remembers what held.
    pub signing: Arc<NodeSigning>,
    /// What was found good, and what was not.
    pub verdicts: Arc<Verdicts>,
    /// Who may send what, and who pays.
    pub gate: Arc<Gate>,
    /// Where what is verified goes: the consensus thread's.
    pub inbox: Arc<Inbox<Entry>>,
    /// What was done.
    pub counters: Arc<PrepareCounters>,
    /// What verifies transactions, with buffers of its own.
    pub verifier: Verifier,
    /// Proofs of possession that did not hold.
    pub false_proofs: BTreeSet<Hash>,
}

/// Whether these are the items that a header is of, as far as their ids say.
fn are_items_of(header: &ShardBlock, items: &[Item]) -> bool {
    let mut ids: Vec<Hash> = items.iter().map(|item| item.id()).collect();
    let ascending = ids.is_sorted_by(|one, next| one < next) && ids.len() == header.transactions as usize;
    ascending && transactions_root(&mut ids) == header.transactions_root
}

impl Checks {
    /// Verifies, and counts what it took; those that are not good are returned by place.
    pub fn verify(&mut self, items: &[impl Borrow<Item>]) -> Vec<usize> {
        self.verify_hinted(items, &mut Hints::default())
    }

    /// The same with hints.
    pub fn verify_hinted(&mut self, items: &[impl Borrow<Item>], hints: &mut Hints) -> Vec<usize> {
        let (begun, before) = (Instant::now(), self.verifier.counters());
        let bad = self.verdicts.verify_hinted(&mut self.verifier, items, hints);
        let after = self.verifier.counters();
        let verified = (after.signatures - before.signatures) as usize;
        assert!(verified <= items.len(), "{verified} signatures were verified for {} items", items.len());
        self.counters.signatures.fetch_add(after.signatures - before.signatures, Ordering::Relaxed);
        self.counters.batches.fetch_add(after.batches - before.batches, Ordering::Relaxed);
        self.counters.verify_micros.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        bad
    }

    /// A frame was none.
    pub fn malformed(&self, from: PeerInfo, bytes: usize) {
        self.counters.malformed.fetch_add(1, Ordering::Relaxed);
        self.gate.charge(from, Failure::Malformed(bytes));
    }

    /// Whether a transaction is no stake, or proves that its sender has the voting key: what did not hold once is not
    /// looked at again.
    pub fn possession_holds(&mut self, item: &Item) -> bool {
        let Some((cell, payload)) = item.cell_and_payload() else { return true };
        let Some((key, possession)) = payload.split_first_chunk::<{ size_of::<VoteKey>() }>() else { return false };
        let Ok(possession) = <&Sig>::try_from(possession) else { return false };
        let name = *blake3::hash(&[&cell.sender[..], payload].concat()).as_bytes();
        if self.false_proofs.contains(&name) {
            return false;
        }
        let holds = self.signing.possession_holds(&cell.sender, key, possession);
        if !holds {
            if self.false_proofs.len() >= FALSE_PROOFS_MAX {
                self.false_proofs.clear();
            }
            self.false_proofs.insert(name);
        }
        holds
    }

    /// The newest final state, to look at.
    pub fn view<T>(&self, duties: &DutyTable, look: impl FnOnce(&View<'_, MappedMemory>) -> T) -> T {
        let state = self.state.read().expect(UNPOISONED);
        let genuine = |item: &Item| self.verdicts.genuine(item);
        let (chain, system, signing) = (&*self.chain, &*duties.system, &*self.signing);
        look(&View { chain, state: &state, system, signing, genuine: &genuine, judged: &[] })
    }

    /// Whether a record holds now, signatures and all.
    pub fn record_holds(&self, duties: &DutyTable, record: &Record) -> bool {
        self.view(duties, |view| view.record_holds(record))
    }

    /// Whether a shard-block's certificate is one of the pending committee; true of another height's, which cannot be
    /// said here.
    pub fn block_holds(&self, duties: &DutyTable, block: &CertifiedBlock) -> bool {
        let (chain, committee) = (&self.chain.genesis_hash, &duties.system.committee);
        block.height != duties.pending() || block.certificate_holds(chain, committee, &*self.signing)
    }

    /// The same of a final certificate; of a past height, that it is beside the one known.
    pub fn final_holds(&self, duties: &DutyTable, decided: &Final) -> bool {
        let (height, number, hash) = (decided.value.height, decided.attempt, decided.hash);
        let digest = Statement { kind: StatementKind::Second, height, number, shard: 0, justified_by: 0, hash }
            .digest(&self.chain.genesis_hash);
        let system = &duties.system;
        let pending = (height == duties.pending()).then_some(&system.committee);
        let committee = pending.or_else(|| system.committee_of_rival(decided));
        committee.is_none_or(|committee| decided.certificate.verify_master(committee, &digest, &*self.signing))
    }

    /// Looks at the signatures of the items that a certified shard-block brings, for whoever asks later. In quilt mode
    /// there are none.
    ///
    /// # Errors
    /// When they are not those that its header is of. When they do not hold, of a block whose certificate cannot be
    /// judged yet: else its minters have certified them, and nobody else is at fault.
    pub fn block_items(&mut self, duties: &DutyTable, block: &CertifiedBlock) -> Result<(), Failure> {
        if block.items.is_empty() {
            return Ok(());
        }
        if !are_items_of(&block.block, &block.items) {
            return Err(Failure::OtherItems(block.body_bytes()));
        }
        let broken = self.verify(&block.items).len();
        if broken > 0 && block.height != duties.pending() {
            return Err(Failure::Signatures(broken));
        }
        Ok(())
    }

    /// The same of what is said to be the transactions of a final block whose effects are not mature: none if there is
    /// no such block yet.
    pub fn bodies_hold(&self, duties: &DutyTable, block: &Hash, items: &[Item]) -> Option<bool> {
        let (_, immature) = duties.system.immature_block(block)?;
        Some(are_items_of(&immature.header, items))
    }

    /// Hands on a message that was looked at; waits a little while there is too much before consensus.
    pub fn hand_on(&self, from: PeerInfo, message: Box<Message>, body: Body) {
        self.inbox.wait_for_room(ROOM);
        let cost = cost_of_frame(&body) + message.body_bytes();
        self.inbox.push(self.gate.source(from), cost, Entry::Message(from, message, body));
    }

    /// Waits a little while there is too much before consensus.
    pub fn wait_for_room(&self) {
        let begun = Instant::now();
        self.inbox.wait_for_room(ROOM);
        self.counters.blocked_micros.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
}
