//! Hashes with a purpose, and the wide tree that commits to lists.

use blake3::IncrementCounter;
use blake3::platform::Platform;
use std::sync::LazyLock;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// Children of an inner node of every tree in the protocol.
pub const FAN_OUT: usize = 16;

/// The key of a keyed BLAKE3 hash for one purpose: hashes of different things can never be confused.
pub fn purpose_key(purpose: &str) -> Hash {
    blake3::derive_key(purpose, b"")
}

/// Keyed BLAKE3.
pub fn keyed(key: &Hash, bytes: &[u8]) -> Hash {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// Keyed BLAKE3 of many inputs of one length, a multiple of 64 up to 1024 bytes: the same as [`keyed`] on each, in as many
/// SIMD lanes as the processor has.
///
/// # Panics
/// When there are fewer places than inputs.
pub fn keyed_many<const N: usize>(key: &Hash, inputs: &[&[u8; N]], out: &mut [Hash]) {
    const { assert!(N > 0 && N.is_multiple_of(64) && N <= 1024, "one BLAKE3 chunk of whole blocks") };
    // The flags of BLAKE3's specification, section 2.2: an input of one chunk is its own root.
    const CHUNK_START: u8 = 1;
    const CHUNK_END: u8 = 2;
    const ROOT: u8 = 8;
    const KEYED_HASH: u8 = 16;
    static PLATFORM: LazyLock<Platform> = LazyLock::new(Platform::detect);
    let key = std::array::from_fn(|i| u32::from_le_bytes(key[4 * i..4 * i + 4].try_into().expect("4 bytes")));
    let out = bytemuck::cast_slice_mut(&mut out[..inputs.len()]);
    PLATFORM.hash_many(inputs, &key, 0, IncrementCounter::No, KEYED_HASH, CHUNK_START, CHUNK_END | ROOT, out);
}

/// Root of the 16-wide tree over `leaves`, in place: level by level the hashes of groups of 16 (the last group filled with
/// zeros) replace the leaves, until one is left; the root hashes that one together with the number of leaves. No leaves:
/// the hash of zero and count 0.
pub fn list_root(node_key: &Hash, leaves: &mut Vec<Hash>) -> Hash {
    let count = leaves.len() as u64;
    while leaves.len() > 1 {
        let groups = leaves.len().div_ceil(FAN_OUT);
        for group in 0..groups {
            let start = group * FAN_OUT;
            let end = (start + FAN_OUT).min(leaves.len());
            let mut children = [[0u8; 32]; FAN_OUT];
            children[..end - start].copy_from_slice(&leaves[start..end]);
            leaves[group] = keyed(node_key, bytemuck::bytes_of(&children));
        }
        leaves.truncate(groups);
    }
    let mut top = [0u8; 40];
    top[..32].copy_from_slice(leaves.first().unwrap_or(&[0; 32]));
    top[32..].copy_from_slice(&count.to_le_bytes());
    keyed(node_key, &top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hashes_at_once_are_the_same_hashes() {
        let key = purpose_key("test");
        for count in [0, 1, 2, 7, 15, 16, 17, 40] {
            let inputs: Vec<[u8; 384]> = (0..count).map(|i| std::array::from_fn(|at| (i * 7 + at * 13) as u8)).collect();
            let mut out = vec![[0; 32]; count];
            keyed_many(&key, &inputs.iter().collect::<Vec<_>>(), &mut out);
            assert!(inputs.iter().zip(&out).all(|(input, hash)| keyed(&key, input) == *hash));
        }
    }
}
