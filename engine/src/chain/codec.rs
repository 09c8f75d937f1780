//! The system as bytes: what stands beside a checkpoint of the accounts, and what a node that joins, or a wallet,
//! fetches.
//!
//! Every table in the order of [`System`]'s fields; numbers are LEB128, hashes and keys as they are. Tables that grow
//! with the number of users ascend by key, names by their path. Whoever reads bytes from elsewhere compares
//! [`System::root`] with what a final block says.

use super::block::{SHARD_BLOCK_BYTES, ShardBlock};
use super::names::Names;
use super::patch::Patch;
use super::tables::{
    Barred, CUSTODIANS, Immature, ImmatureBlock, MILLION, Minted, Pools, Reward, Staker, Stakers, System, Unstaking,
};
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::{AccountIndex, Endpoint, Seat, VoteKey};
use crate::base::limits::{NAME_BYTES_MAX, SEATS_MAX};
use crate::base::read::{CodecError, Read, array, count, number, put, slice, small};
use crate::base::trie::{Trie, TrieKey, TrieValue};
use crate::base::varint;
use crate::committee::members::{Committee, Member};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::LazyLock;

/// Version of the bytes.
pub const SYSTEM_VERSION: u8 = 5;
/// Entries of any table at most.
const ENTRIES_MAX: usize = u32::MAX as usize;

fn write(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|&number| varint::write(out, number));
}

fn account(bytes: &mut &[u8]) -> Read<u32> {
    u32::try_from(number(bytes)?).map_err(|_| CodecError::Field)
}

fn put_accounts(accounts: &[AccountIndex], out: &mut Vec<u8>) {
    write(out, &[accounts.len() as u64]);
    accounts.iter().for_each(|&account| varint::write(out, u64::from(account)));
}

fn accounts(bytes: &mut &[u8], max: usize) -> Read<Vec<AccountIndex>> {
    (0..count(bytes, 1, max)?).map(|_| account(bytes)).collect()
}

fn flag(bytes: &mut &[u8]) -> Read<bool> {
    match array(bytes)? {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(CodecError::Field),
    }
}

/// Appends a committee: each member's candidate, stake, shard and whether it is a delegate.
pub fn put_committee(committee: &Committee, out: &mut Vec<u8>) {
    write(out, &[committee.height, committee.shards.len() as u64, committee.members.len() as u64]);
    for member in &committee.members {
        write(out, &[u64::from(member.candidate), member.stake, u64::from(member.shard), u64::from(member.delegate)]);
    }
}

/// Reads what [`put_committee`] wrote.
///
/// # Errors
/// Bytes that are none.
pub fn read_committee(bytes: &mut &[u8]) -> Result<Committee, CodecError> {
    let (height, shards_len) = (number(bytes)?, number(bytes)?);
    if shards_len > SEATS_MAX as u64 {
        return Err(CodecError::TooMany(shards_len));
    }
    let members_len = count(bytes, 4, SEATS_MAX)?;
    let mut shards: Vec<Vec<Seat>> = vec![Vec::new(); shards_len as usize];
    let mut members: Vec<Member> = Vec::with_capacity(members_len);
    for seat in 0..members_len {
        let (candidate, stake, shard, delegate) = (account(bytes)?, number(bytes)?, small(bytes)?, number(bytes)?);
        let follows = members.last().is_none_or(|last| last.candidate < candidate);
        if !follows || delegate > 1 {
            return Err(CodecError::Field);
        }
        shards.get_mut(usize::from(shard)).ok_or(CodecError::Field)?.push(seat as Seat);
        members.push(Member { candidate, stake, shard, delegate: delegate == 1 });
    }
    Ok(Committee { height, members, shards })
}

/// Appends a committee with its members' voting keys: what a light client needs to check its certificates.
pub fn put_committee_with_keys(system: &System, committee: &Committee, out: &mut Vec<u8>) {
    put_committee(committee, out);
    committee.members.iter().for_each(|member| put(out, system.vote_key(member.candidate)));
}

/// Reads what [`put_committee_with_keys`] wrote: the committee, and the keys seat by seat.
///
/// # Errors
/// Bytes that are none.
pub fn read_committee_with_keys(bytes: &mut &[u8]) -> Result<(Committee, Vec<VoteKey>), CodecError> {
    let committee = read_committee(bytes)?;
    let keys = committee.members.iter().map(|_| array(bytes)).collect::<Read<_>>()?;
    Ok((committee, keys))
}

fn put_immature(immature: &Immature, form: Form, out: &mut Vec<u8>) {
    write(out, &[immature.height, immature.parent_slot, immature.blocks.len() as u64]);
    for block in &immature.blocks {
        put(out, &block.block);
        if form == Form::Whole {
            put(out, &block.header.encode());
            let mut patch = Vec::new();
            block.patch.encode(&mut patch);
            write(out, &[patch.len() as u64]);
            out.extend_from_slice(&patch);
        }
        put_accounts(&block.custodians, out);
        out.push(u8::from(block.banned));
    }
    write(out, &[immature.rewards.len() as u64]);
    for reward in &immature.rewards {
        write(out, &[reward.height, u64::from(reward.shard), u64::from(reward.account), reward.amount]);
    }
}

