//! The field of 2^255 - 19, one element at a time, and what a vector of elements must offer.
//!
//! [`Fe`] is the scalar reference for every lane routine, the portable backend's only lane, and the form in which lanes
//! meet scalars. Limbs are 51 bits wide. Two bounds are used throughout:
//!
//! * *weak*: every limb below 2^51 + 2^15; what every operation returns.
//! * *canonical*: the one representation below p with limbs below 2^51; what [`Fe::canonical`] returns.

use std::num::Wrapping;

/// Low 51 bits.
pub(super) const MASK_51: u64 = (1 << 51) - 1;
/// Weak bound, exclusive.
pub(super) const WEAK: u64 = (1 << 51) + (1 << 15);
/// 4p, limb by limb: at least any weak element, so that a difference never goes below zero.
pub(super) const FOUR_P: [u64; 5] = [4 * (MASK_51 - 18), 4 * MASK_51, 4 * MASK_51, 4 * MASK_51, 4 * MASK_51];

/// A field element, weak.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fe(pub(super) [u64; 5]);

/// The curve's constant d = -121665 / 121666.
pub(super) const D: Fe = Fe([929955233495203, 466365720129213, 1662059464998953, 2033849074728123, 1442794654840575]);
/// Twice the constant d, for the addition of two points.
pub(super) const D2: Fe = Fe([1859910466990425, 932731440258426, 1072319116312658, 1815898335770999, 633789495995903]);
/// Inverse of 2d: makes xy of the 2dxy in a packed point.
pub(super) const D2_INVERSE: Fe =
    Fe([133296036314136, 426780519490142, 971550796200877, 1003625501967667, 1693814684165806]);
/// A square root of -1.
pub(super) const SQRT_M1: Fe =
    Fe([1718705420411056, 234908883556509, 2233514472574048, 2117202627021982, 765476049583133]);

/// 1 / 2.
pub(super) const HALF: Fe =
    Fe([2251799813685239, 2251799813685247, 2251799813685247, 2251799813685247, 1125899906842623]);

impl Fe {
    pub(super) const ZERO: Fe = Fe([0; 5]);
    pub(super) const ONE: Fe = Fe([1, 0, 0, 0, 0]);

    /// Reads 255 bits, little endian; the top bit is ignored. Any value is accepted: it need not be below p.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Fe {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        Fe([
            word(0) & MASK_51,
            (word(6) >> 3) & MASK_51,
            (word(12) >> 6) & MASK_51,
            (word(19) >> 1) & MASK_51,
            (word(24) >> 12) & MASK_51,
        ])
    }

    /// The representation below p in 255 bits, little endian.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let [a, b, c, d, e] = self.canonical().0;
        bytemuck::cast([a | b << 51, b >> 13 | c << 38, c >> 26 | d << 25, d >> 39 | e << 12].map(u64::to_le))
    }

    /// The representation below p.
    pub(super) fn canonical(self) -> Fe {
        let mut limbs = self.carried().0;
        // Whether the value plus 19 reaches 2^255, that is, whether it is at least p.
        let mut over = (limbs[0] + 19) >> 51;
        for limb in &limbs[1..] {
            over = (limb + over) >> 51;
        }
        limbs[0] += 19 * over;
        for i in 0..4 {
            limbs[i + 1] += limbs[i] >> 51;
            limbs[i] &= MASK_51;
        }
        limbs[4] &= MASK_51;
        Fe(limbs)
    }

    /// One pass of carries: limbs below 2^63 become weak.
    fn carried(self) -> Fe {
        let Fe([a, b, c, d, e]) = self;
        let (ca, cb, cc, cd, ce) = (a >> 51, b >> 51, c >> 51, d >> 51, e >> 51);
        Fe([(a & MASK_51) + 19 * ce, (b & MASK_51) + ca, (c & MASK_51) + cb, (d & MASK_51) + cc, (e & MASK_51) + cd])
    }

    fn debug_assert_loose(&self) {
        debug_assert!(self.0.iter().all(|&limb| limb < 1 << 54), "{self:?}");
    }
}

