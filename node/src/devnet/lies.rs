//! What a lying minter says: frames that are well formed and false, or true and useless, of every kind that a node
//! hears. Signatures in them are points of the group, so that whoever checks them pays in full.

use super::layout::{Devnet, secret};
use crate::keep::chain_store::Genesis;
use crate::peer::frames::{BODIES, CELLS, PeerFrameKind, ROUNDS, VOTES, cells_frame, class_of, put_cell};
use bytemuck::Zeroable;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Sig};
use dynemix_engine::base::parameters::{Chain, DYNE};
use dynemix_engine::chain::block::{CertifiedBlock, Final, Prepared, ShardBlock, Value};
use dynemix_engine::chain::record::{Answer, Attest, Record};
use dynemix_engine::committee::statement::{Certificate, Evidence, SeatSet, StatementKind};
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::compact::Nobody;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::bls::BlsSigning;
use dynemix_engine::vote::signing::Signing;
use ed25519_dalek::{Signer as _, SigningKey};
use std::sync::Arc;

/// Seats that a false certificate claims.
const SEATS_CLAIMED: u16 = 4;
/// Transactions in a frame or message that carries some.
const ITEMS: u64 = 500;

/// A kind of what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LieKind {
    /// Final certificates of the pending height that do not hold.
    Finals,
    /// Shard-blocks of the pending height whose certificates do not hold.
    Blocks,
    /// HAVEs with a certificate of first votes that does not hold.
    Haves,
    /// Second votes that are not signed by who says them.
    Votes,
    /// Lists of a shard round with signatures that do not hold.
    Lists,
    /// Alarms about blocks that nobody knows.
    Alarms,
    /// Answers of candidates, with signatures that do not hold.
    Answers,
    /// Proofs of fraud that prove nothing.
    Frauds,
    /// Stakes whose proofs of possession do not hold, in falling order of id.
    Stakes,
    /// Transfers with broken signatures.
    Cells,
    /// Bodies of no block, full of broken transfers.
    Bodies,
    /// Questions for final blocks of long ago.
    Questions,
    /// Frames that take longer than anyone waits.
    Unfinished,
    /// Frames that are no messages.
    Garbage,
}

impl LieKind {
    /// All of them.
    pub const ALL: [LieKind; 14] = [
        LieKind::Finals,
        LieKind::Blocks,
        LieKind::Haves,
        LieKind::Votes,
        LieKind::Lists,
        LieKind::Alarms,
        LieKind::Answers,
        LieKind::Frauds,
        LieKind::Stakes,
        LieKind::Cells,
        LieKind::Bodies,
        LieKind::Questions,
        LieKind::Unfinished,
        LieKind::Garbage,
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            LieKind::Finals => "finals",
            LieKind::Blocks => "blocks",
            LieKind::Haves => "haves",
            LieKind::Votes => "votes",
            LieKind::Lists => "lists",
            LieKind::Alarms => "alarms",
            LieKind::Answers => "answers",
            LieKind::Frauds => "frauds",
            LieKind::Stakes => "stakes",
            LieKind::Cells => "cells",
            LieKind::Bodies => "bodies",
            LieKind::Questions => "questions",
            LieKind::Unfinished => "unfinished",
            LieKind::Garbage => "garbage",
        }
    }
}

/// Makes lies, each another.
pub(super) struct Liar {
    chain: Chain,
    candidate: u32,
    /// A point of the group that signs nothing that is asked about. One for all: making another takes longer than a line
    /// takes for a small frame.
    signature: Sig,
    owner: SigningKey,
    /// Secret of the voting key.
    vote: [u8; 32],
    /// The newest block that was heard of: what a Stake must name.
    newest: Hash,
    /// The height that nodes are at, as far as was heard.
    pub(super) pending: u64,
    count: u64,
    /// What a Stake of the owner says, with ids that fall from one to the next.
    stakes: Vec<Item>,
}

impl Liar {
    pub(super) fn new(genesis: &Genesis, candidate: u32, devnet: &Devnet, signing: &BlsSigning) -> Liar {
        let owner = SigningKey::from_bytes(&secret("owner", devnet.shape.nodes.into()));
        let vote = secret("vote", devnet.shape.nodes.into());
        let (chain, newest, stakes) = (genesis.chain.clone(), genesis.chain.genesis_hash, Vec::new());
        let signature = signing.sign(&chain.genesis_hash);
        Liar { chain, candidate, signature, owner, vote, newest, pending: 1, count: 0, stakes }
    }

    /// A height is final.
    pub(super) fn follow(&mut self, height: u64, block: Hash) {
        if height >= self.pending {
            (self.pending, self.newest) = (height + 1, block);
            self.stakes.clear();
        }
    }

    fn hash(&self) -> Hash {
        *blake3::hash(&self.count.to_le_bytes()).as_bytes()
    }

    fn certificate(&self) -> Certificate {
        let mut signers = SeatSet::default();
        for seat in 0..SEATS_CLAIMED {
            signers.insert(seat);
        }
        Certificate { signers, aggregate: self.signature }
    }

    fn value(&self) -> Arc<Value> {
        let hash = self.hash();
        let (height, slot, headers) = (self.pending, self.pending + 1, vec![Some(hash)]);
        let (parent, quilt, parent_root, system, seed, committee_next) = (hash, hash, hash, hash, hash, hash);
        Arc::new(Value { height, parent, slot, headers, quilt, parent_root, system, seed, committee_next })
    }

