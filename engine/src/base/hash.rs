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

/// Keyed BLAKE3 of bytes of any length; most keys are a [`purpose_key`].
pub fn keyed(key: &Hash, bytes: &[u8]) -> Hash {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// Keyed BLAKE3 of many inputs of one length, a multiple of 64 up to 1024 bytes: the same as [`keyed`] on each, in as
/// many SIMD lanes as the processor has.
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

/// Root of the 16-wide tree over `leaves`, in place: level by level the hashes of groups of 16 (the last group filled
/// with zeros) replace the leaves, until one is left; the root hashes that one together with the number of leaves. No
/// leaves: the hash of zero and count 0.
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

/// All levels of the tree of [`list_root`], for whoever wants many paths of it.
pub struct ListTree {
    /// From the leaves up to the last level that has more than one.
    levels: Vec<Vec<Hash>>,
}

impl ListTree {
    /// Of these leaves, in their order.
    pub fn of(node_key: &Hash, leaves: Vec<Hash>) -> ListTree {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above =
                level.chunks(FAN_OUT).map(|group| keyed(node_key, bytemuck::bytes_of(&filled(group)))).collect();
            levels.push(above);
        }
        ListTree { levels }
    }

    /// The path of one leaf: on each level the group that it is in.
    ///
    /// # Panics
    /// When there is no such leaf.
    pub fn path(&self, index: usize) -> Vec<[Hash; FAN_OUT]> {
        assert!(index < self.levels[0].len(), "there is such a leaf");
        let (mut path, mut group) = (Vec::with_capacity(self.levels.len()), index / FAN_OUT);
        for level in self.levels.iter().filter(|level| level.len() > 1) {
            let end = (FAN_OUT * (group + 1)).min(level.len());
            path.push(filled(&level[FAN_OUT * group..end]));
            group /= FAN_OUT;
        }
        path
    }
}

/// A group with zeros behind it.
fn filled(group: &[Hash]) -> [Hash; FAN_OUT] {
    let mut children = [[0; 32]; FAN_OUT];
    children[..group.len()].copy_from_slice(group);
    children
}

/// Whether a path leads from `leaf` at `index` to the root of a list of `count` leaves.
pub fn list_path_holds(
    node_key: &Hash,
    leaf: &Hash,
    index: usize,
    count: usize,
    path: &[[Hash; FAN_OUT]],
    root: &Hash,
) -> bool {
    let (mut hash, mut at, mut width) = (*leaf, index, count);
    if index >= count {
        return false;
    }
    for children in path {
        if width <= 1 || children[at % FAN_OUT] != hash {
            return false;
        }
        hash = keyed(node_key, bytemuck::bytes_of(children));
        (at, width) = (at / FAN_OUT, width.div_ceil(FAN_OUT));
    }
    let mut top = [0u8; 40];
    top[..32].copy_from_slice(&hash);
    top[32..].copy_from_slice(&(count as u64).to_le_bytes());
    width == 1 && keyed(node_key, &top) == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_its_leaf_to_the_root_and_from_no_other() {
        let key = purpose_key("test");
        for count in [1usize, 2, 15, 16, 17, 255, 257, 300] {
            let leaves: Vec<Hash> = (0..count).map(|leaf| keyed(&key, &leaf.to_le_bytes())).collect();
            let root = list_root(&key, &mut leaves.clone());
            let indices = [0, count / 2, count - 1];
            let tree = ListTree::of(&key, leaves.clone());
            for (index, path) in indices.into_iter().map(|index| (index, tree.path(index))) {
                assert!(list_path_holds(&key, &leaves[index], index, count, &path, &root));
                assert!(!list_path_holds(&key, &leaves[index], index + 1, count, &path, &root));
                assert!(!list_path_holds(&key, &[9; 32], index, count, &path, &root));
                assert!(!list_path_holds(&key, &leaves[index], index, count + 1, &path, &root));
                assert!(path.is_empty() || !list_path_holds(&key, &leaves[index], index, count, &path[1..], &root));
            }
        }
    }

    #[test]
    fn many_hashes_at_once_are_the_same_hashes() {
        let key = purpose_key("test");
        for count in [0, 1, 2, 7, 15, 16, 17, 40] {
            let inputs: Vec<[u8; 384]> =
                (0..count).map(|i| std::array::from_fn(|at| (i * 7 + at * 13) as u8)).collect();
            let mut out = vec![[0; 32]; count];
            keyed_many(&key, &inputs.iter().collect::<Vec<_>>(), &mut out);
            assert!(inputs.iter().zip(&out).all(|(input, hash)| keyed(&key, input) == *hash));
        }
    }
}
