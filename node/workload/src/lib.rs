//! Accounts and signed transactions that follow from a seed: a genesis file may name such accounts, a devnet and every
//! bench send such transactions. The workload of every figure: distinct senders in turn, recipients by Zipf(1.0) over
//! all accounts, 1 % new keys, real signatures.
//!
//! Keys and nonces are taken in arithmetic progression (a + i, r + j), so a public key or an R costs one point addition
//! and a share of a batch inversion instead of a scalar multiplication. A wallet must never do that, since one
//! signature would betray the next; a verifier cannot tell and does exactly the same work.

#![forbid(unsafe_code)]

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use dynemix_engine::base::ids::{Key, Prefix};
use dynemix_engine::base::parameters::{DYNE, SUPPLY_GENESIS};
use dynemix_engine::transaction::cell::Cell;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sha2::{Digest, Sha512};
use std::ops::Range;

/// Points that are encoded together.
const BATCH: usize = 1024;
/// One transaction in so many goes to a new key.
const NEW_KEY_EVERY: u64 = 100;

/// A small, fast, seedable generator of numbers (SplitMix64); for choices, not for secrets.
#[derive(Clone)]
pub struct Choices(SplitMix64);

impl Choices {
    /// Choices that follow from these numbers.
    pub fn new(seed: u64, stream: u64) -> Choices {
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        Choices(SplitMix64::from_seed(state.to_le_bytes()))
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, evenly enough for a load.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something of this probability happens; in 2^-53 steps.
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.draw() >> 11) as f64) < probability * (1u64 << 53) as f64
    }
}

/// Keys whose secrets are consecutive scalars.
pub struct KeyChain {
    first: Scalar,
}

impl KeyChain {
    /// The keys of this seed.
    pub fn new(seed: u64) -> KeyChain {
        KeyChain { first: scalar_of("dynemix bench keys v1", seed) }
    }

    fn secret(&self, index: u64) -> Scalar {
        self.first + Scalar::from(index)
    }

    /// Public keys of these indices.
    pub fn keys(&self, range: Range<u64>) -> Vec<Key> {
        consecutive_points(self.first, range)
    }
}

