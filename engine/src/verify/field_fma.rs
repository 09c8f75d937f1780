//! Four field elements at once with AVX2 and FMA: five limbs of 51 bits, each a whole number in a double.
//!
//! `vpmuludq` would multiply 26 bits at a time; a pair of fused multiply-adds gives both halves of a product of 51 bits:
//!
//! ```text
//!   high = a b + 1.5 x 2^103           its bits count multiples of 2^51: the nearest one to a b
//!   low  = a b - (high as a number) + 1.5 x 2^52          what is left, exact; its bits count ones
//! ```
//!
//! So the bits of `low` and `high`, less those of the two constants, are whole numbers with a b = low + 2^51 high; they
//! are added up as 64-bit integers. Nothing is ever rounded away: every sum and product that is taken in doubles is a
//! whole number, or a multiple of 2^51, that a double holds. Limb bounds, of absolute values:
//!
//! * *weak*: at most 2^50 + 2^15; what every operation returns and every argument must be;
//! * a product's limbs before their carries: below 2^58, sums of a few of them below 2^61.

use super::field::{FOUR_P, Fe, Field, MASK_51, Packed, Row};
use super::vectors::{load4, opaque4, store4, transposed4};
use std::arch::x86_64::*;

/// Four weak elements.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
pub(super) struct Fe4([__m256d; 5]);

const LANES: usize = 4;
/// Largest absolute value of a weak limb.
const WEAK_MAX: f64 = ((1u64 << 50) + (1 << 15)) as f64;
const TWO_51: f64 = (1u64 << 51) as f64;
/// 1.5 x 2^52: the bits of a double near it count ones.
const ONES: f64 = 3.0 * TWO_51;
/// 1.5 x 2^103: the bits of a double near it count multiples of 2^51.
const MULTIPLES: f64 = ONES * TWO_51;
/// What [`bias`] adds before carries are taken: no limb is below zero then, and what is left of one lies around zero
/// when as much is subtracted again.
const BIAS: u64 = 1 << 61;
const HALF: u64 = 1 << 50;

/// What the constants' bits add to each limb of a product: `counts[k]` products have their low half in limb k, and their
/// high half in limb k + 1.
const fn offsets(counts: [u64; 9]) -> [u64; 5] {
    let (ones, multiples) = (ONES.to_bits(), MULTIPLES.to_bits());
    let mut sums = [0u64; 10];
    let mut k = 0;
    while k < 9 {
        sums[k] = sums[k].wrapping_add(counts[k].wrapping_mul(ones));
        sums[k + 1] = sums[k + 1].wrapping_add(counts[k].wrapping_mul(multiples));
        k += 1;
    }
    let mut limbs = [0u64; 5];
    let mut k = 0;
    while k < 5 {
        limbs[k] = sums[k].wrapping_add(sums[k + 5].wrapping_mul(19));
        k += 1;
    }
    limbs
}

const PRODUCT_OFFSETS: [u64; 5] = offsets([1, 2, 3, 4, 5, 4, 3, 2, 1]);
const SQUARE_OFFSETS: [u64; 5] = offsets([1, 1, 2, 2, 3, 2, 2, 1, 1]);

// SAFETY (for every `unsafe` below): the intrinsics need AVX2 and FMA; `Fe4` values exist only inside functions that
// `simd` enters after detecting both. Loads and stores name arrays of sufficient length. Closures and `array::map` are
// avoided: they would be compiled without these features and call every instruction.

#[inline(always)]
fn add64(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_add_epi64(a, b) }
}

#[inline(always)]
fn sub64(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_sub_epi64(a, b) }
}

#[inline(always)]
fn splat64(value: u64) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_set1_epi64x(value as i64) }
}

#[inline(always)]
fn carry51(a: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_srli_epi64::<51>(a) }
}

#[inline(always)]
fn rest51(a: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_and_si256(a, splat64(MASK_51)) }
}