    /// The next lie: its class and its frame.
    pub(super) fn lie(&mut self, kind: LieKind) -> (u8, Vec<u8>) {
        self.count += 1;
        match kind {
            LieKind::Cells => return (CELLS, self.cells()),
            LieKind::Stakes => return (CELLS, self.stake()),
            // Longer than the line carries in a minute.
            LieKind::Unfinished => return (BODIES, vec![PeerFrameKind::Message as u8; 60 << 20]),
            LieKind::Garbage => return (VOTES, [&[PeerFrameKind::Message as u8][..], &self.hash()].concat()),
            _ => {}
        }
        let message = self.message(kind);
        let mut frame = vec![PeerFrameKind::Message as u8];
        encode(&message, &Nobody, &mut frame);
        (class_of(&message).max(if kind == LieKind::Bodies { ROUNDS } else { VOTES }), frame)
    }

    fn message(&self, kind: LieKind) -> Message {
        let (height, hash, signature) = (self.pending, self.hash(), self.signature);
        match kind {
            LieKind::Finals => {
                let value = self.value();
                let (attempt, hash, certificate) = (2 * value.slot, value.hash(), self.certificate());
                Message::Final(Arc::new(Final { attempt, value, hash, certificate }), Vec::new())
            }
            LieKind::Blocks => {
                let (parent_root, transactions_root, patch_hash) = (hash, hash, hash);
                let block = ShardBlock {
                    parent_root,
                    slot: height,
                    shard: 0,
                    transactions: 1,
                    bytes: 193,
                    transactions_root,
                    patch_hash,
                };
                let (certificate, items, patch) = (self.certificate(), Items::default(), vec![0; 64]);
                let hash = block.hash();
                Message::Block(Arc::new(CertifiedBlock { height, block, hash, certificate, items, patch }))
            }
            LieKind::Haves => {
                let value = self.value();
                let (attempt, hash, certificate) = (2 * value.slot, value.hash(), self.certificate());
                let high = Some(Arc::new(Prepared { attempt, justified_by: 0, value, hash, certificate }));
                Message::Have { height, attempt, held: vec![Some(self.hash())], high }
            }
            LieKind::Lists => {
                let list: Vec<_> = (0..SEATS_CLAIMED).map(|seat| (seat, hash)).collect();
                let signatures = vec![signature; list.len()];
                let message = ShardMessage::List(list, signatures, signature);
                Message::Shard { height, slot: height, shard: 0, message }
            }
            LieKind::Alarms => {
                let certificate = self.certificate();
                let attest =
                    Attest { height: height.saturating_sub(1), slot: height, shard: 0, block: hash, certificate };
                Message::Alarm(self.candidate, Box::new(attest), signature)
            }
            LieKind::Answers => {
                let endpoint = Endpoint::default();
                let (candidate, answer) = (self.candidate, signature);
                let answer = Answer { height: height + 1, candidate, drawn_by: hash, endpoint, answer, signature };
                Message::Item(Record::Answer(Box::new(answer)).item())
            }
            LieKind::Frauds => {
                let statements = [(hash, 0, signature), ([0; 32], 0, signature)];
                let kind = StatementKind::Second;
                let evidence = Evidence::of_two(0, kind, height.saturating_sub(1), 1, 0, statements);
                Message::Item(Record::Fraud(Box::new(evidence)).item())
            }
            LieKind::Bodies => {
                let items: Vec<_> = (0..ITEMS).map(|place| self.broken(ITEMS * self.count + place)).collect();
                Message::Bodies(hash, items.into())
            }
            LieKind::Questions => Message::WantFinal(1 + self.count % height),
            _ => Message::Second { height, attempt: 2 * height, hash, signature },
        }
    }

    fn cell(&self, number: u64) -> Cell {
        Cell {
            sender: self.owner.verifying_key().to_bytes(),
            recipient: self.owner.verifying_key().to_bytes(),
            amount: DYNE + number,
            expires_slot: self.pending + 100,
            version: 1,
            kind: 1,
            outputs: 1,
            ..Cell::zeroed()
        }
    }

    /// A transfer with a signature of the right form that is not its own.
    fn broken(&self, number: u64) -> Item {
        let mut cell = self.cell(number);
        cell.signature = self.owner.sign(b"something else").to_bytes();
        Item::transaction(&cell, &[])
    }

    fn cells(&self) -> Vec<u8> {
        let mut frame = cells_frame(Some(self.pending), 0);
        let signature = self.owner.sign(b"something else").to_bytes();
        for place in 0..ITEMS {
            let cell = Cell { signature, ..self.cell(ITEMS * self.count + place) };
            put_cell(&mut frame, bytemuck::bytes_of(&cell), &[], None);
        }
        frame
    }

    /// A Stake that its owner has signed, for one place in the pool; its proof of possession does not hold.
    fn stake(&mut self) -> Vec<u8> {
        if self.stakes.is_empty() {
            let mut payload = [0; 96 + 48];
            payload[..96].copy_from_slice(&BlsSigning::key_and_possession(&self.vote, &self.hash()).0);
            payload[96..].copy_from_slice(&self.signature);
            let signed = |number: u64| {
                let (recipient, payload_hash) = (self.newest, payload_hash(&payload));
                let mut cell = Cell { kind: 6, outputs: 0, recipient, payload_hash, ..self.cell(number) };
                let message = [&self.chain.transaction_prefix[..], cell.signed_part()].concat();
                cell.signature = self.owner.sign(&message).to_bytes();
                Item::transaction(&cell, &payload)
            };
            self.stakes = (0..ITEMS).map(|place| signed(ITEMS * self.count + place)).collect();
            self.stakes.sort_unstable_by_key(|item| item.id());
        }
        assert!(!self.stakes.is_empty(), "there is a Stake to tell");
        let mut frame = cells_frame(Some(self.pending), 0);
        for item in self.stakes.split_off(self.stakes.len().saturating_sub(50)).iter().rev() {
            let [_, cell, payload] = item.parts();
            put_cell(&mut frame, cell, payload, None);
        }
        frame
    }
}
