//! Eight field elements at once with AVX-512 IFMA: five limbs of 51 bits, a vector of eight lanes each.
//!
//! `vpmadd52` multiplies the low 52 bits of its arguments and adds the low or the high 52 bits of the product. Limbs
//! are 51 bits apart, so a high half counts twice in the next limb:
//!
//! ```text
//!   z[k] = sum of low halves of a[i] b[j], i + j = k        w[k] = the same of high halves
//!   limb k of the product = z[k] + 2 w[k-1], and limbs 5..10 come back 19-fold
//! ```
//!
//! Arguments are weak (below 2^52, as the instruction needs); sums are below 2^61; a pass of carries makes them weak
//! again.

use super::field::{FOUR_P, Fe, Field, MASK_51, Packed, Row, WEAK};
use std::arch::x86_64::*;

/// Eight weak elements.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Fe8([__m512i; 5]);

const LANES: usize = 8;
/// 2^9 p, limb 0 and the others: at least any product, so that a difference never goes below zero.
const WIDE_P: [u64; 2] = [(MASK_51 - 18) << 9, MASK_51 << 9];

// SAFETY (for every `unsafe` below): the intrinsics need AVX-512 F, DQ, VL, BW and IFMA; `Fe8` values exist only inside
// functions that `simd` enters after detecting all of them. Loads and stores name arrays of sufficient length. Closures
// and `array::map` are avoided: they would be compiled without these features and call every instruction.

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

#[inline(always)]
fn carry51(a: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_srli_epi64::<51>(a) }
}

#[inline(always)]
fn rest51(a: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_and_si512(a, splat64(MASK_51)) }
}

#[inline(always)]
fn sub64(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: see above.
    unsafe { _mm512_sub_epi64(a, b) }
}