/// 19 a, which is what limbs beyond the fifth come back as.
#[inline]
#[target_feature(enable = "avx2")]
fn times19(a: __m256i) -> __m256i {
    add64(add64(opaque4(_mm256_slli_epi64::<4>(a)), add64(a, a)), a)
}

#[inline(always)]
fn splat_double(value: f64) -> __m256d {
    // SAFETY: see above.
    unsafe { _mm256_set1_pd(value) }
}

#[inline(always)]
fn plus(a: __m256d, b: __m256d) -> __m256d {
    // SAFETY: see above.
    unsafe { _mm256_add_pd(a, b) }
}

#[inline(always)]
fn minus(a: __m256d, b: __m256d) -> __m256d {
    // SAFETY: see above.
    unsafe { _mm256_sub_pd(a, b) }
}

/// a b + c, rounded once.
#[inline(always)]
fn fused(a: __m256d, b: __m256d, c: __m256d) -> __m256d {
    // SAFETY: see above.
    unsafe { _mm256_fmadd_pd(a, b, c) }
}

#[inline(always)]
fn bits(a: __m256d) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_castpd_si256(a) }
}

#[inline(always)]
fn doubles(a: __m256i) -> __m256d {
    // SAFETY: see above.
    unsafe { _mm256_castsi256_pd(a) }
}

/// The halves of a product as bits, with those of the two constants in them.
#[inline(always)]
fn halves(a: __m256d, b: __m256d) -> (__m256i, __m256i) {
    let high = fused(a, b, splat_double(MULTIPLES));
    let low = fused(a, b, minus(splat_double(MULTIPLES + ONES), high));
    (bits(low), bits(high))
}

/// Limb k of a product from its sums k and k + 5, which come back 19-fold; the constants' bits go.
#[inline(always)]
fn folded(low: __m256i, high: __m256i, offset: u64) -> __m256i {
    // SAFETY: see above.
    add64(sub64(low, splat64(offset)), unsafe { times19(high) })
}

/// One pass of carries over limbs whose absolute values are below 2^61: weak afterwards, since a carry is at most 2^10.
#[inline(always)]
fn narrowed(limbs: [__m256i; 5]) -> Fe4 {
    let bias = splat64(BIAS + HALF);
    let [a, b, c, d, e] = [
        add64(limbs[0], bias),
        add64(limbs[1], bias),
        add64(limbs[2], bias),
        add64(limbs[3], bias),
        add64(limbs[4], bias),
    ];
    // SAFETY: see above.
    let wrapped = unsafe { _mm256_mul_epu32(carry51(e), splat64(19)) };
    macro_rules! limb {
        ($rest:expr, $carry:expr, $carried:expr) => {{
            const TWO_52: f64 = 2.0 * TWO_51;
            // SAFETY: see above.
            let whole = unsafe { _mm256_or_si256(add64(rest51($rest), $carry), splat64(TWO_52.to_bits())) };
            minus(doubles(whole), splat_double(TWO_52 + (HALF + $carried * (BIAS >> 51)) as f64))
        }};
    }
    Fe4([
        limb!(a, wrapped, 19),
        limb!(b, carry51(a), 1),
        limb!(c, carry51(b), 1),
        limb!(d, carry51(c), 1),
        limb!(e, carry51(d), 1),
    ])
    .checked()
}

/// One pass of carries over doubles up to 2^52.
#[inline(always)]
fn carried(limbs: [__m256d; 5]) -> Fe4 {
    let (multiples, down) = (splat_double(MULTIPLES), splat_double(1.0 / TWO_51));
    macro_rules! multiple {
        ($k:literal) => {
            minus(plus(limbs[$k], multiples), multiples)
        };
    }
    let [a, b, c, d, e] = [multiple!(0), multiple!(1), multiple!(2), multiple!(3), multiple!(4)];
    Fe4([
        fused(e, splat_double(19.0 / TWO_51), minus(limbs[0], a)),
        fused(a, down, minus(limbs[1], b)),
        fused(b, down, minus(limbs[2], c)),
        fused(c, down, minus(limbs[3], d)),
        fused(d, down, minus(limbs[4], e)),
    ])
    .checked()
}

