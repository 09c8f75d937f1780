//! Vectors of 64-bit words, a lane each: what fields and hashes are written in.
//!
//! The methods must only run where their instructions exist: values are made only inside functions that [`super::simd`]
//! calls after looking. Closures and `array::map` are avoided: they would be compiled without those features and call
//! every instruction.

use std::arch::x86_64::*;

/// A vector of 64-bit words.
pub(super) trait Vector: Copy {
    const LANES: usize;

    fn splat(word: u64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn shifted_left<const BITS: u32>(self) -> Self;
    fn shifted_right<const BITS: u32>(self) -> Self;
    /// The same, as something that the compiler knows nothing of: it would make a multiplication of shifts and sums, and
    /// that out of several vector ones.
    fn opaque(self) -> Self;
    /// Lane i of `one` where bit i of the mask is set, else of `other`.
    fn select(mask: u32, one: Self, other: Self) -> Self;
    /// Bit i: lane i is zero.
    fn zeros(self) -> u32;
    /// Bit i: lane i is odd.
    fn odds(self) -> u32;
    /// Eight words from `at` on of the rows that the indices name, one a lane, word by word.
    fn columns<const WORDS: usize, R: AsRef<[u64; WORDS]>>(rows: &[R], indices: &[u32], at: usize) -> [Self; 8];
    /// The opposite, for the first `count` lanes.
    fn write_rows<const WORDS: usize, R: AsMut<[u64; WORDS]>>(
        columns: [Self; 8],
        rows: &mut [R],
        indices: &[u32; 8],
        count: usize,
        at: usize,
    );
}

/// A vector that multiplies the low 52 bits of words.
pub(super) trait Ifma: Vector {
    /// The sum and the low 52 bits of a product.
    fn low(sum: Self, a: Self, b: Self) -> Self;
    /// The sum and the high 52 bits of a product.
    fn high(sum: Self, a: Self, b: Self) -> Self;
}

// SAFETY (for every `unsafe` below): the intrinsics need what the type's description says; values exist only inside
// functions that `simd` enters after detecting it. Loads and stores name arrays of sufficient length.

/// Four words from `at` on.
#[inline(always)]
pub(super) fn load4<const WORDS: usize>(words: &[u64; WORDS], at: usize) -> __m256i {
    assert!(at + 4 <= WORDS);
    // SAFETY: four words from `at` are inside; no alignment is asked for.
    unsafe { _mm256_loadu_si256(words.as_ptr().add(at).cast()) }
}

/// The opposite of [`load4`].
#[inline(always)]
pub(super) fn store4<const WORDS: usize>(words: &mut [u64; WORDS], at: usize, row: __m256i) {
    assert!(at + 4 <= WORDS);
    // SAFETY: four words from `at` are inside; no alignment is asked for.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().add(at).cast(), row) }
}

/// Eight words from `at` on.
#[inline(always)]
fn load8<const WORDS: usize>(words: &[u64; WORDS], at: usize) -> __m512i {
    assert!(at + 8 <= WORDS);
    // SAFETY: eight words from `at` are inside; no alignment is asked for.
    unsafe { _mm512_loadu_si512(words.as_ptr().add(at).cast()) }
}

/// The opposite of [`load8`].
#[inline(always)]
fn store8<const WORDS: usize>(words: &mut [u64; WORDS], at: usize, row: __m512i) {
    assert!(at + 8 <= WORDS);
    // SAFETY: eight words from `at` are inside; no alignment is asked for.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().add(at).cast(), row) }
}

/// Four rows of four words become four columns. Needs AVX2.
#[inline(always)]
pub(super) fn transposed4(rows: [__m256i; 4]) -> [__m256i; 4] {
    // SAFETY: see above.
    unsafe {
        let (a, b) = (_mm256_unpacklo_epi64(rows[0], rows[1]), _mm256_unpackhi_epi64(rows[0], rows[1]));
        let (c, d) = (_mm256_unpacklo_epi64(rows[2], rows[3]), _mm256_unpackhi_epi64(rows[2], rows[3]));
        [
            _mm256_permute2x128_si256::<0x20>(a, c),
            _mm256_permute2x128_si256::<0x20>(b, d),
            _mm256_permute2x128_si256::<0x31>(a, c),
            _mm256_permute2x128_si256::<0x31>(b, d),
        ]
    }
}

/// Eight rows of eight words become eight columns. Needs AVX-512 F.
#[inline(always)]
pub(super) fn transposed8(rows: [__m512i; 8]) -> [__m512i; 8] {
    // SAFETY: see above.
    unsafe {
        macro_rules! pairs {
            ($i:literal) => {
                (_mm512_unpacklo_epi64(rows[$i], rows[$i + 1]), _mm512_unpackhi_epi64(rows[$i], rows[$i + 1]))
            };
        }
        macro_rules! quads {
            ($x:ident, $y:ident) => {
                (_mm512_shuffle_i64x2::<0x88>($x, $y), _mm512_shuffle_i64x2::<0xdd>($x, $y))
            };
        }
        let ((a0, a1), (a2, a3), (a4, a5), (a6, a7)) = (pairs!(0), pairs!(2), pairs!(4), pairs!(6));
        // Within each 128-bit block now two lanes of one column; gather the blocks.
        let ((b0, b2), (b1, b3)) = (quads!(a0, a2), quads!(a1, a3));
        let ((b4, b6), (b5, b7)) = (quads!(a4, a6), quads!(a5, a7));
        let ((c0, c4), (c2, c6)) = (quads!(b0, b4), quads!(b2, b6));
        let ((c1, c5), (c3, c7)) = (quads!(b1, b5), quads!(b3, b7));
        [c0, c1, c2, c3, c4, c5, c6, c7]
    }
}

/// Eight lanes: AVX-512 F, DQ, VL, BW and IFMA.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Zmm(__m512i);

impl Vector for Zmm {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(word: u64) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_set1_epi64(word as i64) })
    }

    #[inline(always)]
    fn add(self, other: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_and_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_or_si512(self.0, other.0) })
    }

    #[inline(always)]
    fn shifted_left<const BITS: u32>(self) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_slli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn shifted_right<const BITS: u32>(self) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_srli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn opaque(self) -> Zmm {
        // AVX-512 DQ multiplies words in one instruction, so there is nothing to hide.
        self
    }

    #[inline(always)]
    fn select(mask: u32, one: Zmm, other: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_mask_blend_epi64(mask as __mmask8, other.0, one.0) })
    }

    #[inline(always)]
    fn zeros(self) -> u32 {
        // SAFETY: see above.
        unsafe { u32::from(_mm512_testn_epi64_mask(self.0, self.0)) }
    }

    #[inline(always)]
    fn odds(self) -> u32 {
        // SAFETY: see above.
        unsafe { u32::from(_mm512_test_epi64_mask(self.0, Zmm::splat(1).0)) }
    }

    #[inline(always)]
    fn columns<const WORDS: usize, R: AsRef<[u64; WORDS]>>(rows: &[R], indices: &[u32], at: usize) -> [Zmm; 8] {
        macro_rules! row {
            ($lane:literal) => {
                load8(rows[indices[$lane] as usize].as_ref(), at)
            };
        }
        let [a, b, c, d, e, f, g, h] =
            transposed8([row!(0), row!(1), row!(2), row!(3), row!(4), row!(5), row!(6), row!(7)]);
        [Zmm(a), Zmm(b), Zmm(c), Zmm(d), Zmm(e), Zmm(f), Zmm(g), Zmm(h)]
    }

    #[inline(always)]
    fn write_rows<const WORDS: usize, R: AsMut<[u64; WORDS]>>(
        columns: [Zmm; 8],
        rows: &mut [R],
        indices: &[u32; 8],
        count: usize,
        at: usize,
    ) {
        let [a, b, c, d, e, f, g, h] = columns;
        let written = transposed8([a.0, b.0, c.0, d.0, e.0, f.0, g.0, h.0]);
        for lane in 0..count.min(8) {
            store8(rows[indices[lane] as usize].as_mut(), at, written[lane]);
        }
    }
}

