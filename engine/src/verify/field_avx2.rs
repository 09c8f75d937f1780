//! Four field elements at once with AVX2: ten limbs of 26 and 25 bits in turn, a vector of four 64-bit lanes each.
//!
//! `vpmuludq` multiplies the low 32 bits of each lane. A product of two odd limbs counts twice (both stand half a bit
//! high), a product beyond the tenth limb comes back 19-fold. Limb bounds:
//!
//! * *weak*: even limbs below 2^26 + 2^14, odd limbs below 2^25 + 2^14; what every operation returns;
//! * arguments of a multiplication: below 2^27 and 2^26, so that 19 times a limb fits 32 bits.
//!
//! In memory a packed point has two limbs a word: the even limb in the low half, the odd one in the high half.

use super::field::{Fe, Field, Packed};
use std::arch::x86_64::*;

/// Four weak elements.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
pub(super) struct Fe4([__m256i; 10]);

const LANES: usize = 4;

/// Ten limbs by a rule of their number. Not `array::from_fn`: a closure would be compiled without AVX2 and call every
/// instruction.
macro_rules! limbs {
    (|$i:ident| $limb:expr) => {
        limbs!(@each $i, $limb, 0 1 2 3 4 5 6 7 8 9)
    };
    (@each $i:ident, $limb:expr, $($number:literal)+) => {
        [$({ let $i: usize = $number; $limb }),+]
    };
}

const MASK_26: u64 = (1 << 26) - 1;
const MASK_25: u64 = (1 << 25) - 1;
/// 4p by limbs: at least any weak element; and shifted by 32 bits, at least any product.
const FOUR_P: [u64; 10] = [
    4 * (MASK_26 - 18),
    4 * MASK_25,
    4 * MASK_26,
    4 * MASK_25,
    4 * MASK_26,
    4 * MASK_25,
    4 * MASK_26,
    4 * MASK_25,
    4 * MASK_26,
    4 * MASK_25,
];

// SAFETY (for every `unsafe` below): the intrinsics need AVX2; `Fe4` values exist only inside functions that `simd`
// enters after detecting it. Loads and stores name arrays of sufficient length.

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
fn times(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_mul_epu32(a, b) }
}

#[inline(always)]
fn splat64(value: u64) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_set1_epi64x(value as i64) }
}

#[inline(always)]
fn and(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_and_si256(a, b) }
}

#[inline(always)]
fn carry26(a: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_srli_epi64::<26>(a) }
}

#[inline(always)]
fn carry25(a: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { _mm256_srli_epi64::<25>(a) }
}

/// 19 a, for any a below 2^59.
#[inline(always)]
fn times19(a: __m256i) -> __m256i {
    // SAFETY: see above.
    unsafe { add64(add64(_mm256_slli_epi64::<4>(a), add64(a, a)), a) }
}

/// One pass of carries over limbs below 2^32: weak afterwards (carries below 2^7, 19 of the last below 2^12).
#[inline(always)]
fn carried(limbs: [__m256i; 10]) -> Fe4 {
    let (mask26, mask25) = (splat64(MASK_26), splat64(MASK_25));
    let [a, b, c, d, e, f, g, h, i, j] = limbs;
    Fe4([
        add64(and(a, mask26), times(carry25(j), splat64(19))),
        add64(and(b, mask25), carry26(a)),
        add64(and(c, mask26), carry25(b)),
        add64(and(d, mask25), carry26(c)),
        add64(and(e, mask26), carry25(d)),
        add64(and(f, mask25), carry26(e)),
        add64(and(g, mask26), carry25(f)),
        add64(and(h, mask25), carry26(g)),
        add64(and(i, mask26), carry25(h)),
        add64(and(j, mask25), carry26(i)),
    ])
    .checked()
}