/// As many field elements as a vector has lanes. Results are weak; arguments must be.
///
/// The methods of vector types must only run where their instructions exist: their values are made only inside
/// functions that [`super::simd`] calls after looking.
pub(super) trait Field: Copy {
    /// How many elements.
    const LANES: usize;
    /// 64-bit words of one element: a vector is `LIMBS` words for each lane, limb by limb.
    const LIMBS: usize;
    /// A product before its carries: sums and differences of two of them cost one pass of carries, not three.
    type Wide: Copy;

    /// From weak elements.
    fn splat(element: &Fe) -> Self;
    /// From weak elements, one a lane.
    fn from_lanes(elements: &[Fe]) -> Self;
    fn to_lanes(self, elements: &mut [Fe]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn square(self) -> Self;
    /// A product without its carries; see [`Field::Wide`].
    fn mul_wide(self, other: Self) -> Self::Wide;
    /// A square without its carries.
    fn square_wide(self) -> Self::Wide;
    /// An element as if it were a product.
    fn widen(self) -> Self::Wide;
    /// Twice a product: may be the first argument of a sum or difference.
    fn wide_double(a: Self::Wide) -> Self::Wide;
    fn wide_add(a: Self::Wide, b: Self::Wide) -> Self;
    fn wide_sub(a: Self::Wide, b: Self::Wide) -> Self;
    /// A product after its carries: weak again.
    fn narrow(a: Self::Wide) -> Self;
    /// Lane i of `one` where bit i of the mask is set, else of `other`.
    fn select(mask: u32, one: Self, other: Self) -> Self;
    /// Bit i: lane i is zero.
    fn zeros(self) -> u32;
    /// Bit i: lane i is odd, in its representation below p.
    fn odds(self) -> u32;
    /// The words, limb by limb, lane by lane.
    fn words(&self) -> &[u64];
    fn words_mut(&mut self) -> &mut [u64];
    /// Three coordinates of each of the packed points, one point a lane.
    fn gather(points: &[Packed], indices: &[u32]) -> [Self; 3];
    /// The opposite: lane i of the three coordinates to `packed[i]`.
    fn pack(coordinates: [Self; 3], packed: &mut [Packed]);
    /// Four coordinates of each of the rows, one row a lane.
    fn gather_rows(rows: &[Row], indices: &[u32; 8]) -> [Self; 4];
    /// The opposite: lane i of the four coordinates to `rows[indices[i]]`, for the first `count` lanes.
    fn scatter_rows(coordinates: [Self; 4], rows: &mut [Row], indices: &[u32; 8], count: usize);
}

/// Four field elements, as [`Packed`], three cache lines: 20 words, the last four unused.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row(pub(super) [u64; 24]);
const _: () = assert!(size_of::<Row>() == 192);

/// Three field elements as the vectors of one backend read them, two cache lines: 15 words, the last of 16 unused.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packed(pub(super) [u64; 16]);
const _: () = assert!(size_of::<Packed>() == 128);

impl AsRef<[u64; 16]> for Packed {
    #[inline(always)]
    fn as_ref(&self) -> &[u64; 16] {
        &self.0
    }
}

impl AsMut<[u64; 16]> for Packed {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u64; 16] {
        &mut self.0
    }
}

impl AsRef<[u64; 24]> for Row {
    #[inline(always)]
    fn as_ref(&self) -> &[u64; 24] {
        &self.0
    }
}

impl AsMut<[u64; 24]> for Row {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u64; 24] {
        &mut self.0
    }
}

impl Field for Fe {
    const LANES: usize = 1;
    const LIMBS: usize = 5;
    /// A product with its carries; its sums and differences are loose, which a multiplication takes.
    type Wide = Fe;

    fn splat(element: &Fe) -> Fe {
        *element
    }

    fn from_lanes(elements: &[Fe]) -> Fe {
        elements[0]
    }

    fn to_lanes(self, elements: &mut [Fe]) {
        elements[0] = self;
    }

