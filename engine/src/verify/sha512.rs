//! SHA-512 of R | A | prefix | message for the one message length that transactions have, a signature in each lane.
//!
//! 32 + 32 + 160 bytes are two blocks. The message schedule is kept in a ring of sixteen vectors; words are read by a
//! transposition of each lane's padded bytes. Other lengths take the scalar way.

use super::signed::Signed;
use sha2::{Digest, Sha512};

/// Bytes of prefix and message that the lanes are made for.
pub(super) const SIGNED_BYTES: usize = crate::base::limits::SIGNED_BYTES;
/// R, A and those, padded to whole blocks.
pub(super) const PADDED_BYTES: usize = 256;
const INPUT_BYTES: usize = 64 + SIGNED_BYTES;
const _: () = assert!(INPUT_BYTES + 17 <= PADDED_BYTES && INPUT_BYTES + 17 > PADDED_BYTES / 2);

/// A padded input, aligned for vector loads.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Padded([u8; PADDED_BYTES]);

impl Padded {
    pub(super) const EMPTY: Padded = {
        let mut bytes = [0; PADDED_BYTES];
        bytes[INPUT_BYTES] = 0x80;
        let length = (8 * INPUT_BYTES as u64).to_be_bytes();
        let mut i = 0;
        while i < 8 {
            bytes[PADDED_BYTES - 8 + i] = length[i];
            i += 1;
        }
        Padded(bytes)
    };

    /// Fills in a signature's input; false when its length is not the lanes'.
    #[inline]
    pub(super) fn fill(&mut self, signed: &Signed<'_>) -> bool {
        if signed.prefix.len() != 32 || signed.message.len() != SIGNED_BYTES - 32 {
            return false;
        }
        self.0[..32].copy_from_slice(&signed.signature[..32]);
        self.0[32..64].copy_from_slice(signed.key);
        self.0[64..96].copy_from_slice(signed.prefix);
        self.0[96..INPUT_BYTES].copy_from_slice(signed.message);
        true
    }

    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "read by vector code only"))]
    pub(super) fn bytes(&self) -> &[u8; PADDED_BYTES] {
        &self.0
    }
}

/// The scalar reference: the digest as a little-endian number.
pub(super) fn scalar(signed: &Signed<'_>) -> [u64; 8] {
    let digest: [u8; 64] = Sha512::new()
        .chain_update(&signed.signature[..32])
        .chain_update(signed.key)
        .chain_update(signed.prefix)
        .chain_update(signed.message)
        .finalize()
        .into();
    std::array::from_fn(|i| u64::from_le_bytes(digest[8 * i..8 * i + 8].try_into().expect("8 bytes")))
}

/// 64-bit words, one a lane. As with fields, vector types must only be used where their instructions exist.
pub(super) trait Words: Copy {
    fn splat(word: u64) -> Self;
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn shift_right<const BITS: u32>(self) -> Self;
    fn rotate_right<const BITS: u32>(self) -> Self;
    /// e ? f : g, bit by bit.
    fn choose(self, f: Self, g: Self) -> Self;
    fn majority(self, b: Self, c: Self) -> Self;
    /// Sixteen big-endian words of each input, from byte `at` on.
    fn load(inputs: &[Padded], at: usize) -> [Self; 16];
    /// Word `i` of every lane's digest, as little-endian words, to `digests[lane][i]`.
    fn store(state: [Self; 8], digests: &mut [[u64; 8]]);
}

const K: [u64; 80] = [
    0x428a2f98d728ae22,
    0x7137449123ef65cd,
    0xb5c0fbcfec4d3b2f,
    0xe9b5dba58189dbbc,
    0x3956c25bf348b538,
    0x59f111f1b605d019,
    0x923f82a4af194f9b,
    0xab1c5ed5da6d8118,
    0xd807aa98a3030242,
    0x12835b0145706fbe,
    0x243185be4ee4b28c,
    0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f,
    0x80deb1fe3b1696b1,
    0x9bdc06a725c71235,
    0xc19bf174cf692694,
    0xe49b69c19ef14ad2,
    0xefbe4786384f25e3,
    0x0fc19dc68b8cd5b5,
    0x240ca1cc77ac9c65,
    0x2de92c6f592b0275,
    0x4a7484aa6ea6e483,
    0x5cb0a9dcbd41fbd4,
    0x76f988da831153b5,
    0x983e5152ee66dfab,
    0xa831c66d2db43210,
    0xb00327c898fb213f,
    0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2,
    0xd5a79147930aa725,
    0x06ca6351e003826f,
    0x142929670a0e6e70,
    0x27b70a8546d22ffc,
    0x2e1b21385c26c926,
    0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df,
    0x650a73548baf63de,
    0x766a0abb3c77b2a8,
    0x81c2c92e47edaee6,
    0x92722c851482353b,
    0xa2bfe8a14cf10364,
    0xa81a664bbc423001,
    0xc24b8b70d0f89791,
    0xc76c51a30654be30,
    0xd192e819d6ef5218,
    0xd69906245565a910,
    0xf40e35855771202a,
    0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8,
    0x1e376c085141ab53,
    0x2748774cdf8eeb99,
    0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63,
    0x4ed8aa4ae3418acb,
    0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc,
    0x78a5636f43172f60,
    0x84c87814a1f0ab72,
    0x8cc702081a6439ec,
    0x90befffa23631e28,
    0xa4506cebde82bde9,
    0xbef9a3f7b2c67915,
    0xc67178f2e372532b,
    0xca273eceea26619c,
    0xd186b8c721c0c207,
    0xeada7dd6cde0eb1e,
    0xf57d4f7fee6ed178,
    0x06f067aa72176fba,
    0x0a637dc5a2c898a6,
    0x113f9804bef90dae,
    0x1b710b35131c471b,
    0x28db77f523047d84,
    0x32caab7b40c72493,
    0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6,
    0x597f299cfc657e2a,
    0x5fcb6fab3ad6faec,
    0x6c44198c4a475817,
];

const INITIAL: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

/// Hashes as many inputs as there are lanes.
#[inline(always)]
pub(super) fn lanes<W: Words>(inputs: &[Padded], digests: &mut [[u64; 8]]) {
    let mut state = INITIAL.map(W::splat);
    for block in 0..PADDED_BYTES / 128 {
        let mut w = W::load(inputs, 128 * block);
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for group in 0..5 {
            for i in 0..16 {
                if group > 0 {
                    let (w15, w2) = (w[(i + 1) % 16], w[(i + 14) % 16]);
                    let small0 = w15.rotate_right::<1>().xor(w15.rotate_right::<8>()).xor(w15.shift_right::<7>());
                    let small1 = w2.rotate_right::<19>().xor(w2.rotate_right::<61>()).xor(w2.shift_right::<6>());
                    w[i] = w[i].add(small0).add(w[(i + 9) % 16]).add(small1);
                }
                let big1 = e.rotate_right::<14>().xor(e.rotate_right::<18>()).xor(e.rotate_right::<41>());
                let t1 = h.add(big1).add(e.choose(f, g)).add(W::splat(K[16 * group + i])).add(w[i]);
                let big0 = a.rotate_right::<28>().xor(a.rotate_right::<34>()).xor(a.rotate_right::<39>());
                let t2 = big0.add(a.majority(b, c));
                (h, g, f, e) = (g, f, e, d.add(t1));
                (d, c, b, a) = (c, b, a, t1.add(t2));
            }
        }
        for (sum, word) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *sum = sum.add(word);
        }
    }
    W::store(state, digests);
}
