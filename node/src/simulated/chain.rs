//! The chain that simulated nodes are on: its genesis, and payments of its users.

use crate::keep::chain_store::Genesis;
use bytemuck::Zeroable;
use dynemix_engine::base::ids::{Endpoint, Key};
use dynemix_engine::base::parameters::{Chain, ChainParameters, ConsensusParameters, DYNE, GenesisMinter, SubSlots};
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::vote::bls::BlsSigning;
use ed25519_dalek::{Signer, SigningKey};

/// Milliseconds of a slot.
pub(super) const SLOT_MS: u64 = 1_000;
/// Slots that a payment may wait for before it expires: more than a run has.
const EXPIRES_SLOTS: u64 = 4_000;

/// Who is on the chain: minters first, then users.
pub(super) struct World {
    accounts: Vec<(Key, u64)>,
    minters: Vec<GenesisMinter>,
    users: Vec<SigningKey>,
    pub(super) chain: Chain,
}

/// 32 bytes that follow from these.
pub(super) fn secret(purpose: &str, seed: u64, number: u64) -> [u8; 32] {
    *blake3::Hasher::new_derive_key("dynemix simulated secret v1")
        .update(purpose.as_bytes())
        .update(&seed.to_le_bytes())
        .update(&number.to_le_bytes())
        .finalize()
        .as_bytes()
}

impl World {
    /// A chain of so many minters and users. `quilt`: patches travel, not blocks.
    pub(super) fn new(seed: u64, minters: u32, users: u64, quilt: bool) -> World {
        let key = |purpose: &str, number: u64| SigningKey::from_bytes(&secret(purpose, seed, number));
        let users: Vec<SigningKey> = (0..users).map(|number| key("user", number)).collect();
        let owners = (0..u64::from(minters)).map(|number| key("minter", number).verifying_key().to_bytes());
        let accounts: Vec<(Key, u64)> = owners
            .chain(users.iter().map(|user| user.verifying_key().to_bytes()))
            .map(|key| (key, 100_000 * DYNE))
            .collect();
        let minter = |account: u32| GenesisMinter {
            account,
            name: format!("minter{account}").into_bytes(),
            stake: 500 * DYNE,
            key: Box::new(
                BlsSigning::key_and_possession(&secret("vote", seed, account.into()), &accounts[account as usize].0).0,
            ),
            endpoint: Endpoint::default(),
        };
        let minters: Vec<GenesisMinter> = (0..minters).map(minter).collect();
        let consensus = ConsensusParameters {
            seats: minters.len() as u32,
            shards_max: 1,
            quilt_from_height: if quilt { 1 } else { u64::MAX },
            line_bytes_per_s: 12_500_000,
            sub_slots: SubSlots::LOCAL,
            ..ConsensusParameters::default()
        };
        let parameters = ChainParameters { slot_ms: SLOT_MS, consensus, ..ChainParameters::default() };
        let chain = Chain::with_minters(parameters, &accounts, &minters);
        World { accounts, minters, users, chain }
    }

    /// What a node is started with.
    pub(super) fn genesis(&self) -> Genesis {
        let accounts_max = (self.accounts.len() as u32).next_multiple_of(1_024);
        Genesis {
            chain: self.chain.clone(),
            accounts: self.accounts.clone(),
            minters: self.minters.clone(),
            accounts_max,
        }
    }

    /// The account of a minter.
    pub(super) fn owner(&self, minter: u32) -> Key {
        self.accounts[minter as usize].0
    }

    /// Users there are.
    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    /// The account of a user.
    pub(super) fn account(&self, user: usize) -> u32 {
        assert!(user < self.users.len(), "there is no user {user}");
        (self.minters.len() + user) as u32
    }

    /// A user's payment to another, signed.
    pub(super) fn pay(&self, user: usize, sequence: u64, amount: u64, slot: u64) -> Cell {
        let to = (user + 1) % self.users.len();
        let mut cell = Cell {
            sender: self.accounts[self.account(user) as usize].0,
            recipient: self.accounts[self.account(to) as usize].0,
            amount,
            sequence,
            expires_slot: slot + EXPIRES_SLOTS,
            version: 1,
            kind: 1,
            outputs: 1,
            ..Cell::zeroed()
        };
        let message = [&self.chain.transaction_prefix[..], cell.signed_part()].concat();
        cell.signature = self.users[user].sign(&message).to_bytes();
        cell
    }
}