/// Carries of products, limbs below 2^63: two interleaved chains, then the seams.
#[inline(always)]
fn product_carried(limbs: [__m256i; 10]) -> Fe4 {
    let (mask26, mask25) = (splat64(MASK_26), splat64(MASK_25));
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h, mut i, mut j] = limbs;
    b = add64(b, carry26(a));
    a = and(a, mask26);
    f = add64(f, carry26(e));
    e = and(e, mask26);
    c = add64(c, carry25(b));
    b = and(b, mask25);
    g = add64(g, carry25(f));
    f = and(f, mask25);
    d = add64(d, carry26(c));
    c = and(c, mask26);
    h = add64(h, carry26(g));
    g = and(g, mask26);
    e = add64(e, carry25(d));
    d = and(d, mask25);
    i = add64(i, carry25(h));
    h = and(h, mask25);
    j = add64(j, carry26(i));
    i = and(i, mask26);
    f = add64(f, carry26(e));
    e = and(e, mask26);
    // The carry out of the top may exceed 32 bits: no multiplication instruction for it.
    a = add64(a, times19(carry25(j)));
    j = and(j, mask25);
    b = add64(b, carry26(a));
    a = and(a, mask26);
    c = add64(c, carry25(b));
    b = and(b, mask25);
    g = add64(g, carry25(f));
    f = and(f, mask25);
    Fe4([a, b, c, d, e, f, g, h, i, j]).checked()
}

