//! Eight 64-bit words at once with AVX-512: rotations and three-way logic are single instructions.

use super::sha512::{Padded, Words};
use super::vectors::transposed8;
use std::arch::x86_64::*;

/// Eight 64-bit words in one vector, a lane each.
#[derive(Clone, Copy)]
pub(super) struct Words8(__m512i);

// SAFETY (for every `unsafe` below): the intrinsics need AVX-512 F and BW; `Words8` values exist only inside functions
// that `simd` enters after detecting them. Loads and stores name arrays of sufficient length. Closures are avoided:
// they would be compiled without these features and call every instruction.

/// Big-endian words become little-endian ones.
#[inline(always)]
fn swapped(words: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe {
        let order = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
        _mm512_shuffle_epi8(words, order)
    }
}

macro_rules! rotate {
    ($word:expr, $bits:expr, $($known:literal)+) => {
        // The intrinsic wants a signed constant; these are the amounts that SHA-512 has.
        match $bits { $($known => _mm512_ror_epi64::<$known>($word),)+ _ => unreachable!() }
    };
}

macro_rules! shift {
    ($word:expr, $bits:expr, $($known:literal)+) => {
        match $bits { $($known => _mm512_srli_epi64::<$known>($word),)+ _ => unreachable!() }
    };
}

/// Eight words of an input, from byte `at` on.
#[inline(always)]
fn row(input: &Padded, at: usize) -> __m512i {
    // SAFETY: the slice has the 64 bytes that are loaded.
    unsafe { swapped(_mm512_loadu_si512(input.bytes()[at..at + 64].as_ptr().cast())) }
}

impl Words for Words8 {
    #[inline(always)]
    fn splat(word: u64) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { _mm512_set1_epi64(word as i64) })
    }

    #[inline(always)]
    fn add(self, other: Words8) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Words8) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { _mm512_xor_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { shift!(self.0, BITS, 6 7) })
    }

    #[inline(always)]
    fn rotate_right<const BITS: u32>(self) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { rotate!(self.0, BITS, 1 8 14 18 19 28 34 39 41 61) })
    }

    #[inline(always)]
    fn choose(self, f: Words8, g: Words8) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { _mm512_ternarylogic_epi64::<0xca>(self.0, f.0, g.0) })
    }

    #[inline(always)]
    fn majority(self, b: Words8, c: Words8) -> Words8 {
        // SAFETY: see the note at the head.
        Words8(unsafe { _mm512_ternarylogic_epi64::<0xe8>(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn load(inputs: &[Padded], at: usize) -> [Words8; 16] {
        macro_rules! half {
            ($offset:literal) => {
                transposed8([
                    row(&inputs[0], at + $offset),
                    row(&inputs[1], at + $offset),
                    row(&inputs[2], at + $offset),
                    row(&inputs[3], at + $offset),
                    row(&inputs[4], at + $offset),
                    row(&inputs[5], at + $offset),
                    row(&inputs[6], at + $offset),
                    row(&inputs[7], at + $offset),
                ])
            };
        }
        let (a, b) = (half!(0), half!(64));
        [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]].map(Words8)
    }

    #[inline(always)]
    fn store(state: [Words8; 8], digests: &mut [[u64; 8]]) {
        let [a, b, c, d, e, f, g, h] = state;
        let words = [
            swapped(a.0),
            swapped(b.0),
            swapped(c.0),
            swapped(d.0),
            swapped(e.0),
            swapped(f.0),
            swapped(g.0),
            swapped(h.0),
        ];
        for (row, digest) in transposed8(words).into_iter().zip(digests) {
            // SAFETY: a digest has eight words.
            unsafe { _mm512_storeu_si512(digest.as_mut_ptr().cast(), row) }
        }
    }
}
