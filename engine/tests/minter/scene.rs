//! A chain that tests mint height by height, with stub signatures: every block is built, checked and applied by the
//! engine's own rules.
#![allow(dead_code, reason = "each test uses a part of it")]

use bytemuck::Zeroable;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::chain::block::{CertifiedBlock, ShardBlock};
use dynemix_engine::chain::record::{Answer, Attest, Record};
use dynemix_engine::chain::tables::System;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::committee::statement::{Certificate, SeatSet};
use dynemix_engine::rules::admit::View;
use dynemix_engine::rules::next::Next;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::vote::signing::Signing;
use dynemix_engine::vote::stub::StubSigning;
use ed25519_dalek::SigningKey;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) const MINTERS: u32 = 10;
pub(crate) const BALANCE: u64 = 1_000 * DYNE;

pub(crate) fn key(number: u32) -> Key {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret).verifying_key().to_bytes()
}

pub(crate) fn vote_key(number: u32) -> [u8; 96] {
    let mut key = [3; 96];
    key[..4].copy_from_slice(&number.to_le_bytes());
    key
}

/// A chain: minters, who are its first accounts, and thirty users.
pub(crate) struct Scene {
    pub(crate) chain: Chain,
    pub(crate) state: State<HeapMemory>,
    pub(crate) system: System,
    /// Who does not answer when drawn.
    pub(crate) silent: BTreeSet<u32>,
    minters: u32,
}

/// The mark of a transaction that its sender did not sign.
pub(crate) const UNSIGNED: u8 = 99;

pub(crate) fn genuine(item: &Item) -> bool {
    item.cell().is_none_or(|cell| cell.signature[0] != UNSIGNED)
}

impl Scene {
    /// Ten minters of equal stakes, all of whom have a seat at each height.
    pub(crate) fn new(quilt: bool) -> Scene {
        Scene::of(quilt, (10, 1), &[500 * DYNE; MINTERS as usize])
    }

    /// A chain of so many seats and shards whose first accounts have these stakes.
    pub(crate) fn of(quilt: bool, (seats, shards_max): (u32, u32), stakes: &[u64]) -> Scene {
        let quilt_from_height = if quilt { 0 } else { u64::MAX };
        let consensus = ConsensusParameters { seats, shards_max, quilt_from_height, ..ConsensusParameters::default() };
        let count = stakes.len() as u32 + 30;
        let accounts: Vec<_> = (0..count).map(|number| (key(number), BALANCE)).collect();
        let minter = |(account, &stake): (u32, &u64)| GenesisMinter {
            account,
            name: format!("minter{account}").into_bytes(),
            stake,
            key: Box::new(vote_key(account)),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..).zip(stakes).map(minter).collect();
        let chain =
            Chain::with_minters(ChainParameters { consensus, ..ChainParameters::default() }, &accounts, &minters);
        let system = System::genesis(&chain, &minters);
        let pool = system.pools.sum();
        let memory = HeapMemory::new(StateLayout::new(2 * count + 100));
        let supply = u64::from(count) * BALANCE + pool;
        let state = State::genesis_with_pool(memory, &accounts, supply, pool, HashSeed::from_number(1)).unwrap();
        Scene { chain, state, system, silent: BTreeSet::new(), minters: stakes.len() as u32 }
    }