/// The whole numbers of doubles up to 2^51 in size, as integers.
#[inline(always)]
fn whole(limb: __m256d) -> __m256i {
    sub64(bits(plus(limb, splat_double(ONES))), splat64(ONES.to_bits()))
}

/// All lanes below p with limbs from 0 to 2^51.
#[inline(always)]
fn canonical(value: Fe4) -> [__m256i; 5] {
    macro_rules! above_zero {
        ($k:literal) => {
            add64(whole(value.0[$k]), splat64(FOUR_P[$k]))
        };
    }
    let [a, b, c, d, e] = [above_zero!(0), above_zero!(1), above_zero!(2), above_zero!(3), above_zero!(4)];
    let [a, b, c, d, e] = [
        // SAFETY: see the note at the head.
        add64(rest51(a), unsafe { times19(carry51(e)) }),
        add64(rest51(b), carry51(a)),
        add64(rest51(c), carry51(b)),
        add64(rest51(d), carry51(c)),
        add64(rest51(e), carry51(d)),
    ];
    // Whether the value plus 19 reaches 2^255, that is, whether it is at least p.
    let mut over = carry51(add64(a, splat64(19)));
    over = carry51(add64(b, over));
    over = carry51(add64(c, over));
    over = carry51(add64(d, over));
    over = carry51(add64(e, over));
    // SAFETY: see the note at the head.
    let a = add64(a, unsafe { times19(over) });
    let b = add64(b, carry51(a));
    let c = add64(c, carry51(b));
    let d = add64(d, carry51(c));
    let e = add64(e, carry51(d));
    [rest51(a), rest51(b), rest51(c), rest51(d), rest51(e)]
}

impl Fe4 {
    #[inline(always)]
    fn checked(self) -> Fe4 {
        if cfg!(debug_assertions) {
            let limbs = self.words().iter().map(|&bits| f64::from_bits(bits));
            for limb in limbs {
                assert!(limb.abs() <= WEAK_MAX && limb.fract() == 0.0, "{limb}");
            }
        }
        self
    }
}

#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn mul4(x: &Fe4, y: &Fe4) -> [__m256i; 5] {
    let (x, y) = (&x.0, &y.0);
    // Sum by sum, not limb by limb: two of them grow at a time, for which there are registers. Opaque, or the compiler
    // adds them all up in the end.
    macro_rules! sum {
        ($carried:expr, $(($i:literal, $j:literal))+) => {{
            let (mut sum, mut next) = ($carried, splat64(0));
            $({
                let (low, high) = halves(x[$i], y[$j]);
                sum = opaque4(add64(sum, low));
                next = opaque4(add64(next, high));
            })+
            (sum, next)
        }};
    }
    let (a, next) = sum!(splat64(0), (0, 0));
    let (b, next) = sum!(next, (0, 1)(1, 0));
    let (c, next) = sum!(next, (0, 2)(1, 1)(2, 0));
    let (d, next) = sum!(next, (0, 3)(1, 2)(2, 1)(3, 0));
    let (e, next) = sum!(next, (0, 4)(1, 3)(2, 2)(3, 1)(4, 0));
    let (f, next) = sum!(next, (1, 4)(2, 3)(3, 2)(4, 1));
    let a = folded(a, f, PRODUCT_OFFSETS[0]);
    let (g, next) = sum!(next, (2, 4)(3, 3)(4, 2));
    let b = folded(b, g, PRODUCT_OFFSETS[1]);
    let (h, next) = sum!(next, (3, 4)(4, 3));
    let c = folded(c, h, PRODUCT_OFFSETS[2]);
    let (i, j) = sum!(next, (4, 4));
    [a, b, c, folded(d, i, PRODUCT_OFFSETS[3]), folded(e, j, PRODUCT_OFFSETS[4])]
}