fn read_immature(bytes: &mut &[u8]) -> Read<Immature> {
    let (height, parent_slot) = (number(bytes)?, number(bytes)?);
    let blocks = (0..count(bytes, SHARD_BLOCK_BYTES, SEATS_MAX)?)
        .map(|_| {
            let block = array(bytes)?;
            let header = ShardBlock::decode(&array::<SHARD_BLOCK_BYTES>(bytes)?);
            let patch = slice(bytes, ENTRIES_MAX)?;
            // The root has the block's hash alone: all else follows from it, or is refused.
            if header.hash() != block || header.patch_hash != Patch::hash(patch) {
                return Err(CodecError::Field);
            }
            let patch = Patch::decode(patch, ENTRIES_MAX).map_err(|_| CodecError::Field)?;
            let custodians = accounts(bytes, CUSTODIANS)?;
            let shard = u16::try_from(header.shard).map_err(|_| CodecError::Field)?;
            Ok(ImmatureBlock { shard, block, header, patch: Arc::new(patch), custodians, banned: flag(bytes)? })
        })
        .collect::<Read<_>>()?;
    let reward = |bytes: &mut &[u8]| {
        Ok(Reward { height: number(bytes)?, shard: small(bytes)?, account: account(bytes)?, amount: number(bytes)? })
    };
    let rewards = (0..count(bytes, 4, ENTRIES_MAX)?).map(|_| reward(bytes)).collect::<Read<_>>()?;
    Ok(Immature { height, parent_slot, blocks, rewards })
}

/// Reads a table whose keys ascend.
fn ascending<K: TrieKey, V: TrieValue>(
    bytes: &mut &[u8],
    least: usize,
    mut entry: impl FnMut(&mut &[u8]) -> Read<(K, V)>,
) -> Read<Trie<K, V>> {
    let (mut table, mut last) = (Trie::default(), None);
    for _ in 0..count(bytes, least, ENTRIES_MAX)? {
        let (key, value) = entry(bytes)?;
        if last.replace(key) >= Some(key) {
            return Err(CodecError::Field);
        }
        table.insert(key, value);
    }
    Ok(table)
}

/// What is written of tables that have hashes of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Every entry, for whoever is given the system.
    Whole,
    /// Hashes in place of entries, for the system's root.
    Root,
}

