//! Eight field elements at once with AVX-512 IFMA: five limbs of 51 bits, a vector of eight lanes each.
//!
//! `vpmadd52` multiplies the low 52 bits of its arguments and adds the low or the high 52 bits of the product. Limbs are 51
//! bits apart, so a high half counts twice in the next limb:
//!
//! ```text
//!   z[k] = sum of low halves of a[i] b[j], i + j = k        w[k] = the same of high halves
//!   limb k of the product = z[k] + 2 w[k-1], and limbs 5..10 come back 19-fold
//! ```
//!
//! Arguments are weak (below 2^52, as the instruction needs); sums are below 2^61; a pass of carries makes them weak again.

use super::field::{FOUR_P, Fe, Field, MASK_51, Packed, WEAK};
use std::arch::x86_64::*;

/// Eight weak elements.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Fe8([__m512i; 5]);

const LANES: usize = 8;

// SAFETY (for every `unsafe` below): the intrinsics need AVX-512 F, DQ, VL, BW and IFMA; `Fe8` values exist only inside
// functions that `simd` enters after detecting all of them. Loads and stores name arrays of sufficient length.

#[inline(always)]
fn add64(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_add_epi64(a, b) }
}

#[inline(always)]
fn low(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_madd52lo_epu64(sum, a, b) }
}

#[inline(always)]
fn high(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_madd52hi_epu64(sum, a, b) }
}

#[inline(always)]
fn splat64(value: u64) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_set1_epi64(value as i64) }
}

#[inline(always)]
fn double(a: __m512i) -> __m512i {
    add64(a, a)
}

/// 19 a for a below 2^59.
#[inline(always)]
fn times19(a: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { add64(add64(_mm512_slli_epi64::<4>(a), double(a)), a) }
}

/// One pass of carries over limbs below 2^62: weak afterwards (a carry is below 2^11, 19 of them below 2^15.3 only for limbs
/// above 2^61.8; sums here stay below 2^61).
#[inline(always)]
fn carried(limbs: [__m512i; 5]) -> Fe8 {
    let [a, b, c, d, e] = limbs;
    // SAFETY: see above.
    unsafe {
        let mask = splat64(MASK_51);
        let carry = |limb| _mm512_srli_epi64::<51>(limb);
        let rest = |limb| _mm512_and_si512(limb, mask);
        Fe8([
            low(rest(a), carry(e), splat64(19)),
            add64(rest(b), carry(a)),
            add64(rest(c), carry(b)),
            add64(rest(d), carry(c)),
            add64(rest(e), carry(d)),
        ])
        .checked()
    }
}

impl Fe8 {
    #[inline(always)]
    fn checked(self) -> Fe8 {
        if cfg!(debug_assertions) {
            assert!(self.words().iter().all(|&limb| limb < WEAK));
        }
        self
    }
}

/// Limbs of a product from its ten halves.
#[inline(always)]
fn folded(z: [__m512i; 9], w: [__m512i; 9]) -> Fe8 {
    let upper = [add64(z[5], double(w[4])), add64(z[6], double(w[5])), add64(z[7], double(w[6])), add64(z[8], double(w[7])), double(w[8])];
    carried([
        add64(z[0], times19(upper[0])),
        add64(add64(z[1], double(w[0])), times19(upper[1])),
        add64(add64(z[2], double(w[1])), times19(upper[2])),
        add64(add64(z[3], double(w[2])), times19(upper[3])),
        add64(add64(z[4], double(w[3])), times19(upper[4])),
    ])
}

/// Out of line on purpose: a point operation with seven of these inlined spills more than the call costs.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
fn mul8(a: &Fe8, b: &Fe8) -> Fe8 {
    let zero = splat64(0);
    let (mut z, mut w) = ([zero; 9], [zero; 9]);
    let (a, b) = (a.0, b.0);
    macro_rules! row {
        ($i:literal) => {
            z[$i] = low(z[$i], a[$i], b[0]);
            w[$i] = high(w[$i], a[$i], b[0]);
            z[$i + 1] = low(z[$i + 1], a[$i], b[1]);
            w[$i + 1] = high(w[$i + 1], a[$i], b[1]);
            z[$i + 2] = low(z[$i + 2], a[$i], b[2]);
            w[$i + 2] = high(w[$i + 2], a[$i], b[2]);
            z[$i + 3] = low(z[$i + 3], a[$i], b[3]);
            w[$i + 3] = high(w[$i + 3], a[$i], b[3]);
            z[$i + 4] = low(z[$i + 4], a[$i], b[4]);
            w[$i + 4] = high(w[$i + 4], a[$i], b[4]);
        };
    }
    row!(0);
    row!(1);
    row!(2);
    row!(3);
    row!(4);
    folded(z, w)
}