    #[inline]
    fn add(self, other: Fe) -> Fe {
        let Fe(mut limbs) = self;
        limbs.iter_mut().zip(other.0).for_each(|(limb, other)| *limb += other);
        Fe(limbs).carried()
    }

    #[inline]
    fn sub(self, other: Fe) -> Fe {
        let Fe(mut limbs) = self;
        // 16p: the other may be loose.
        for i in 0..5 {
            limbs[i] = limbs[i] + 4 * FOUR_P[i] - other.0[i];
        }
        Fe(limbs).carried()
    }

    #[inline]
    fn mul(self, other: Fe) -> Fe {
        self.debug_assert_loose();
        other.debug_assert_loose();
        let Fe([a0, a1, a2, a3, a4]) = self;
        let Fe([b0, b1, b2, b3, b4]) = other;
        // Below 2^59: 19 times a loose limb.
        let n = |limb: u64| limb.wrapping_mul(19);
        let (n1, n2, n3, n4) = (n(b1), n(b2), n(b3), n(b4));
        // Each below 5 x 2^54 x 2^59 < 2^116, the last, without wrapped products, below 5 x 2^108.
        wide_carried([
            m(a0, b0) + m(a4, n1) + m(a3, n2) + m(a2, n3) + m(a1, n4),
            m(a1, b0) + m(a0, b1) + m(a4, n2) + m(a3, n3) + m(a2, n4),
            m(a2, b0) + m(a1, b1) + m(a0, b2) + m(a4, n3) + m(a3, n4),
            m(a3, b0) + m(a2, b1) + m(a1, b2) + m(a0, b3) + m(a4, n4),
            m(a4, b0) + m(a3, b1) + m(a2, b2) + m(a1, b3) + m(a0, b4),
        ])
    }

    #[inline]
    fn square(self) -> Fe {
        self.debug_assert_loose();
        let Fe([a0, a1, a2, a3, a4]) = self;
        let (d0, d1, n3, n4) = (a0.wrapping_mul(2), a1.wrapping_mul(2), a3.wrapping_mul(19), a4.wrapping_mul(19));
        let twice = |wide: Wrapping<u128>| Wrapping(wide.0 << 1);
        wide_carried([
            m(a0, a0) + twice(m(a1, n4) + m(a2, n3)),
            m(a3, n3) + m(d0, a1) + twice(m(a2, n4)),
            m(a1, a1) + m(d0, a2) + twice(m(a4, n3)),
            m(a4, n4) + m(d0, a3) + m(d1, a2),
            m(a2, a2) + m(d0, a4) + m(d1, a3),
        ])
    }

    fn mul_wide(self, other: Fe) -> Fe {
        self.mul(other)
    }

    fn square_wide(self) -> Fe {
        self.square()
    }

    fn widen(self) -> Fe {
        self
    }

    #[inline]
    fn wide_double(a: Fe) -> Fe {
        Fe::wide_add(a, a)
    }