/// One pass of carries over limbs below 2^62: weak afterwards (a carry is below 2^11, 19 of them below 2^15.3 only for
/// limbs above 2^61.8; sums here stay below 2^61).
#[inline(always)]
fn carried(limbs: [__m512i; 5]) -> Fe8 {
    let [a, b, c, d, e] = limbs;
    Fe8([
        low(rest51(a), carry51(e), splat64(19)),
        add64(rest51(b), carry51(a)),
        add64(rest51(c), carry51(b)),
        add64(rest51(d), carry51(c)),
        add64(rest51(e), carry51(d)),
    ])
    .checked()
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
fn folded(z: [__m512i; 9], w: [__m512i; 9]) -> [__m512i; 5] {
    let upper = [
        add64(z[5], double(w[4])),
        add64(z[6], double(w[5])),
        add64(z[7], double(w[6])),
        add64(z[8], double(w[7])),
        double(w[8]),
    ];
    [
        add64(z[0], times19(upper[0])),
        add64(add64(z[1], double(w[0])), times19(upper[1])),
        add64(add64(z[2], double(w[1])), times19(upper[2])),
        add64(add64(z[3], double(w[2])), times19(upper[3])),
        add64(add64(z[4], double(w[3])), times19(upper[4])),
    ]
}

/// Inlined on purpose: out of line, arguments and results pass through memory, which costs a tenth of the whole.
#[inline(always)]
fn mul8(a: &Fe8, b: &Fe8) -> [__m512i; 5] {
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

/// Cross products count twice: their sums are doubled once before the
/// squares are added.
#[inline(always)]
fn square8(a: &Fe8) -> [__m512i; 5] {
    let a = a.0;
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
    folded(z, w)
}

/// Eight words, from a multiple of eight on.
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

/// Eight words from `at` on of the rows that the indices name, as columns.
#[inline(always)]
fn columns<const WORDS: usize>(rows: [&[u64; WORDS]; 8], at: usize) -> [__m512i; 8] {
    transposed([
        load8(rows[0], at),
        load8(rows[1], at),
        load8(rows[2], at),
        load8(rows[3], at),
        load8(rows[4], at),
        load8(rows[5], at),
        load8(rows[6], at),
        load8(rows[7], at),
    ])
}

macro_rules! named {
    ($rows:ident, $indices:ident) => {
        [
            &$rows[$indices[0] as usize].0,
            &$rows[$indices[1] as usize].0,
            &$rows[$indices[2] as usize].0,
            &$rows[$indices[3] as usize].0,
            &$rows[$indices[4] as usize].0,
            &$rows[$indices[5] as usize].0,
            &$rows[$indices[6] as usize].0,
            &$rows[$indices[7] as usize].0,
        ]
    };
}

/// Eight rows of eight words become eight columns.
#[inline(always)]
pub(super) fn transposed(rows: [__m512i; 8]) -> [__m512i; 8] {
    // SAFETY: see the note at the head.
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

/// All lanes below p with limbs below 2^51.
#[inline(always)]
fn canonical(value: Fe8) -> [__m512i; 5] {
    let [a, b, c, d, e] = carried(value.0).0;
    // Whether the value plus 19 reaches 2^255, that is, whether it is at least p.
    let mut over = carry51(add64(a, splat64(19)));
    over = carry51(add64(b, over));
    over = carry51(add64(c, over));
    over = carry51(add64(d, over));
    over = carry51(add64(e, over));
    let a = add64(a, times19(over));
    let b = add64(b, carry51(a));
    let c = add64(c, carry51(b));
    let d = add64(d, carry51(c));
    let e = add64(e, carry51(d));
    [rest51(a), rest51(b), rest51(c), rest51(d), rest51(e)]
}

impl Field for Fe8 {
    const LANES: usize = LANES;
    const LIMBS: usize = 5;
    /// Limbs below 2^59.1: nine low halves below 2^52 and nine high ones below 2^50.1, some of them 19-fold.
    type Wide = [__m512i; 5];

    #[inline(always)]
    fn splat(element: &Fe) -> Fe8 {
        let [a, b, c, d, e] = element.0;
        Fe8([splat64(a), splat64(b), splat64(c), splat64(d), splat64(e)]).checked()
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
        carried([
            add64(a[0], sub64(splat64(FOUR_P[0]), b[0])),
            add64(a[1], sub64(splat64(FOUR_P[1]), b[1])),
            add64(a[2], sub64(splat64(FOUR_P[2]), b[2])),
            add64(a[3], sub64(splat64(FOUR_P[3]), b[3])),
            add64(a[4], sub64(splat64(FOUR_P[4]), b[4])),
        ])
    }

    #[inline(always)]
    fn mul(self, other: Fe8) -> Fe8 {
        carried(self.mul_wide(other))
    }

    #[inline(always)]
    fn mul_wide(self, other: Fe8) -> [__m512i; 5] {
        mul8(&self, &other)
    }

    #[inline(always)]
    fn widen(self) -> [__m512i; 5] {
        self.0
    }

    #[inline(always)]
    fn wide_double(a: [__m512i; 5]) -> [__m512i; 5] {
        [double(a[0]), double(a[1]), double(a[2]), double(a[3]), double(a[4])]
    }

    #[inline(always)]
    fn wide_add(a: [__m512i; 5], b: [__m512i; 5]) -> Fe8 {
        carried([add64(a[0], b[0]), add64(a[1], b[1]), add64(a[2], b[2]), add64(a[3], b[3]), add64(a[4], b[4])])
    }

    /// Below 2^60.1 (a doubled product) + 2^60, so the carries' bound holds.
    #[inline(always)]
    fn wide_sub(a: [__m512i; 5], b: [__m512i; 5]) -> Fe8 {
        carried([
            add64(a[0], sub64(splat64(WIDE_P[0]), b[0])),
            add64(a[1], sub64(splat64(WIDE_P[1]), b[1])),
            add64(a[2], sub64(splat64(WIDE_P[1]), b[2])),
            add64(a[3], sub64(splat64(WIDE_P[1]), b[3])),
            add64(a[4], sub64(splat64(WIDE_P[1]), b[4])),
        ])
    }

    #[inline(always)]
    fn narrow(a: [__m512i; 5]) -> Fe8 {
        carried(a)
    }

    #[inline(always)]
    fn square(self) -> Fe8 {
        carried(self.square_wide())
    }

    #[inline(always)]
    fn square_wide(self) -> [__m512i; 5] {
        square8(&self)
    }

    #[inline(always)]
    fn select(mask: u32, one: Fe8, other: Fe8) -> Fe8 {
        let (x, y, mask) = (one.0, other.0, mask as __mmask8);
        // SAFETY: see the note at the head.
        unsafe {
            Fe8([
                _mm512_mask_blend_epi64(mask, y[0], x[0]),
                _mm512_mask_blend_epi64(mask, y[1], x[1]),
                _mm512_mask_blend_epi64(mask, y[2], x[2]),
                _mm512_mask_blend_epi64(mask, y[3], x[3]),
                _mm512_mask_blend_epi64(mask, y[4], x[4]),
            ])
        }
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
        let rows = named!(points, indices);
        let (f, s) = (columns(rows, 0), columns(rows, 8));
        [Fe8([f[0], f[1], f[2], f[3], f[4]]), Fe8([f[5], f[6], f[7], s[0], s[1]]), Fe8([s[2], s[3], s[4], s[5], s[6]])]
    }

    #[inline(always)]
    fn pack(coordinates: [Fe8; 3], packed: &mut [Packed]) {
        let [a, b, c] = coordinates;
        let (Fe8(a), Fe8(b), Fe8(c)) = (a, b, c);
        let first = transposed([a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2]]);
        let second = transposed([b[3], b[4], c[0], c[1], c[2], c[3], c[4], splat64(0)]);
        for (lane, packed) in packed[..LANES].iter_mut().enumerate() {
            store8(&mut packed.0, 0, first[lane]);
            store8(&mut packed.0, 8, second[lane]);
        }
    }

    #[inline(always)]
    fn gather_rows(rows: &[Row], indices: &[u32; 8]) -> [Fe8; 4] {
        let rows = named!(rows, indices);
        let (f, s, t) = (columns(rows, 0), columns(rows, 8), columns(rows, 16));
        [
            Fe8([f[0], f[1], f[2], f[3], f[4]]),
            Fe8([f[5], f[6], f[7], s[0], s[1]]),
            Fe8([s[2], s[3], s[4], s[5], s[6]]),
            Fe8([s[7], t[0], t[1], t[2], t[3]]),
        ]
    }

    #[inline(always)]
    fn scatter_rows(coordinates: [Fe8; 4], rows: &mut [Row], indices: &[u32; 8], count: usize) {
        let [Fe8(a), Fe8(b), Fe8(c), Fe8(d)] = coordinates;
        let zero = splat64(0);
        let first = transposed([a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2]]);
        let second = transposed([b[3], b[4], c[0], c[1], c[2], c[3], c[4], d[0]]);
        let third = transposed([d[1], d[2], d[3], d[4], zero, zero, zero, zero]);
        for lane in 0..count.min(LANES) {
            let row = &mut rows[indices[lane] as usize].0;
            store8(row, 0, first[lane]);
            store8(row, 8, second[lane]);
            store8(row, 16, third[lane]);
        }
    }
}