/// A run of squarings with the limbs in registers. Cross products count twice: their sums are doubled once before the
/// squares are added.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx512ifma")]
fn square_times8(a: &Fe8, times: usize) -> Fe8 {
    let mut value = *a;
    for _ in 0..times {
        let a = value.0;
        let zero = splat64(0);
        let (mut z, mut w) = ([zero; 9], [zero; 9]);
        macro_rules! cross {
            ($i:literal, $j:literal) => {
                z[$i + $j] = low(z[$i + $j], a[$i], a[$j]);
                w[$i + $j] = high(w[$i + $j], a[$i], a[$j]);
            };
        }
        cross!(0, 1);
        cross!(0, 2);
        cross!(0, 3);
        cross!(0, 4);
        cross!(1, 2);
        cross!(1, 3);
        cross!(1, 4);
        cross!(2, 3);
        cross!(2, 4);
        cross!(3, 4);
        for k in 1..8 {
            z[k] = double(z[k]);
            w[k] = double(w[k]);
        }
        for i in 0..5 {
            z[2 * i] = low(z[2 * i], a[i], a[i]);
            w[2 * i] = high(w[2 * i], a[i], a[i]);
        }
        value = folded(z, w);
    }
    value
}

/// Eight rows of eight words become eight columns.
#[inline(always)]
pub(super) fn transposed(rows: [__m512i; 8]) -> [__m512i; 8] {
    // SAFETY: see the note at the head.
    unsafe {
        let pairs = |i: usize| (_mm512_unpacklo_epi64(rows[i], rows[i + 1]), _mm512_unpackhi_epi64(rows[i], rows[i + 1]));
        let ((a0, a1), (a2, a3), (a4, a5), (a6, a7)) = (pairs(0), pairs(2), pairs(4), pairs(6));
        // Within each 128-bit block now two lanes of one column; gather the blocks.
        let quads = |x, y| (_mm512_shuffle_i64x2::<0x88>(x, y), _mm512_shuffle_i64x2::<0xdd>(x, y));
        let ((b0, b2), (b1, b3)) = (quads(a0, a2), quads(a1, a3));
        let ((b4, b6), (b5, b7)) = (quads(a4, a6), quads(a5, a7));
        let ((c0, c4), (c2, c6)) = (quads(b0, b4), quads(b2, b6));
        let ((c1, c5), (c3, c7)) = (quads(b1, b5), quads(b3, b7));
        [c0, c1, c2, c3, c4, c5, c6, c7]
    }
}

/// All lanes below p with limbs below 2^51.
#[inline(always)]
fn canonical(value: Fe8) -> [__m512i; 5] {
    // SAFETY: see the note at the head.
    unsafe {
        let mask = splat64(MASK_51);
        let mut limbs = carried(value.0).0;
        let mut over = _mm512_srli_epi64::<51>(add64(limbs[0], splat64(19)));
        for limb in &limbs[1..] {
            over = _mm512_srli_epi64::<51>(add64(*limb, over));
        }
        limbs[0] = add64(limbs[0], times19(over));
        for i in 0..4 {
            limbs[i + 1] = add64(limbs[i + 1], _mm512_srli_epi64::<51>(limbs[i]));
            limbs[i] = _mm512_and_si512(limbs[i], mask);
        }
        limbs[4] = _mm512_and_si512(limbs[4], mask);
        limbs
    }
}

impl Field for Fe8 {
    const LANES: usize = LANES;
    const LIMBS: usize = 5;

    #[inline(always)]
    fn splat(element: &Fe) -> Fe8 {
        Fe8(element.0.map(splat64))
    }