    #[inline]
    fn wide_add(a: Fe, b: Fe) -> Fe {
        let (Fe(a), Fe(b)) = (a, b);
        Fe([a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4]])
    }

    #[inline]
    fn wide_sub(a: Fe, b: Fe) -> Fe {
        let (Fe(a), Fe(b), p) = (a, b, FOUR_P);
        Fe([a[0] + p[0] - b[0], a[1] + p[1] - b[1], a[2] + p[2] - b[2], a[3] + p[3] - b[3], a[4] + p[4] - b[4]])
    }

    fn narrow(a: Fe) -> Fe {
        a.carried()
    }

    fn select(mask: u32, one: Fe, other: Fe) -> Fe {
        if mask & 1 == 1 { one } else { other }
    }

    fn zeros(self) -> u32 {
        u32::from(self.canonical().0 == [0; 5])
    }

    fn odds(self) -> u32 {
        (self.canonical().0[0] & 1) as u32
    }

    fn words(&self) -> &[u64] {
        &self.0
    }

    fn words_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    #[inline]
    fn gather(points: &[Packed], indices: &[u32]) -> [Fe; 3] {
        let words = &points[indices[0] as usize].0;
        [0, 5, 10].map(|at| Fe(words[at..at + 5].try_into().expect("five limbs")))
    }

    fn pack(coordinates: [Fe; 3], packed: &mut [Packed]) {
        for (coordinate, at) in coordinates.into_iter().zip([0, 5, 10]) {
            packed[0].0[at..at + 5].copy_from_slice(&coordinate.carried().0);
        }
    }

    #[inline]
    fn gather_rows(rows: &[Row], indices: &[u32; 8]) -> [Fe; 4] {
        let words = &rows[indices[0] as usize].0;
        [0, 5, 10, 15].map(|at| Fe(words[at..at + 5].try_into().expect("five limbs")))
    }

    #[inline]
    fn scatter_rows(coordinates: [Fe; 4], rows: &mut [Row], indices: &[u32; 8], count: usize) {
        debug_assert_eq!(count, 1);
        for (coordinate, at) in coordinates.into_iter().zip([0, 5, 10, 15]) {
            rows[indices[0] as usize].0[at..at + 5].copy_from_slice(&coordinate.carried().0);
        }
    }
}

/// Carries of wide limbs below 2^116, the last below 2^111: the result is weak.
#[inline]
fn wide_carried(wide: [Wrapping<u128>; 5]) -> Fe {
    let [a, b, c, d, e] = wide;
    let low = |wide: Wrapping<u128>| wide.0 as u64 & MASK_51;
    let high = |wide: Wrapping<u128>| Wrapping(wide.0 >> 51);
    let b = b + high(a);
    let c = c + high(b);
    let d = d + high(c);
    let e = e + high(d);
    // The top carry is below 2^59.5, so 19 of it fit.
    let a = low(a).wrapping_add((high(e).0 as u64).wrapping_mul(19));
    Fe([a & MASK_51, low(b).wrapping_add(a >> 51), low(c), low(d), low(e)])
}

/// A product of limbs. Wrapping, because the bounds at each use leave no room for an overflow and the checks that
/// release builds carry would cost a third of the speed.
#[inline(always)]
fn m(a: u64, b: u64) -> Wrapping<u128> {
    Wrapping(u128::from(a).wrapping_mul(u128::from(b)))
}

/// What a power is made of.
pub(super) trait Power: Copy {
    fn times(self, other: Self) -> Self;
    fn squared(self, times: usize) -> Self;
}

impl<F: Field> Power for F {
    #[inline(always)]
    fn times(self, other: F) -> F {
        self.mul(other)
    }

    #[inline(always)]
    fn squared(self, times: usize) -> F {
        // Not a fold: a closure would be compiled without the features of the vectors.
        let mut value = self;
        for _ in 0..times {
            value = value.square();
        }
        value
    }
}

/// Two powers side by side: each squaring waits for the one before, and meanwhile the other's is computed.
#[derive(Clone, Copy)]
pub(super) struct Pair<F>(pub(super) F, pub(super) F);

impl<F: Field> Power for Pair<F> {
    #[inline(always)]
    fn times(self, other: Pair<F>) -> Pair<F> {
        Pair(self.0.mul(other.0), self.1.mul(other.1))
    }

    #[inline(always)]
    fn squared(self, times: usize) -> Pair<F> {
        let Pair(mut one, mut other) = self;
        for _ in 0..times {
            (one, other) = (one.square(), other.square());
        }
        Pair(one, other)
    }
}

/// x^((p-5)/8) = x^(2^252 - 3), the long part of a square root.
#[inline(always)]
pub(super) fn pow_p58<P: Power>(x: P) -> P {
    let x2 = x.squared(1);
    let x9 = x2.squared(2).times(x);
    let x11 = x9.times(x2);
    let ones5 = x11.squared(1).times(x9);
    let ones10 = ones5.squared(5).times(ones5);
    let ones20 = ones10.squared(10).times(ones10);
    let ones40 = ones20.squared(20).times(ones20);
    let ones50 = ones40.squared(10).times(ones10);
    let ones100 = ones50.squared(50).times(ones50);
    let ones200 = ones100.squared(100).times(ones100);
    let ones250 = ones200.squared(50).times(ones50);
    ones250.squared(2).times(x)
}