impl Fe4 {
    #[inline(always)]
    fn checked(self) -> Fe4 {
        if cfg!(debug_assertions) {
            for (limb, words) in self.words().chunks_exact(LANES).enumerate() {
                let bits = if limb % 2 == 0 { 26 } else { 25 };
                assert!(words.iter().all(|&word| word < (1 << bits) + (1 << 14)), "limb {limb}");
            }
        }
        self
    }
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn mul4(x: &Fe4, y: &Fe4) -> [__m256i; 10] {
    let (x, y) = (&x.0, &y.0);
    let nineteen = splat64(19);
    let mut sums = [splat64(0); 10];
    // 19 times the limbs of y, for the products that wrap around.
    let wrapped: [__m256i; 10] = limbs!(|i| times(y[i], nineteen));
    macro_rules! row {
        ($i:literal, $($j:literal)+) => {
            let x1 = x[$i];
            // Twice the odd limbs of x, for products with odd limbs of y.
            let x2 = if $i % 2 == 1 { add64(x1, x1) } else { x1 };
            $({
                let x = if $j % 2 == 1 { x2 } else { x1 };
                let y = if $i + $j >= 10 { wrapped[$j] } else { y[$j] };
                sums[($i + $j) % 10] = add64(sums[($i + $j) % 10], times(x, y));
            })+
        };
    }
    row!(0, 0 1 2 3 4 5 6 7 8 9);
    row!(1, 0 1 2 3 4 5 6 7 8 9);
    row!(2, 0 1 2 3 4 5 6 7 8 9);
    row!(3, 0 1 2 3 4 5 6 7 8 9);
    row!(4, 0 1 2 3 4 5 6 7 8 9);
    row!(5, 0 1 2 3 4 5 6 7 8 9);
    row!(6, 0 1 2 3 4 5 6 7 8 9);
    row!(7, 0 1 2 3 4 5 6 7 8 9);
    row!(8, 0 1 2 3 4 5 6 7 8 9);
    row!(9, 0 1 2 3 4 5 6 7 8 9);
    sums
}

#[inline(never)]
#[target_feature(enable = "avx2")]
fn square_times4(x: &Fe4, times_squared: usize) -> Fe4 {
    let mut value = *x;
    let nineteen = splat64(19);
    for _ in 0..times_squared {
        let x = &value.0;
        let mut sums = [splat64(0); 10];
        let doubled: [__m256i; 10] = limbs!(|i| add64(x[i], x[i]));
        let wrapped: [__m256i; 10] = limbs!(|i| times(x[i], nineteen));
        macro_rules! pairs {
            ($i:literal, $($j:literal)*) => {
                {
                    // The square: an odd limb's counts twice.
                    let left = if $i % 2 == 1 { doubled[$i] } else { x[$i] };
                    let right = if 2 * $i >= 10 { wrapped[$i] } else { x[$i] };
                    sums[(2 * $i) % 10] = add64(sums[(2 * $i) % 10], times(left, right));
                }
                $({
                    // A cross product counts twice, of two odd limbs four times.
                    let left = if $i % 2 == 1 && $j % 2 == 1 { add64(doubled[$i], doubled[$i]) } else { doubled[$i] };
                    let right = if $i + $j >= 10 { wrapped[$j] } else { x[$j] };
                    sums[($i + $j) % 10] = add64(sums[($i + $j) % 10], times(left, right));
                })*
            };
        }
        pairs!(0, 1 2 3 4 5 6 7 8 9);
        pairs!(1, 2 3 4 5 6 7 8 9);
        pairs!(2, 3 4 5 6 7 8 9);
        pairs!(3, 4 5 6 7 8 9);
        pairs!(4, 5 6 7 8 9);
        pairs!(5, 6 7 8 9);
        pairs!(6, 7 8 9);
        pairs!(7, 8 9);
        pairs!(8, 9);
        pairs!(9,);
        value = product_carried(sums);
    }
    value
}

/// Four rows of four words become four columns.
#[inline(always)]
pub(super) fn transposed(rows: [__m256i; 4]) -> [__m256i; 4] {
    // SAFETY: see the note at the head.
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

/// All lanes below p with limbs of 26 and 25 bits.
#[inline(always)]
fn canonical(value: Fe4) -> [__m256i; 10] {
    let (mask26, mask25) = (splat64(MASK_26), splat64(MASK_25));
    let mut limbs = carried(value.0).0;
    // How often p is in the value: what the value plus 19 carries out of the top.
    let mut over = carry26(add64(limbs[0], splat64(19)));
    let mut i = 1;
    while i < 10 {
        let sum = add64(limbs[i], over);
        over = if i % 2 == 0 { carry26(sum) } else { carry25(sum) };
        i += 1;
    }
    limbs[0] = add64(limbs[0], times(over, splat64(19)));
    let mut i = 0;
    while i < 9 {
        let (carry, mask) = if i % 2 == 0 { (carry26(limbs[i]), mask26) } else { (carry25(limbs[i]), mask25) };
        limbs[i + 1] = add64(limbs[i + 1], carry);
        limbs[i] = and(limbs[i], mask);
        i += 1;
    }
    limbs[9] = and(limbs[9], mask25);
    limbs
}

/// Four of a packed point's words, from a multiple of four on.
#[inline(always)]
fn load4(words: &[u64; 16], at: usize) -> __m256i {
    debug_assert!(at.is_multiple_of(4) && at < 16);
    // SAFETY: four words from `at` are inside the sixteen; a packed point is aligned to 64 bytes.
    unsafe { _mm256_load_si256(words.as_ptr().add(at).cast()) }
}

/// An even and an odd limb as one word.
#[inline(always)]
fn joined(even: __m256i, odd: __m256i) -> __m256i {
    // SAFETY: see the note at the head.
    unsafe { _mm256_or_si256(even, _mm256_slli_epi64::<32>(odd)) }
}

/// Ten limbs as five words of two.
#[inline(always)]
fn words_of(l: [__m256i; 10]) -> [__m256i; 5] {
    [joined(l[0], l[1]), joined(l[2], l[3]), joined(l[4], l[5]), joined(l[6], l[7]), joined(l[8], l[9])]
}

/// The opposite of [`words_of`].
#[inline(always)]
fn limbs_of(words: [__m256i; 5]) -> Fe4 {
    let low = splat64(u64::from(u32::MAX));
    Fe4(limbs!(|i| if i.is_multiple_of(2) {
        and(words[i / 2], low)
    } else {
        // SAFETY: see the note at the head.
        unsafe { _mm256_srli_epi64::<32>(words[i / 2]) }
    }))
}

/// The two limbs of 51 bits: an even and an odd one.
fn split(limb: u64) -> [u64; 2] {
    [limb & MASK_26, limb >> 26]
}

impl Field for Fe4 {
    const LANES: usize = LANES;
    const LIMBS: usize = 10;
    /// Even limbs below 2^59.5, odd ones below 2^58.8: ten products of weak limbs, some of them 38-fold.
    type Wide = [__m256i; 10];

    #[inline(always)]
    fn splat(element: &Fe) -> Fe4 {
        Fe4(limbs!(|i| splat64(split(element.0[i / 2])[i % 2])))
    }

    fn from_lanes(elements: &[Fe]) -> Fe4 {
        let mut value = Fe4([splat64(0); 10]);
        let words = value.words_mut();
        for (lane, element) in elements[..LANES].iter().enumerate() {
            for (i, limb) in element.0.iter().enumerate() {
                let [even, odd] = split(*limb);
                words[2 * i * LANES + lane] = even;
                words[(2 * i + 1) * LANES + lane] = odd;
            }
        }
        value
    }

    fn to_lanes(self, elements: &mut [Fe]) {
        let words = self.words();
        for (lane, element) in elements[..LANES].iter_mut().enumerate() {
            // An even limb may be a little above 26 bits: added, not joined.
            *element =
                Fe(std::array::from_fn(|i| words[2 * i * LANES + lane] + (words[(2 * i + 1) * LANES + lane] << 26)));
        }
    }

    #[inline(always)]
    fn add(self, other: Fe4) -> Fe4 {
        carried(limbs!(|i| add64(self.0[i], other.0[i])))
    }

    #[inline(always)]
    fn sub(self, other: Fe4) -> Fe4 {
        carried(limbs!(|i| add64(self.0[i], sub64(splat64(FOUR_P[i]), other.0[i]))))
    }

    #[inline(always)]
    fn mul(self, other: Fe4) -> Fe4 {
        product_carried(self.mul_wide(other))
    }

    #[inline(always)]
    fn mul_wide(self, other: Fe4) -> [__m256i; 10] {
        // SAFETY: see the note at the head.
        unsafe { mul4(&self, &other) }
    }

    #[inline(always)]
    fn widen(self) -> [__m256i; 10] {
        self.0
    }

    #[inline(always)]
    fn wide_double(a: [__m256i; 10]) -> [__m256i; 10] {
        limbs!(|i| add64(a[i], a[i]))
    }

    #[inline(always)]
    fn wide_add(a: [__m256i; 10], b: [__m256i; 10]) -> Fe4 {
        product_carried(limbs!(|i| add64(a[i], b[i])))
    }

    #[inline(always)]
    fn wide_sub(a: [__m256i; 10], b: [__m256i; 10]) -> Fe4 {
        product_carried(limbs!(|i| add64(a[i], sub64(splat64(FOUR_P[i] << 32), b[i]))))
    }

    #[inline(always)]
    fn narrow(a: [__m256i; 10]) -> Fe4 {
        product_carried(a)
    }

    #[inline(always)]
    fn square(self) -> Fe4 {
        self.square_times(1)
    }

    #[inline(always)]
    fn square_times(self, times: usize) -> Fe4 {
        // SAFETY: see the note at the head.
        unsafe { square_times4(&self, times) }
    }

    #[inline(always)]
    fn select(mask: u32, one: Fe4, other: Fe4) -> Fe4 {
        // SAFETY: see the note at the head.
        unsafe {
            let bits = _mm256_set_epi64x(8, 4, 2, 1);
            let lanes = _mm256_cmpeq_epi64(and(splat64(u64::from(mask)), bits), bits);
            Fe4(limbs!(|i| _mm256_blendv_epi8(other.0[i], one.0[i], lanes)))
        }
    }

    #[inline(always)]
    fn zeros(self) -> u32 {
        let l = canonical(self);
        // SAFETY: see the note at the head.
        unsafe {
            let mut any = l[0];
            let mut i = 1;
            while i < 10 {
                any = _mm256_or_si256(any, l[i]);
                i += 1;
            }
            _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(any, _mm256_setzero_si256()))) as u32
        }
    }