fn scalar_of(purpose: &str, seed: u64) -> Scalar {
    let mut wide = [0u8; 64];
    blake3::Hasher::new_derive_key(purpose).update(&seed.to_le_bytes()).finalize_xof().fill(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// Encodings of (first + i) B for every i of the range, in parallel batches.
fn consecutive_points(first: Scalar, range: Range<u64>) -> Vec<[u8; 32]> {
    let count = (range.end - range.start) as usize;
    let mut out = vec![[0u8; 32]; count];
    out.par_chunks_mut(BATCH).enumerate().for_each(|(batch, out)| {
        let start = range.start + (batch * BATCH) as u64;
        let mut point = EdwardsPoint::mul_base(&(first + Scalar::from(start)));
        let points: Vec<_> = (0..out.len())
            .map(|_| {
                let this = point;
                point += ED25519_BASEPOINT_POINT;
                this
            })
            .collect();
        for (out, encoded) in out.iter_mut().zip(EdwardsPoint::compress_batch_alloc(&points)) {
            *out = encoded.0;
        }
    });
    out
}

/// Ranks by Zipf(1.0): the k-th most popular account is chosen with probability proportional to 1/k.
struct Zipf {
    cumulative: Vec<f64>,
}

impl Zipf {
    fn new(ranks: u64) -> Zipf {
        let mut sum = 0.0;
        // Only additions and divisions: the same table on every machine.
        Zipf {
            cumulative: (1..=ranks)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        }
    }

    fn rank(&self, choices: &mut Choices) -> u64 {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let at = (choices.draw() >> 11) as f64 / (1u64 << 53) as f64 * total;
        self.cumulative.partition_point(|&sum| sum <= at).min(self.cumulative.len() - 1) as u64
    }
}

/// What the transactions are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkloadSpec {
    /// Decides keys, senders, recipients, amounts and broken signatures.
    pub seed: u64,
    /// Accounts at genesis.
    pub accounts: u64,
    /// Share of transactions whose signature is broken, among the senders that break any.
    pub invalid_share: f64,
    /// Which senders break any: those whose index modulo the first number is below the second.
    pub invalid_senders: (u64, u64),
    /// `expires_slot` of every transaction.
    pub expires_slot: u64,
}

/// The genesis accounts: keys in order of index, the supply divided evenly, the remainder with the first.
pub fn genesis(seed: u64, accounts: u64) -> Vec<(Key, u64)> {
    assert!(accounts > 0, "a workload has accounts");
    let share = SUPPLY_GENESIS / accounts;
    let first = SUPPLY_GENESIS - share * (accounts - 1);
    let keys = KeyChain::new(seed).keys(0..accounts);
    keys.into_iter().enumerate().map(|(i, key)| (key, if i == 0 { first } else { share })).collect()
}

/// How many new keys `transactions` transactions bring at most.
pub fn new_keys(transactions: u64) -> u64 {
    transactions.div_ceil(NEW_KEY_EVERY)
}

/// Signed transactions, in sending order.
pub struct Workload {
    /// Signed transfers, one output each.
    pub cells: Vec<Cell>,
    /// Index of each one's sender.
    pub senders: Vec<u32>,
    /// How many have a broken signature.
    pub invalid: u64,
}

fn coprime_step(choices: &mut Choices, n: u64) -> u64 {
    fn gcd(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    loop {
        let step = choices.below(n).max(1);
        if gcd(step, n) == 1 {
            return step;
        }
    }
}

impl Workload {
    /// Draws and signs `transactions` transactions for the chain with this prefix. `progress` hears how many are
    /// signed.
    pub fn new(spec: &WorkloadSpec, prefix: &Prefix, transactions: u64, progress: impl Fn(u64) + Sync) -> Workload {
        let WorkloadSpec { seed, accounts, invalid_share, invalid_senders, expires_slot } = *spec;
        let mut choices = Choices::new(seed, 1);
        let (sender_step, recipient_step) =
            (coprime_step(&mut choices, accounts), coprime_step(&mut choices, accounts));
        let walk = |k: u64, step: u64| (u128::from(k) * u128::from(step) % u128::from(accounts)) as u64;
        let zipf = Zipf::new(accounts);
        let chain = KeyChain::new(seed);
        let keys = chain.keys(0..accounts);
        let created = chain.keys(accounts..accounts + new_keys(transactions));

        // What is drawn in order: who sends what, since a broken signature does not use up its sequence.
        let mut sequences = vec![0u32; accounts as usize];
        let mut senders = Vec::with_capacity(transactions as usize);
        let mut drawn = Vec::with_capacity(transactions as usize);
        for k in 0..transactions {
            let sender = walk(k % accounts, sender_step) as usize;
            let breaks = sender as u64 % invalid_senders.0 < invalid_senders.1;
            let bad = invalid_share > 0.0 && breaks && choices.chance(invalid_share);
            senders.push(sender as u32);
            drawn.push((sequences[sender], bad));
            sequences[sender] += u32::from(!bad);
        }

        let first_nonce = scalar_of("dynemix bench nonces v1", seed);
        let mut cells = vec![bytemuck::Zeroable::zeroed(); transactions as usize];
        cells.par_chunks_mut(BATCH).enumerate().for_each(|(batch, cells): (usize, &mut [Cell])| {
            let start = (batch * BATCH) as u64;
            let mut choices = Choices::new(seed, 2 + start);
            let nonces = consecutive_points(first_nonce, start..start + cells.len() as u64);
            for (i, cell) in cells.iter_mut().enumerate() {
                let k = start + i as u64;
                let sender = senders[k as usize];
                let (sequence, bad) = drawn[k as usize];
                let recipient = match k % NEW_KEY_EVERY {
                    0 => created[(k / NEW_KEY_EVERY) as usize],
                    _ => keys[walk(zipf.rank(&mut choices), recipient_step) as usize],
                };
                *cell = Cell {
                    sender: keys[sender as usize],
                    recipient,
                    amount: DYNE + choices.below(4 * DYNE),
                    sequence: u64::from(sequence),
                    expires_slot,
                    version: 1,
                    kind: 1,
                    outputs: 1,
                    ..bytemuck::Zeroable::zeroed()
                };
                sign(cell, prefix, &chain.secret(u64::from(sender)), &(first_nonce + Scalar::from(k)), &nonces[i]);
                if bad {
                    cell.signature[32] ^= 1;
                }
            }
            progress(cells.len() as u64);
        });
        let invalid = drawn.iter().filter(|drawn| drawn.1).count() as u64;
        Workload { cells, senders, invalid }
    }
}

/// Puts the signature with this nonce into a cell.
fn sign(cell: &mut Cell, prefix: &Prefix, secret: &Scalar, nonce: &Scalar, nonce_point: &[u8; 32]) {
    let digest = Sha512::new()
        .chain_update(nonce_point)
        .chain_update(cell.sender)
        .chain_update(prefix)
        .chain_update(cell.signed_part())
        .finalize();
    let s = nonce + Scalar::from_bytes_mod_order_wide(&digest.into()) * secret;
    cell.signature[..32].copy_from_slice(nonce_point);
    cell.signature[32..].copy_from_slice(s.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, VerifyingKey};

    #[test]
    fn an_independent_library_accepts_every_signature_that_is_not_broken() {
        let spec = WorkloadSpec { seed: 3, accounts: 50, invalid_share: 0.2, invalid_senders: (1, 1), expires_slot: 9 };
        let prefix = [5; 32];
        let workload = Workload::new(&spec, &prefix, 3_000, |_| ());
        let keys = genesis(3, 50);
        assert_eq!(keys.iter().map(|account| account.1).sum::<u64>(), SUPPLY_GENESIS);
        let mut invalid = 0;
        for (cell, &sender) in workload.cells.iter().zip(&workload.senders) {
            assert_eq!(cell.sender, keys[sender as usize].0);
            let key = VerifyingKey::from_bytes(&cell.sender).unwrap();
            let message = [&prefix[..], cell.signed_part()].concat();
            invalid += u64::from(key.verify_strict(&message, &Signature::from_bytes(&cell.signature)).is_err());
        }
        assert_eq!(invalid, workload.invalid);
        assert!((400..800).contains(&invalid));
    }

    #[test]
    fn senders_are_distinct_in_each_round_and_sequences_count_the_good_ones() {
        let spec = WorkloadSpec { seed: 4, accounts: 97, invalid_share: 0.1, invalid_senders: (1, 1), expires_slot: 9 };
        let workload = Workload::new(&spec, &[0; 32], 970, |_| ());
        for round in workload.senders.chunks(97) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert!(round.windows(2).all(|pair| pair[0] < pair[1]));
        }
        let other = Workload::new(&spec, &[0; 32], 970, |_| ());
        assert_eq!(workload.cells, other.cells, "the seed chooses everything");
    }
}