/// 1 / x = x^(2^255 - 21); of zero it is zero.
#[inline(always)]
pub(super) fn inverse<F: Field>(x: F) -> F {
    // 8 (2^252 - 3) + 3.
    pow_p58(x).squared(3).mul(x.square().mul(x))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;

    /// Canonical bytes, for comparisons.
    pub(in super::super) fn bytes(element: Fe) -> [u8; 32] {
        element.to_bytes()
    }

    /// Elements that stress carries: zero, one, p - 1, p, all limbs at their bound, and many random ones.
    pub(in super::super) fn samples(count: usize) -> Vec<Fe> {
        let mut samples = vec![
            Fe::ZERO,
            Fe::ONE,
            Fe([MASK_51 - 19, MASK_51, MASK_51, MASK_51, MASK_51]),
            Fe([MASK_51 - 18, MASK_51, MASK_51, MASK_51, MASK_51]),
            Fe([WEAK - 1; 5]),
            Fe([MASK_51; 5]),
            D,
            SQRT_M1,
        ];
        let mut stream = blake3::Hasher::new_derive_key("dynemix test field elements").finalize_xof();
        while samples.len() < count {
            let mut bytes = [0; 40];
            stream.fill(&mut bytes);
            let limbs: [u64; 5] =
                std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap()) % WEAK);
            samples.push(Fe(limbs));
        }
        samples
    }

    #[test]
    fn constants_are_what_they_are_named() {
        assert_eq!(bytes(SQRT_M1.square().add(Fe::ONE)), [0; 32]);
        assert_eq!(bytes(D.add(D)), bytes(D2));
        assert_eq!(bytes(HALF.add(HALF)), bytes(Fe::ONE));
        assert_eq!(bytes(D2.mul(D2_INVERSE)), bytes(Fe::ONE));
        let k = |value: u64| Fe([value, 0, 0, 0, 0]);
        assert_eq!(bytes(D.mul(k(121_666)).add(k(121_665))), [0; 32]);
        // The base point's y is 4/5.
        let y = Fe::from_bytes(ED25519_BASEPOINT_COMPRESSED.as_bytes());
        assert_eq!(bytes(y.mul(k(5))), bytes(k(4)));
    }

    #[test]
    fn bytes_are_read_as_they_were_written() {
        for sample in samples(60) {
            assert_eq!(Fe::from_bytes(&sample.to_bytes()).canonical().0, sample.canonical().0);
        }
        assert_eq!(Fe::ONE.to_bytes()[..2], [1, 0]);
        assert_eq!(Fe([MASK_51 - 18, MASK_51, MASK_51, MASK_51, MASK_51]).to_bytes(), [0; 32]);
    }

    #[test]
    fn arithmetic_keeps_the_laws_of_a_field() {
        let samples = samples(60);
        for &a in &samples {
            assert_eq!(bytes(a.square()), bytes(a.mul(a)));
            for &b in &samples {
                assert_eq!(bytes(a.mul(b)), bytes(b.mul(a)));
                assert_eq!(bytes(a.add(b).sub(b)), bytes(a));
                assert_eq!(bytes(a.add(b).mul(D)), bytes(a.mul(D).add(b.mul(D))));
            }
        }
        assert_eq!(bytes(inverse(samples[20]).mul(samples[20])), bytes(Fe::ONE));
        assert_eq!(bytes(inverse(Fe::ZERO)), bytes(Fe::ZERO));
        // x^(2^252 - 3) to the eighth is x^(2^255 - 24) = x^(p - 1 - 4): times x^4 it is one.
        let x = samples[20];
        assert_eq!(bytes(pow_p58(x).squared(3).mul(x.squared(2))), bytes(Fe::ONE));
    }
}