impl Ifma for Zmm {
    #[inline(always)]
    fn low(sum: Zmm, a: Zmm, b: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_madd52lo_epu64(sum.0, a.0, b.0) })
    }

    #[inline(always)]
    fn high(sum: Zmm, a: Zmm, b: Zmm) -> Zmm {
        // SAFETY: see above.
        Zmm(unsafe { _mm512_madd52hi_epu64(sum.0, a.0, b.0) })
    }
}

macro_rules! four_lanes {
    ($(#[$doc:meta])* $name:ident, $low:ident, $high:ident) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy)]
        pub(super) struct $name(__m256i);

        impl Vector for $name {
            const LANES: usize = 4;

            #[inline(always)]
            fn splat(word: u64) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_set1_epi64x(word as i64) })
            }

            #[inline(always)]
            fn add(self, other: $name) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_add_epi64(self.0, other.0) })
            }

            #[inline(always)]
            fn sub(self, other: $name) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_sub_epi64(self.0, other.0) })
            }

            #[inline(always)]
            fn and(self, other: $name) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_and_si256(self.0, other.0) })
            }

            #[inline(always)]
            fn or(self, other: $name) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_or_si256(self.0, other.0) })
            }

            #[inline(always)]
            fn shifted_left<const BITS: u32>(self) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_sll_epi64(self.0, _mm_cvtsi32_si128(BITS as i32)) })
            }

            #[inline(always)]
            fn shifted_right<const BITS: u32>(self) -> $name {
                // SAFETY: see above.
                $name(unsafe { _mm256_srl_epi64(self.0, _mm_cvtsi32_si128(BITS as i32)) })
            }

            #[inline(always)]
            fn opaque(self) -> $name {
                // SAFETY: see above.
                unsafe { $name(opaque4(self.0)) }
            }

            #[inline(always)]
            fn select(mask: u32, one: $name, other: $name) -> $name {
                // SAFETY: see above.
                unsafe {
                    let each = _mm256_set_epi64x(8, 4, 2, 1);
                    let lanes = _mm256_cmpeq_epi64(_mm256_and_si256($name::splat(u64::from(mask)).0, each), each);
                    $name(_mm256_blendv_epi8(other.0, one.0, lanes))
                }
            }

            #[inline(always)]
            fn zeros(self) -> u32 {
                // SAFETY: see above.
                unsafe {
                    let zero = _mm256_cmpeq_epi64(self.0, _mm256_setzero_si256());
                    _mm256_movemask_pd(_mm256_castsi256_pd(zero)) as u32
                }
            }

            #[inline(always)]
            fn odds(self) -> u32 {
                // SAFETY: see above.
                unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_slli_epi64::<63>(self.0))) as u32 }
            }

            #[inline(always)]
            fn columns<const WORDS: usize, R: AsRef<[u64; WORDS]>>(
                rows: &[R],
                indices: &[u32],
                at: usize,
            ) -> [$name; 8] {
                let (p, q) = (rows[indices[0] as usize].as_ref(), rows[indices[1] as usize].as_ref());
                let (r, s) = (rows[indices[2] as usize].as_ref(), rows[indices[3] as usize].as_ref());
                let [a, b, c, d] = transposed4([load4(p, at), load4(q, at), load4(r, at), load4(s, at)]);
                let at = at + 4;
                let [e, f, g, h] = transposed4([load4(p, at), load4(q, at), load4(r, at), load4(s, at)]);
                [$name(a), $name(b), $name(c), $name(d), $name(e), $name(f), $name(g), $name(h)]
            }

            #[inline(always)]
            fn write_rows<const WORDS: usize, R: AsMut<[u64; WORDS]>>(
                columns: [$name; 8],
                rows: &mut [R],
                indices: &[u32; 8],
                count: usize,
                at: usize,
            ) {
                let [a, b, c, d, e, f, g, h] = columns;
                let (one, other) = (transposed4([a.0, b.0, c.0, d.0]), transposed4([e.0, f.0, g.0, h.0]));
                for lane in 0..count.min(4) {
                    let row = rows[indices[lane] as usize].as_mut();
                    store4(row, at, one[lane]);
                    store4(row, at + 4, other[lane]);
                }
            }
        }

        impl Ifma for $name {
            #[inline(always)]
            fn low(sum: $name, a: $name, b: $name) -> $name {
                // SAFETY: see above.
                $name(unsafe { $low(sum.0, a.0, b.0) })
            }

            #[inline(always)]
            fn high(sum: $name, a: $name, b: $name) -> $name {
                // SAFETY: see above.
                $name(unsafe { $high(sum.0, a.0, b.0) })
            }
        }
    };
}

/// What [`Vector::opaque`] is for four lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn opaque4(mut a: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe { std::arch::asm!("/* {0} */", inout(ymm_reg) a, options(pure, nomem, nostack, preserves_flags)) }
    a
}

four_lanes!(
    /// Four lanes: AVX2 and AVX-IFMA.
    Ymm,
    _mm256_madd52lo_avx_epu64,
    _mm256_madd52hi_avx_epu64
);
four_lanes!(
    /// Four lanes: AVX-512 VL and IFMA. The same instructions as those of [`Ymm`], in another encoding.
    YmmEvex,
    _mm256_madd52lo_epu64,
    _mm256_madd52hi_epu64
);