impl System {
    /// Appends the whole system.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(SYSTEM_VERSION);
        put(out, &self.hash);
        self.put_tables(Form::Whole, out);
    }

    /// Everything but the hash of the block.
    pub(super) fn put_tables(&self, form: Form, out: &mut Vec<u8>) {
        write(out, &[self.height, self.slot]);
        put(out, &self.seed);
        write(out, &[self.stakers.len() as u64]);
        match form {
            Form::Root => put(out, &self.stakers.root()),
            Form::Whole => self.stakers.iter().for_each(|(&account, staker)| {
                write(out, &[u64::from(account), staker.stake, staker.minted]);
                put(out, &staker.key);
            }),
        }
        write(out, &[self.names.len() as u64]);
        match form {
            Form::Root => put(out, &self.names.root()),
            Form::Whole => self.names.iter().for_each(|(name, account)| {
                write(out, &[u64::from(account), name.len() as u64]);
                out.extend_from_slice(name);
            }),
        }
        write(out, &[self.unstaking.len() as u64]);
        self.unstaking.iter().for_each(|entry| write(out, &[u64::from(entry.account), entry.amount, entry.height]));
        write(out, &[self.immature.len() as u64]);
        self.immature.iter().for_each(|immature| put_immature(immature, form, out));
        let Pools { fees, stakes, unstaking, reserves, immature, slashed, issued } = self.pools;
        write(out, &[fees, stakes, unstaking, reserves, immature, slashed, issued]);
        put_committee(&self.committee, out);
        write(out, &[self.committees.len() as u64]);
        self.committees.iter().for_each(|committee| put_committee(committee, out));
        write(out, &[self.endpoints.len() as u64]);
        for (&account, endpoint) in self.endpoints.iter() {
            write(out, &[u64::from(account), u64::from(endpoint.port)]);
            put(out, &endpoint.address);
            put(out, &endpoint.transport_key);
        }
        write(out, &[self.drawn.len() as u64]);
        self.drawn.iter().for_each(|&account| varint::write(out, u64::from(account)));
        write(out, &[self.custodians.len() as u64]);
        self.custodians.iter().for_each(|custodians| put_accounts(custodians, out));
        write(out, &[self.answering, u64::from(self.thin), self.load, self.barred.len() as u64]);
        match form {
            Form::Root => put(out, &self.barred.root()),
            Form::Whole => {
                self.barred.iter().for_each(|(&account, barred)| write(out, &[u64::from(account), barred.since]));
            }
        }
        write(out, &[self.offences.len() as u64]);
        self.offences.iter().for_each(|&(account, height)| write(out, &[u64::from(account), height]));
        write(out, &[self.ancestors.len() as u64]);
        self.ancestors.iter().for_each(|hash| put(out, hash));
        write(out, &[self.minted.len() as u64]);
        for minted in &self.minted {
            out.push(u8::from(minted.is_some()));
            if let Some(minted) = minted {
                put(out, &minted.block);
                write(out, &[minted.slot, u64::from(minted.transactions), minted.fees]);
            }
        }
    }

    /// Reads exactly what [`Self::encode`] wrote. What it says is true only if its root is that of a final block.
    ///
    /// # Errors
    /// Bytes that are no system.
    pub fn decode(mut bytes: &[u8]) -> Result<System, CodecError> {
        let bytes = &mut bytes;
        match array(bytes)? {
            [SYSTEM_VERSION] => {}
            [version] => return Err(CodecError::Tag(version)),
        }
        let (hash, height, slot, seed) = (array(bytes)?, number(bytes)?, number(bytes)?, array(bytes)?);
        let mut at_stake = 0u64;
        let stakers: Stakers = ascending(bytes, 99, |bytes| {
            let (account, stake, minted) = (account(bytes)?, number(bytes)?, number(bytes)?);
            at_stake = at_stake.checked_add(stake).ok_or(CodecError::Field)?;
            Ok((account, Staker { stake, minted, key: Box::new(array(bytes)?) }))
        })?;
        let mut names = Names::default();
        let mut last = None;
        for _ in 0..count(bytes, 3, ENTRIES_MAX)? {
            let (account, name) = (account(bytes)?, slice(bytes, NAME_BYTES_MAX)?);
            let path = Names::path(name);
            if last.replace(path) >= Some(path) || !names.register(name, account) {
                return Err(CodecError::Field);
            }
        }
        let unstaking = (0..count(bytes, 3, ENTRIES_MAX)?)
            .map(|_| Ok(Unstaking { account: account(bytes)?, amount: number(bytes)?, height: number(bytes)? }))
            .collect::<Read<_>>()?;
        let immature = (0..count(bytes, 4, 1_024)?).map(|_| read_immature(bytes)).collect::<Read<VecDeque<_>>>()?;
        let mut pool = || number(bytes);
        let pools = Pools {
            fees: pool()?,
            stakes: pool()?,
            unstaking: pool()?,
            reserves: pool()?,
            immature: pool()?,
            slashed: pool()?,
            issued: pool()?,
        };
        let committee = Arc::new(read_committee(bytes)?);
        let committees =
            (0..count(bytes, 3, 1_024)?).map(|_| read_committee(bytes).map(Arc::new)).collect::<Read<_>>()?;
        let mut endpoints = BTreeMap::new();
        for _ in 0..count(bytes, 50, ENTRIES_MAX)? {
            let (account, port) = (account(bytes)?, small(bytes)?);
            endpoints.insert(account, Endpoint { address: array(bytes)?, port, transport_key: array(bytes)? });
        }
        let drawn = accounts(bytes, ENTRIES_MAX)?;
        let custodians =
            (0..count(bytes, 1, SEATS_MAX)?).map(|_| accounts(bytes, CUSTODIANS)).collect::<Read<Vec<_>>>()?;
        let (answering, thin, load) = (number(bytes)?, account(bytes)?, number(bytes)?);
        if answering > MILLION {
            return Err(CodecError::Field);
        }
        let barred: Trie<_, _> = ascending(bytes, 2, |bytes| Ok((account(bytes)?, Barred { since: number(bytes)? })))?;
        let offences: BTreeSet<_> =
            (0..count(bytes, 2, ENTRIES_MAX)?).map(|_| Ok((account(bytes)?, number(bytes)?))).collect::<Read<_>>()?;
        let ancestors = (0..count(bytes, 32, 1_024)?).map(|_| array(bytes)).collect::<Read<_>>()?;
        let mut minted = Vec::new();
        for _ in 0..count(bytes, 1, SEATS_MAX)? {
            minted.push(match flag(bytes)? {
                true => Some(Minted {
                    block: array(bytes)?,
                    slot: number(bytes)?,
                    transactions: account(bytes)?,
                    fees: number(bytes)?,
                }),
                false => None,
            });
        }
        if !bytes.is_empty() {
            return Err(CodecError::Trailing(bytes.len()));
        }
        let endpoints = Arc::new(endpoints);
        Ok(System {
            height,
            slot,
            hash,
            seed,
            stakers,
            names,
            unstaking,
            immature,
            pools,
            committee,
            committees,
            endpoints,
            drawn,
            custodians,
            answering,
            thin,
            load,
            barred,
            offences,
            ancestors,
            minted,
        })
    }
}

static SYSTEM_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix system v1"));

impl System {
    /// The root that the block commits to: of every table as it is encoded, but names, stakers and who is barred by the
    /// roots of their tries, blocks that are not mature by their hashes, and without the block's own hash.
    pub fn root(&self) -> Hash {
        let mut out = Vec::with_capacity(4_096);
        out.extend_from_slice(&self.committee_hash());
        self.put_tables(Form::Root, &mut out);
        keyed(&SYSTEM_KEY, &out)
    }
}