#[inline(never)]
#[target_feature(enable = "avx2,fma")]
fn square4(x: &Fe4) -> [__m256i; 5] {
    let x = &x.0;
    // A product of two different limbs counts twice.
    let twice = [plus(x[0], x[0]), plus(x[1], x[1]), plus(x[2], x[2]), plus(x[3], x[3])];
    macro_rules! sum {
        ($carried:expr, $(($i:literal, $j:literal))*, $($square:literal)?) => {{
            let (mut sum, mut next) = ($carried, splat64(0));
            $({
                let (low, high) = halves(twice[$i], x[$j]);
                sum = opaque4(add64(sum, low));
                next = opaque4(add64(next, high));
            })*
            $({
                let (low, high) = halves(x[$square], x[$square]);
                sum = opaque4(add64(sum, low));
                next = opaque4(add64(next, high));
            })?
            (sum, next)
        }};
    }
    let (a, next) = sum!(splat64(0), , 0);
    let (b, next) = sum!(next, (0, 1),);
    let (c, next) = sum!(next, (0, 2), 1);
    let (d, next) = sum!(next, (0, 3)(1, 2),);
    let (e, next) = sum!(next, (0, 4)(1, 3), 2);
    let (f, next) = sum!(next, (1, 4)(2, 3),);
    let a = folded(a, f, SQUARE_OFFSETS[0]);
    let (g, next) = sum!(next, (2, 4), 3);
    let b = folded(b, g, SQUARE_OFFSETS[1]);
    let (h, next) = sum!(next, (3, 4),);
    let c = folded(c, h, SQUARE_OFFSETS[2]);
    let (i, j) = sum!(next, , 4);
    [a, b, c, folded(d, i, SQUARE_OFFSETS[3]), folded(e, j, SQUARE_OFFSETS[4])]
}

/// Five words a lane as limbs.
#[inline(always)]
fn limbs_of(words: [__m256i; 5]) -> Fe4 {
    Fe4([doubles(words[0]), doubles(words[1]), doubles(words[2]), doubles(words[3]), doubles(words[4])]).checked()
}

/// An element's limbs around zero.
fn signed(element: &Fe) -> [f64; 5] {
    let carry = |k: usize| (element.0[k] + HALF) >> 51;
    let limb = |k: usize, carried: u64| (element.0[k] + carried) as i64 - (carry(k) << 51) as i64;
    [limb(0, 19 * carry(4)), limb(1, carry(0)), limb(2, carry(1)), limb(3, carry(2)), limb(4, carry(3))]
        .map(|limb| limb as f64)
}

impl Field for Fe4 {
    const LANES: usize = LANES;
    const LIMBS: usize = 5;
    /// Whole numbers below 2^58 in size: up to nine low halves of at most 2^50 and as many high ones below 2^50.1, some
    /// of them 19-fold.
    type Wide = [__m256i; 5];

    #[inline(always)]
    fn splat(element: &Fe) -> Fe4 {
        let [a, b, c, d, e] = signed(element);
        Fe4([splat_double(a), splat_double(b), splat_double(c), splat_double(d), splat_double(e)]).checked()
    }

    fn from_lanes(elements: &[Fe]) -> Fe4 {
        let mut value = Fe4([splat_double(0.0); 5]);
        let words = value.words_mut();
        for (lane, element) in elements[..LANES].iter().enumerate() {
            signed(element).iter().enumerate().for_each(|(limb, double)| words[limb * LANES + lane] = double.to_bits());
        }
        value.checked()
    }

    fn to_lanes(self, elements: &mut [Fe]) {
        let words = self.words();
        for (lane, element) in elements[..LANES].iter_mut().enumerate() {
            let limb = |k: usize| FOUR_P[k].wrapping_add_signed(f64::from_bits(words[k * LANES + lane]) as i64);
            *element = Fe::narrow(Fe([limb(0), limb(1), limb(2), limb(3), limb(4)]));
        }
    }