    #[inline(always)]
    fn odds(self) -> u32 {
        // SAFETY: see the note at the head.
        unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_slli_epi64::<63>(canonical(self)[0]))) as u32 }
    }

    #[inline(always)]
    fn words(&self) -> &[u64] {
        // SAFETY: ten vectors of four words, without padding, borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 10 * LANES) }
    }

    #[inline(always)]
    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 10 * LANES) }
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
                transposed([load4(&p.0, $at), load4(&q.0, $at), load4(&r.0, $at), load4(&s.0, $at)])
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
        let [a, b, c] = coordinates;
        let (a, b, c) = (words_of(canonical(a)), words_of(canonical(b)), words_of(canonical(c)));
        let zero = splat64(0);
        let quarters = [
            transposed([a[0], a[1], a[2], a[3]]),
            transposed([a[4], b[0], b[1], b[2]]),
            transposed([b[3], b[4], c[0], c[1]]),
            transposed([c[2], c[3], c[4], zero]),
        ];
        for (lane, packed) in packed[..LANES].iter_mut().enumerate() {
            for (quarter, rows) in quarters.iter().enumerate() {
                // SAFETY: four of sixteen words.
                unsafe { _mm256_store_si256(packed.0[4 * quarter..].as_mut_ptr().cast(), rows[lane]) }
            }
        }
    }
}