    fn from_lanes(elements: &[Fe]) -> Fe8 {
        let mut value = Fe8([splat64(0); 5]);
        let words = value.words_mut();
        for (lane, element) in elements[..LANES].iter().enumerate() {
            element.0.iter().enumerate().for_each(|(limb, &word)| words[limb * LANES + lane] = word);
        }
        value
    }

    fn to_lanes(self, elements: &mut [Fe]) {
        let words = self.words();
        for (lane, element) in elements[..LANES].iter_mut().enumerate() {
            *element = Fe(std::array::from_fn(|limb| words[limb * LANES + lane]));
        }
    }

    #[inline(always)]
    fn add(self, other: Fe8) -> Fe8 {
        let (Fe8(a), Fe8(b)) = (self, other);
        carried([add64(a[0], b[0]), add64(a[1], b[1]), add64(a[2], b[2]), add64(a[3], b[3]), add64(a[4], b[4])])
    }

    #[inline(always)]
    fn sub(self, other: Fe8) -> Fe8 {
        let (Fe8(a), Fe8(b)) = (self, other);
        // SAFETY: see the note at the head.
        let limb = |i: usize| unsafe { add64(a[i], _mm512_sub_epi64(splat64(FOUR_P[i]), b[i])) };
        carried([limb(0), limb(1), limb(2), limb(3), limb(4)])
    }

    #[inline(always)]
    fn mul(self, other: Fe8) -> Fe8 {
        // SAFETY: see the note at the head.
        unsafe { mul8(&self, &other) }
    }

    #[inline(always)]
    fn square(self) -> Fe8 {
        self.square_times(1)
    }

    #[inline(always)]
    fn square_times(self, times: usize) -> Fe8 {
        // SAFETY: see the note at the head.
        unsafe { square_times8(&self, times) }
    }

    #[inline(always)]
    fn select(mask: u32, one: Fe8, other: Fe8) -> Fe8 {
        // SAFETY: see the note at the head.
        let limb = |i: usize| unsafe { _mm512_mask_blend_epi64(mask as __mmask8, other.0[i], one.0[i]) };
        Fe8([limb(0), limb(1), limb(2), limb(3), limb(4)])
    }

    #[inline(always)]
    fn zeros(self) -> u32 {
        // SAFETY: see the note at the head.
        unsafe {
            let [a, b, c, d, e] = canonical(self);
            let any = _mm512_or_si512(_mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d)), e);
            u32::from(_mm512_testn_epi64_mask(any, any))
        }
    }

    #[inline(always)]
    fn odds(self) -> u32 {
        // SAFETY: see the note at the head.
        unsafe { u32::from(_mm512_test_epi64_mask(canonical(self)[0], splat64(1))) }
    }

    #[inline(always)]
    fn words(&self) -> &[u64] {
        // SAFETY: five vectors of eight words, without padding, borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 5 * LANES) }
    }

    #[inline(always)]
    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 5 * LANES) }
    }

    #[inline(always)]
    fn gather(points: &[Packed], indices: &[u32]) -> [Fe8; 3] {
        // SAFETY: each load reads eight of a packed point's sixteen words; the index is checked.
        unsafe {
            let row = |lane: usize, half: usize| _mm512_load_si512(points[indices[lane] as usize].0[8 * half..].as_ptr().cast());
            let first = transposed(std::array::from_fn(|lane| row(lane, 0)));
            let second = transposed(std::array::from_fn(|lane| row(lane, 1)));
            [
                Fe8([first[0], first[1], first[2], first[3], first[4]]),
                Fe8([first[5], first[6], first[7], second[0], second[1]]),
                Fe8([second[2], second[3], second[4], second[5], second[6]]),
            ]
        }
    }

    #[inline(always)]
    fn pack(coordinates: [Fe8; 3], packed: &mut [Packed]) {
        let [a, b, c] = coordinates.map(canonical);
        let first = transposed([a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2]]);
        let second = transposed([b[3], b[4], c[0], c[1], c[2], c[3], c[4], splat64(0)]);
        for (lane, packed) in packed[..LANES].iter_mut().enumerate() {
            // SAFETY: two halves of eight words each.
            unsafe {
                _mm512_store_si512(packed.0.as_mut_ptr().cast(), first[lane]);
                _mm512_store_si512(packed.0[8..].as_mut_ptr().cast(), second[lane]);
            }
        }
    }
}
