//! Hashes with a purpose, and the wide tree that commits to lists.

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