    pub(crate) fn view(&self) -> View<'_, HeapMemory> {
        View {
            chain: &self.chain,
            state: &self.state,
            system: &self.system,
            signing: &StubSigning { candidate: 0 },
            genuine: &genuine,
            judged: &[],
        }
    }

    pub(crate) fn cell(&self, sender: u32, kind: u8, amount: u64, recipient: Key, payload: &[u8]) -> Item {
        let sequence = u64::from(self.state.hot(sender).sequence);
        let cell = Cell {
            sender: key(sender),
            recipient,
            amount,
            sequence,
            expires_slot: self.system.slot + 50,
            version: 1,
            kind,
            outputs: u16::from(kind == 1),
            payload_hash: payload_hash(payload),
            ..Cell::zeroed()
        };
        Item::transaction(&cell, payload)
    }

    pub(crate) fn pay(&self, from: u32, to: Key, amount: u64) -> Item {
        self.cell(from, 1, amount, to, &[])
    }

    pub(crate) fn register(&self, account: u32, name: &str) -> Item {
        self.cell(account, 3, self.chain.parameters.consensus.register_reserve, [0; 32], name.as_bytes())
    }

    pub(crate) fn stake(&self, account: u32, amount: u64) -> Item {
        let vote_key = vote_key(account);
        let possession = StubSigning::possession(&key(account), &vote_key);
        self.cell(account, 6, amount, self.system.hash, &[&vote_key[..], &possession[..]].concat())
    }

    pub(crate) fn unstake(&self, account: u32, amount: u64) -> Item {
        self.cell(account, 7, amount, self.system.hash, &[])
    }

    pub(crate) fn certify(&self, items: &[Item]) -> Arc<CertifiedBlock> {
        self.certify_in(0, items)
    }

    pub(crate) fn certify_in(&self, shard: usize, items: &[Item]) -> Arc<CertifiedBlock> {
        let mut items = items.to_vec();
        items.sort_by_key(|item| item.id());
        let built = self.view().build(shard, self.system.slot + 1, &items.into());
        self.certified(built.block, built.items, built.patch)
    }

    pub(crate) fn certified(&self, block: ShardBlock, items: Items, patch: Vec<u8>) -> Arc<CertifiedBlock> {
        let (hash, height) = (block.hash(), self.system.height + 1);
        let (slot, shard) = (block.slot, block.shard as u16);
        let certificate = Certificate { signers: SeatSet::default(), aggregate: [0; 48] };
        let digest = Attest { height, slot, shard, block: hash, certificate }.digest(&self.chain.genesis_hash);
        let certificate =
            self.aggregate(&self.system.committee, &self.system.committee.shards[block.shard as usize], &digest);
        Arc::new(CertifiedBlock { height, block, hash, certificate, items, patch })
    }

    /// These seats' signatures of a digest, combined.
    pub(crate) fn aggregate(&self, committee: &Committee, seats: &[u16], digest: &Hash) -> Certificate {
        let mut signers = SeatSet::default();
        seats.iter().for_each(|&seat| assert!(signers.insert(seat)));
        let sign = |&seat: &u16| StubSigning::stub(committee.members[usize::from(seat)].candidate, digest);
        let signatures: Vec<_> = seats.iter().map(sign).collect();
        Certificate { signers, aggregate: StubSigning { candidate: 0 }.aggregate(&signatures) }
    }

    pub(crate) fn attest_of(block: &CertifiedBlock) -> Attest {
        let (height, slot, hash) = (block.height, block.block.slot, block.hash);
        Attest { height, slot, shard: 0, block: hash, certificate: block.certificate }
    }

    /// One height with a block of these items. Whatever is applied was held: checks passed, supply unchanged.
    pub(crate) fn mint(&mut self, items: &[Item]) -> Arc<CertifiedBlock> {
        let items: Vec<_> = items.iter().cloned().chain(self.answers()).collect();
        let block = self.certify(&items);
        assert_eq!(block.items.len(), items.len(), "all of it is valid");
        assert!(self.view().patch_holds(&block.block, &block.patch).is_ok());
        self.apply(&block);
        block
    }

    /// Whoever is drawn answers, but for users and the silent.
    pub(crate) fn answers(&self) -> Vec<Item> {
        let chain = &self.chain.genesis_hash;
        let answer = |&candidate: &u32| {
            let (height, drawn_by) = (self.system.height + 2, self.system.hash);
            let signature = StubSigning::stub(candidate, &Answer::seed_digest(chain, height));
            let endpoint = Endpoint::default();
            let mut answer = Answer { height, candidate, drawn_by, endpoint, answer: signature, signature };
            answer.signature = StubSigning::stub(candidate, &answer.digest(chain));
            Record::Answer(Box::new(answer)).item()
        };
        let drawn = self.system.drawn.iter();
        drawn.filter(|&candidate| *candidate < self.minters && !self.silent.contains(candidate)).map(answer).collect()
    }

    /// The blocks of all shards over these items and the answers, and what follows: nothing is applied.
    pub(crate) fn follow(&self, items: &[Item]) -> (Vec<Option<Arc<CertifiedBlock>>>, Next) {
        let items: Vec<_> = items.iter().cloned().chain(self.answers()).collect();
        let shards = 0..self.system.committee.shards.len();
        let blocks: Vec<_> = shards.map(|shard| Some(self.certify_in(shard, &items))).collect();
        for block in blocks.iter().flatten() {
            assert!(self.view().patch_holds(&block.block, &block.patch).is_ok());
        }
        let next = Next::new(&self.chain, &self.state, &self.system, &blocks);
        (blocks, next)
    }

    /// One height with blocks of these items, as far as they may stand, and the answers.
    pub(crate) fn advance(&mut self, items: &[Item]) {
        let (blocks, next) = self.follow(items);
        self.settle(&blocks, next);
    }

    pub(crate) fn apply(&mut self, block: &Arc<CertifiedBlock>) {
        let blocks = [Some(block.clone())];
        let next = Next::new(&self.chain, &self.state, &self.system, &blocks);
        self.settle(&blocks, next);
    }

    fn settle(&mut self, blocks: &[Option<Arc<CertifiedBlock>>], next: Next) {
        let before = self.state.supply() - u128::from(self.system.pools.issued);
        let hash = next.value(&self.system, blocks).hash();
        self.state.apply(&next.quilt).unwrap();
        self.state.update_root();
        self.system = next.finalized(hash);
        // What stands beside a checkpoint is all of it, and reads back as it was; every cut of it is refused.
        let mut bytes = Vec::new();
        self.system.encode(&mut bytes);
        assert_eq!(System::decode(&bytes), Ok(self.system.clone()));
        (0..bytes.len()).step_by(97).for_each(|length| assert!(System::decode(&bytes[..length]).is_err()));
        assert_eq!(self.state.supply() - u128::from(self.system.pools.issued), before);
        assert_eq!(self.state.header().pool, self.system.pools.sum());
    }

    pub(crate) fn balance(&self, number: u32) -> u64 {
        self.state.find(&key(number)).map_or(0, |account| self.state.hot(account).balance)
    }
}
