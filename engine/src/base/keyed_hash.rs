//! Hashing of attacker-chosen 32-byte keys into table places, under a secret of this node.
//!
//! Multilinear hashing: h(m) = high 64 bits of k0 + k1 m1 + ... + k4 m4 modulo 2^128, with 128-bit secret k. It is
//! strongly universal (D. Lemire, O. Kaser, "Strongly universal string hashing is fast", 2012): without the secret
//! nobody can choose keys that collide. Nothing that nodes must agree on depends on it.

use bytemuck::{Pod, Zeroable};

/// The secret of a table.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct HashSeed {
    words: [[u64; 2]; 5],
}

impl HashSeed {
    /// A seed from the operating system's randomness.
    ///
    /// # Panics
    /// When the system has no randomness to give.
    pub fn random() -> HashSeed {
        let mut seed = HashSeed::zeroed();
        getrandom::fill(bytemuck::bytes_of_mut(&mut seed)).expect("the system gives randomness");
        seed
    }

    /// A seed that is the same for the same number: for tests and reproducible benches.
    pub fn from_number(number: u64) -> HashSeed {
        let mut seed = HashSeed::zeroed();
        blake3::Hasher::new_derive_key("dynemix reproducible table seed v1")
            .update(&number.to_le_bytes())
            .finalize_xof()
            .fill(bytemuck::bytes_of_mut(&mut seed));
        seed
    }

    /// The seed that follows from a key.
    pub fn from_key(key: &[u8; 32]) -> HashSeed {
        let mut seed = HashSeed::zeroed();
        blake3::Hasher::new_keyed(key).finalize_xof().fill(bytemuck::bytes_of_mut(&mut seed));
        seed
    }

    /// The 64-bit hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8; 32]) -> u64 {
        let word = |i: usize| u128::from(u64::from_le_bytes(key[8 * i..8 * i + 8].try_into().expect("8 bytes")));
        let k = |i: usize| u128::from(self.words[i][0]) | (u128::from(self.words[i][1]) << 64);
        let sum = (0..4).fold(k(0), |sum, i| sum.wrapping_add(k(i + 1).wrapping_mul(word(i))));
        (sum >> 64) as u64
    }
}

/// Maps a hash evenly onto `0..places`.
#[inline]
pub fn place(hash: u64, places: usize) -> usize {
    ((u128::from(hash) * places as u128) >> 64) as usize
}