    #[inline(always)]
    fn add(self, other: Fe4) -> Fe4 {
        let (Fe4(a), Fe4(b)) = (self, other);
        carried([plus(a[0], b[0]), plus(a[1], b[1]), plus(a[2], b[2]), plus(a[3], b[3]), plus(a[4], b[4])])
    }

    #[inline(always)]
    fn sub(self, other: Fe4) -> Fe4 {
        let (Fe4(a), Fe4(b)) = (self, other);
        carried([minus(a[0], b[0]), minus(a[1], b[1]), minus(a[2], b[2]), minus(a[3], b[3]), minus(a[4], b[4])])
    }

    #[inline(always)]
    fn mul(self, other: Fe4) -> Fe4 {
        narrowed(self.mul_wide(other))
    }

    #[inline(always)]
    fn square(self) -> Fe4 {
        narrowed(self.square_wide())
    }

    #[inline(always)]
    fn mul_wide(self, other: Fe4) -> [__m256i; 5] {
        // SAFETY: see the note at the head.
        unsafe { mul4(&self, &other) }
    }

    #[inline(always)]
    fn square_wide(self) -> [__m256i; 5] {
        // SAFETY: see the note at the head.
        unsafe { square4(&self) }
    }

    #[inline(always)]
    fn widen(self) -> [__m256i; 5] {
        let Fe4([a, b, c, d, e]) = self;
        [whole(a), whole(b), whole(c), whole(d), whole(e)]
    }

    #[inline(always)]
    fn wide_double(a: [__m256i; 5]) -> [__m256i; 5] {
        [add64(a[0], a[0]), add64(a[1], a[1]), add64(a[2], a[2]), add64(a[3], a[3]), add64(a[4], a[4])]
    }

    #[inline(always)]
    fn wide_add(a: [__m256i; 5], b: [__m256i; 5]) -> Fe4 {
        narrowed([add64(a[0], b[0]), add64(a[1], b[1]), add64(a[2], b[2]), add64(a[3], b[3]), add64(a[4], b[4])])
    }

    #[inline(always)]
    fn wide_sub(a: [__m256i; 5], b: [__m256i; 5]) -> Fe4 {
        narrowed([sub64(a[0], b[0]), sub64(a[1], b[1]), sub64(a[2], b[2]), sub64(a[3], b[3]), sub64(a[4], b[4])])
    }

    #[inline(always)]
    fn narrow(a: [__m256i; 5]) -> Fe4 {
        narrowed(a)
    }

    #[inline(always)]
    fn select(mask: u32, one: Fe4, other: Fe4) -> Fe4 {
        // SAFETY: see the note at the head.
        unsafe {
            let each = _mm256_set_epi64x(8, 4, 2, 1);
            let lanes = _mm256_cmpeq_epi64(_mm256_and_si256(splat64(u64::from(mask)), each), each);
            let (x, y, lanes) = (one.0, other.0, doubles(lanes));
            Fe4([
                _mm256_blendv_pd(y[0], x[0], lanes),
                _mm256_blendv_pd(y[1], x[1], lanes),
                _mm256_blendv_pd(y[2], x[2], lanes),
                _mm256_blendv_pd(y[3], x[3], lanes),
                _mm256_blendv_pd(y[4], x[4], lanes),
            ])
        }
    }

