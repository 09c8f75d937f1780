//! A chain of one shard in memory, and blocks that use up whatever they are told to.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use bytemuck::Zeroable;
use dynemix::intake::shares::{Holder, User};
use dynemix::minting::own::{Client, Own, Payer};
use dynemix::minting::pool::{HeightPool, Teller};
use dynemix::minting::prospect::Prospect;
use dynemix_engine::accounts::memory::{HeapMemory, StateLayout};
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::accounts::state::State;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::keyed_hash::HashSeed;
use dynemix_engine::base::limits::OUTPUTS_MAX;
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter};
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::tables::System;
use dynemix_engine::transaction::cell::{Cell, payload_hash};
use dynemix_engine::transaction::item::Item;
use dynemix_net::mesh::Net;
use dynemix_net::mesh::PeerId;

pub const ACCOUNTS: u32 = 1_200;
const MINTERS: u32 = 10;

pub fn key(number: u32) -> Key {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    key
}

/// Of a connection of this computer to the network, with its ordinal there.
pub fn client(connection: u64, ordinal: u64) -> Client {
    let user = User { by_api: false, holder: Holder::of(Net::Loopback, connection) };
    Client { user, told: Some((PeerId(connection), ordinal)) }
}

/// Of one to the API.
pub fn caller(connection: u64) -> Client {
    Client { user: User { by_api: true, holder: Holder::of(Net::Loopback, connection) }, told: None }
}

/// Of an account whose next one it is.
pub fn due(account: u32, total: u64) -> Payer {
    Payer { account, total, due: true, found: None, hint: None }
}

/// Follows a transaction that is on the disk at once.
pub fn follow(own: &mut Own, item: &Item, payer: Payer, client: Client) -> Result<(), Refusal> {
    let is_fresh = own.follow(item, payer, client)?;
    own.kept(usize::from(is_fresh));
    Ok(())
}

/// A chain of one shard, and blocks that use up whatever they are told to.
pub struct Scene {
    pub chain: Chain,
    pub state: State<HeapMemory>,
    pub system: System,
}

impl Scene {
    pub fn new() -> Scene {
        Scene::of(ACCOUNTS, MINTERS, 10)
    }

    /// With so many accounts, the first of which are stakers, of whom some have seats.
    pub fn of(count: u32, stakers: u32, seats: u32) -> Scene {
        let accounts: Vec<_> = (0..count).map(|number| (key(number), 1_000 * DYNE)).collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: format!("minter{account}").into_bytes(),
            stake: 500 * DYNE,
            key: Box::new([account as u8 + 1; 96]),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<_> = (0..stakers).map(minter).collect();
        let consensus = ConsensusParameters { seats, shards_max: 1, ..ConsensusParameters::default() };
        let chain =
            Chain::with_minters(ChainParameters { consensus, ..ChainParameters::default() }, &accounts, &minters);
        let system = System::genesis(&chain, &minters);
        let pool = system.pools.sum();
        let supply = u64::from(count) * 1_000 * DYNE + pool;
        let memory = HeapMemory::new(StateLayout::new(count));
        let mut state = State::genesis_with_pool(memory, &accounts, supply, pool, HashSeed::from_number(1)).unwrap();
        state.update_root();
        Scene { chain, state, system }
    }

    pub fn pay(&self, sender: u32, amount: u64) -> Item {
        self.pay_after(sender, amount, 0)
    }

    /// To a hundred accounts: the longest that a transaction is.
    pub fn pay_many(&self, sender: u32) -> Item {
        let cell = *self.pay(sender, DYNE).cell().unwrap();
        let payload: Vec<u8> = [&key(1)[..], &DYNE.to_le_bytes()].concat().repeat(usize::from(OUTPUTS_MAX) - 1);
        let hash = payload_hash(&payload);
        Item::transaction(&Cell { kind: 2, outputs: OUTPUTS_MAX, payload_hash: hash, ..cell }, &payload)
    }

    /// So many others of its sender come before it.
    pub fn pay_after(&self, sender: u32, amount: u64, others: u64) -> Item {
        let sequence = u64::from(self.state.hot(sender).sequence) + others;
        let cell = Cell {
            sender: key(sender),
            recipient: key(0),
            amount,
            sequence,
            expires_slot: self.system.slot + 50,
            version: 1,
            kind: 1,
            outputs: 1,
            payload_hash: payload_hash(&[]),
            ..Cell::zeroed()
        };
        Item::transaction(&cell, &[])
    }

    /// The next block steps these accounts' sequences.
    pub fn block(&mut self, used: &[u32]) -> System {
        let parent = self.system.clone();
        let mut used = used.to_vec();
        used.sort_unstable();
        let mut quilt = Quilt {
            height: parent.height + 1,
            slot: parent.slot + 1,
            parent_root: self.state.header().root,
            ..Quilt::default()
        };
        quilt.delta.debits.amounts = vec![0; used.len()];
        quilt.delta.debits.accounts = used;
        self.state.apply(&quilt).unwrap();
        self.state.update_root();
        (self.system.height, self.system.slot) = (parent.height + 1, parent.slot + 1);
        parent
    }

    /// Told by a minter.
    pub fn admit(&self, pool: &mut HeightPool, item: &Item, told: u64) -> Result<(), Refusal> {
        self.admit_from(pool, item, told, &Teller { name: 0, share: None })
    }

    pub fn admit_from(&self, pool: &mut HeightPool, item: &Item, told: u64, teller: &Teller) -> Result<(), Refusal> {
        let account = item.cell().and_then(|cell| self.state.find(&cell.sender)).ok_or(Refusal::UnknownSender)?;
        let prospect = Prospect::of(item, account, &self.chain, &self.state, &self.system)?;
        pool.insert(item.clone(), pool.check(item, &prospect, told, teller)?, teller, None);
        Ok(())
    }
}
