//! Four 64-bit words at once with AVX2.

use super::sha512::{Padded, Words};
use super::vectors::transposed4;
use std::arch::x86_64::*;

/// Four 64-bit words in one vector, a lane each.
#[derive(Clone, Copy)]
pub(super) struct Words4(__m256i);

// SAFETY (for every `unsafe` below): the intrinsics need AVX2; `Words4` values exist only inside functions that `simd`
// enters after detecting it. Loads and stores name arrays of sufficient length. Closures are avoided: they would be
// compiled without AVX2 and call every instruction.

#[inline(always)]
fn swapped(words: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe {
        let order = _mm256_broadcastsi128_si256(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
        _mm256_shuffle_epi8(words, order)
    }
}

/// Four words of an input, from byte `at` on.
#[inline(always)]
fn row(input: &Padded, at: usize) -> __m256i {
    // SAFETY: the slice has the 32 bytes that are loaded.
    unsafe { swapped(_mm256_loadu_si256(input.bytes()[at..at + 32].as_ptr().cast())) }
}

impl Words for Words4 {
    #[inline(always)]
    fn splat(word: u64) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe { _mm256_set1_epi64x(word as i64) })
    }

    #[inline(always)]
    fn add(self, other: Words4) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe { _mm256_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Words4) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn shift_right<const BITS: u32>(self) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe { _mm256_srl_epi64(self.0, _mm_cvtsi32_si128(BITS as i32)) })
    }

    #[inline(always)]
    fn rotate_right<const BITS: u32>(self) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe {
            let (right, left) = (_mm_cvtsi32_si128(BITS as i32), _mm_cvtsi32_si128(64 - BITS as i32));
            _mm256_or_si256(_mm256_srl_epi64(self.0, right), _mm256_sll_epi64(self.0, left))
        })
    }

    #[inline(always)]
    fn choose(self, f: Words4, g: Words4) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe { _mm256_xor_si256(g.0, _mm256_and_si256(self.0, _mm256_xor_si256(f.0, g.0))) })
    }

    #[inline(always)]
    fn majority(self, b: Words4, c: Words4) -> Words4 {
        // SAFETY: see the note at the head.
        Words4(unsafe {
            _mm256_or_si256(_mm256_and_si256(self.0, b.0), _mm256_and_si256(c.0, _mm256_or_si256(self.0, b.0)))
        })
    }

    #[inline(always)]
    fn load(inputs: &[Padded], at: usize) -> [Words4; 16] {
        macro_rules! quarter {
            ($offset:literal) => {
                transposed4([
                    row(&inputs[0], at + $offset),
                    row(&inputs[1], at + $offset),
                    row(&inputs[2], at + $offset),
                    row(&inputs[3], at + $offset),
                ])
            };
        }
        let (a, b, c, d) = (quarter!(0), quarter!(32), quarter!(64), quarter!(96));
        [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]].map(Words4)
    }

    #[inline(always)]
    fn store(state: [Words4; 8], digests: &mut [[u64; 8]]) {
        for half in 0..2 {
            let s = &state[4 * half..];
            let rows = transposed4([swapped(s[0].0), swapped(s[1].0), swapped(s[2].0), swapped(s[3].0)]);
            for (row, digest) in rows.into_iter().zip(digests.iter_mut()) {
                // SAFETY: a digest has eight words, the half begins at 0 or 4.
                unsafe { _mm256_storeu_si256(digest[4 * half..].as_mut_ptr().cast(), row) }
            }
        }
    }
}