    #[inline(always)]
    fn zeros(self) -> u32 {
        let [a, b, c, d, e] = canonical(self);
        // SAFETY: see the note at the head.
        unsafe {
            let any = _mm256_or_si256(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)), e);
            _mm256_movemask_pd(doubles(_mm256_cmpeq_epi64(any, _mm256_setzero_si256()))) as u32
        }
    }

    #[inline(always)]
    fn odds(self) -> u32 {
        // SAFETY: see the note at the head.
        unsafe { _mm256_movemask_pd(doubles(_mm256_slli_epi64::<63>(canonical(self)[0]))) as u32 }
    }

    #[inline(always)]
    fn words(&self) -> &[u64] {
        // SAFETY: five vectors of four words, without padding, borrowed as long as `self`; any bits are a word.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 5 * LANES) }
    }

    #[inline(always)]
    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`, exclusively; any bits are a double.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 5 * LANES) }
    }

    #[inline(always)]
    fn gather(points: &[Packed], indices: &[u32]) -> [Fe4; 3] {
        let (p, q, r, s) = (
            &points[indices[0] as usize],
            &points[indices[1] as usize],
            &points[indices[2] as usize],
            &points[indices[3] as usize],
        );
        macro_rules! quarter {
            ($at:literal) => {
                transposed4([load4(&p.0, $at), load4(&q.0, $at), load4(&r.0, $at), load4(&s.0, $at)])
            };
        }
        let (a, b, c, d) = (quarter!(0), quarter!(4), quarter!(8), quarter!(12));
        [
            limbs_of([a[0], a[1], a[2], a[3], b[0]]),
            limbs_of([b[1], b[2], b[3], c[0], c[1]]),
            limbs_of([c[2], c[3], d[0], d[1], d[2]]),
        ]
    }

    #[inline(always)]
    fn pack(coordinates: [Fe4; 3], packed: &mut [Packed]) {
        let [Fe4(a), Fe4(b), Fe4(c)] = coordinates;
        let quarters = [
            transposed4([bits(a[0]), bits(a[1]), bits(a[2]), bits(a[3])]),
            transposed4([bits(a[4]), bits(b[0]), bits(b[1]), bits(b[2])]),
            transposed4([bits(b[3]), bits(b[4]), bits(c[0]), bits(c[1])]),
            transposed4([bits(c[2]), bits(c[3]), bits(c[4]), splat64(0)]),
        ];
        for (lane, packed) in packed[..LANES].iter_mut().enumerate() {
            for (quarter, rows) in quarters.iter().enumerate() {
                store4(&mut packed.0, 4 * quarter, rows[lane]);
            }
        }
    }

    #[inline(always)]
    fn gather_rows(rows: &[Row], indices: &[u32; 8]) -> [Fe4; 4] {
        let (p, q, r, s) = (
            &rows[indices[0] as usize],
            &rows[indices[1] as usize],
            &rows[indices[2] as usize],
            &rows[indices[3] as usize],
        );
        macro_rules! fifth {
            ($at:literal) => {
                transposed4([load4(&p.0, $at), load4(&q.0, $at), load4(&r.0, $at), load4(&s.0, $at)])
            };
        }
        let (a, b, c, d, e) = (fifth!(0), fifth!(4), fifth!(8), fifth!(12), fifth!(16));
        [
            limbs_of([a[0], a[1], a[2], a[3], b[0]]),
            limbs_of([b[1], b[2], b[3], c[0], c[1]]),
            limbs_of([c[2], c[3], d[0], d[1], d[2]]),
            limbs_of([d[3], e[0], e[1], e[2], e[3]]),
        ]
    }

    #[inline(always)]
    fn scatter_rows(coordinates: [Fe4; 4], rows: &mut [Row], indices: &[u32; 8], count: usize) {
        let [Fe4(a), Fe4(b), Fe4(c), Fe4(d)] = coordinates;
        let fifths = [
            transposed4([bits(a[0]), bits(a[1]), bits(a[2]), bits(a[3])]),
            transposed4([bits(a[4]), bits(b[0]), bits(b[1]), bits(b[2])]),
            transposed4([bits(b[3]), bits(b[4]), bits(c[0]), bits(c[1])]),
            transposed4([bits(c[2]), bits(c[3]), bits(c[4]), bits(d[0])]),
            transposed4([bits(d[1]), bits(d[2]), bits(d[3]), bits(d[4])]),
        ];
        for lane in 0..count.min(LANES) {
            let row = &mut rows[indices[lane] as usize].0;
            for (fifth, words) in fifths.iter().enumerate() {
                store4(row, 4 * fifth, words[lane]);
            }
        }
    }
}
