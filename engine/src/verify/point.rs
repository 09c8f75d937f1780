//! Points of the curve, a lane each, in the two forms that the sums need.
//!
//! Formulas: H. Hisil, K. Wong, G. Carter, E. Dawson, "Twisted Edwards curves revisited" (2008), complete for every
//! pair of points of this curve, those of small order included.

use super::field::{D, D2, D2_INVERSE, Fe, Field, HALF, Packed, Pair, Row, SQRT_M1, inverse, pow_p58};

/// Y - X, Y + X, Z, T with x = X/Z, y = Y/Z, xy = T/Z: additions only ever want difference and sum.
#[derive(Clone, Copy)]
pub(super) struct Extended<F> {
    pub(super) minus: F,
    pub(super) plus: F,
    pub(super) z: F,
    pub(super) t: F,
}

/// A running sum of points with Z = 1: as [`Extended`], with Z before its carries, since only its double is wanted.
#[derive(Clone, Copy)]
pub(super) struct Running<F: Field> {
    minus: F,
    plus: F,
    z: F::Wide,
    t: F,
}

/// Y - X, Y + X, Z, 2dT: what an addition of any point needs of it.
#[derive(Clone, Copy)]
pub(super) struct Prepared<F> {
    minus: F,
    plus: F,
    z: F,
    t2d: F,
}

/// y + x, y - x, 2dxy: what an addition of a point with Z = 1 needs of it.
#[derive(Clone, Copy)]
pub(super) struct Niels<F> {
    pub(super) plus: F,
    pub(super) minus: F,
    pub(super) t2d: F,
}

/// The neutral point in packed form: the filler of lanes that have run out of points.
pub(super) fn packed_identity<F: Field>() -> Packed {
    let mut packed = vec![Packed::default(); F::LANES];
    F::pack([F::splat(&Fe::ONE), F::splat(&Fe::ONE), F::splat(&Fe::ZERO)], &mut packed);
    packed[0]
}

impl<F: Field> Niels<F> {
    /// Reads packed points, one a lane, and negates those lanes whose bit is set.
    #[inline(always)]
    pub(super) fn gather(points: &[Packed], indices: &[u32], negative: u32) -> Niels<F> {
        let [plus, minus, t2d] = F::gather(points, indices);
        Niels {
            plus: F::select(negative, minus, plus),
            minus: F::select(negative, plus, minus),
            t2d: F::select(negative, F::splat(&Fe::ZERO).sub(t2d), t2d),
        }
    }
}

impl<F: Field> Prepared<F> {
    /// Reads rows, one a lane, and negates those lanes whose bit is set.
    #[inline(always)]
    pub(super) fn gather(rows: &[Row], indices: &[u32; 8], negative: u32) -> Prepared<F> {
        let [minus, plus, z, t2d] = F::gather_rows(rows, indices);
        Prepared {
            minus: F::select(negative, plus, minus),
            plus: F::select(negative, minus, plus),
            z,
            t2d: F::select(negative, F::splat(&Fe::ZERO).sub(t2d), t2d),
        }
    }

    /// Writes the first `count` lanes to rows.
    #[inline(always)]
    pub(super) fn scatter(self, rows: &mut [Row], indices: &[u32; 8], count: usize) {
        F::scatter_rows([self.minus, self.plus, self.z, self.t2d], rows, indices, count);
    }
}

impl<F: Field> Running<F> {
    /// One point: one multiplication.
    #[inline(always)]
    pub(super) fn first(niels: &Niels<F>) -> Running<F> {
        let t = niels.t2d.mul(F::splat(&D2_INVERSE));
        Running { minus: niels.minus, plus: niels.plus, z: F::splat(&Fe::ONE).widen(), t }
    }

    /// Seven multiplications, seven passes of carries.
    #[inline(always)]
    pub(super) fn add(&self, other: &Niels<F>) -> Running<F> {
        let a = self.minus.mul_wide(other.minus);
        let b = self.plus.mul_wide(other.plus);
        let c = self.t.mul_wide(other.t2d);
        let d = F::wide_double(self.z);
        let (e, h) = (F::wide_sub(b, a), F::wide_add(b, a));
        let (f, g) = (F::wide_sub(d, c), F::wide_add(d, c));
        let (x, y) = (e.mul_wide(f), g.mul_wide(h));
        Running { minus: F::wide_sub(y, x), plus: F::wide_add(y, x), z: f.mul_wide(g), t: e.mul(h) }
    }

    /// The sum as a point, after the carries of Z.
    #[inline(always)]
    pub(super) fn finished(&self) -> Extended<F> {
        Extended { minus: self.minus, plus: self.plus, z: F::narrow(self.z), t: self.t }
    }
}

impl<F: Field> Extended<F> {
    #[inline(always)]
    pub(super) fn identity() -> Extended<F> {
        let (zero, one) = (F::splat(&Fe::ZERO), F::splat(&Fe::ONE));
        Extended { minus: one, plus: one, z: one, t: zero }
    }

    /// Adds a point with Z = 1: seven multiplications.
    #[inline(always)]
    pub(super) fn add_niels(&self, other: &Niels<F>) -> Extended<F> {
        Running { minus: self.minus, plus: self.plus, z: self.z.widen(), t: self.t }.add(other).finished()
    }

    /// Adds any point: nine multiplications.
    #[inline(always)]
    pub(super) fn add(&self, other: &Extended<F>) -> Extended<F> {
        let a = self.minus.mul_wide(other.minus);
        let b = self.plus.mul_wide(other.plus);
        let c = self.t.mul(other.t).mul_wide(F::splat(&D2));
        let d = F::wide_double(self.z.mul_wide(other.z));
        completed(F::wide_sub(b, a), F::wide_sub(d, c), F::wide_add(d, c), F::wide_add(b, a))
    }

    /// Adds any point that is prepared for it: eight multiplications.
    #[inline(always)]
    pub(super) fn add_prepared(&self, other: &Prepared<F>) -> Extended<F> {
        let a = self.minus.mul_wide(other.minus);
        let b = self.plus.mul_wide(other.plus);
        let c = self.t.mul_wide(other.t2d);
        let d = F::wide_double(self.z.mul_wide(other.z));
        completed(F::wide_sub(b, a), F::wide_sub(d, c), F::wide_add(d, c), F::wide_add(b, a))
    }

    /// One more multiplication, that every addition of the point saves.
    #[inline(always)]
    pub(super) fn prepared(&self) -> Prepared<F> {
        Prepared { minus: self.minus, plus: self.plus, z: self.z, t2d: self.t.mul(F::splat(&D2)) }
    }

    /// Doubled so many times: four multiplications and three squarings each, and one more for T in the end, which no double
    /// wants.
    #[inline(always)]
    pub(super) fn doubled_times(&self, times: usize) -> Extended<F> {
        let mut point = *self;
        for left in (0..times).rev() {
            let (e, f, g, h) = point.doubling();
            let (x, y) = (e.mul_wide(f), g.mul_wide(h));
            (point.minus, point.plus, point.z) = (F::wide_sub(y, x), F::wide_add(y, x), f.mul(g));
            if left == 0 {
                point.t = e.mul(h);
            }
        }
        point
    }

    /// E = 4XY, F = 4Z^2 - G, G = 2(Y^2 - X^2), H = 2(X^2 + Y^2): all of them from squares and the product of Y - X and
    /// Y + X.
    #[inline(always)]
    fn doubling(&self) -> (F, F, F, F) {
        let (minus, plus) = (self.minus.square_wide(), self.plus.square_wide());
        let product = self.minus.mul_wide(self.plus);
        let g = F::wide_add(product, product);
        let z2 = self.z.add(self.z);
        (F::wide_sub(plus, minus), F::wide_sub(z2.square_wide(), g.widen()), g, F::wide_add(plus, minus))
    }

    /// Bit i: lane i is the neutral point.
    #[inline(always)]
    pub(super) fn identities(&self) -> u32 {
        self.plus.sub(self.minus).zeros() & self.plus.sub(self.z).zeros()
    }

    /// Reads rows, one a lane.
    #[inline(always)]
    pub(super) fn gather(rows: &[Row], indices: &[u32; 8]) -> Extended<F> {
        let [minus, plus, z, t] = F::gather_rows(rows, indices);
        Extended { minus, plus, z, t }
    }

    /// Writes the first `count` lanes to rows.
    #[inline(always)]
    pub(super) fn scatter(self, rows: &mut [Row], indices: &[u32; 8], count: usize) {
        F::scatter_rows([self.minus, self.plus, self.z, self.t], rows, indices, count);
    }

    /// The coordinates, to copy lanes by the word.
    pub(super) fn coordinates(&self) -> [&F; 4] {
        [&self.minus, &self.plus, &self.z, &self.t]
    }

    pub(super) fn coordinates_mut(&mut self) -> [&mut F; 4] {
        [&mut self.minus, &mut self.plus, &mut self.z, &mut self.t]
    }

    /// One lane as a scalar point.
    pub(super) fn lane(&self, lane: usize) -> Extended<Fe> {
        let mut elements = [Fe::ZERO; 8];
        let mut of = |coordinate: F| {
            coordinate.to_lanes(&mut elements);
            elements[lane]
        };
        Extended { minus: of(self.minus), plus: of(self.plus), z: of(self.z), t: of(self.t) }
    }

    /// The opposite point: X and T change their signs.
    pub(super) fn negated(&self) -> Extended<F> {
        Extended { minus: self.plus, plus: self.minus, z: self.z, t: F::splat(&Fe::ZERO).sub(self.t) }
    }
}

/// The sum or double with X = EF, Y = GH, Z = FG, T = EH.
#[inline(always)]
fn completed<F: Field>(e: F, f: F, g: F, h: F) -> Extended<F> {
    let (x, y) = (e.mul_wide(f), g.mul_wide(h));
    Extended { minus: F::wide_sub(y, x), plus: F::wide_add(y, x), z: f.mul(g), t: e.mul(h) }
}

/// Decodes up to twice as many encodings as there are lanes by ZIP-215's rule: y need not be below p, and x = 0 takes
/// either sign. Writes packed points, in whole vectors; bit i of the result: encoding i decodes. What does not decode
/// leaves nonsense behind.
#[inline(always)]
pub(super) fn decode<F: Field>(encodings: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
    let one = Root::<F>::wanted(encodings);
    if encodings.len() <= F::LANES {
        return one.decoded(pow_p58(one.base), packed);
    }
    let other = Root::<F>::wanted(&encodings[F::LANES..]);
    let Pair(power, other_power) = pow_p58(Pair(one.base, other.base));
    one.decoded(power, packed) | other.decoded(other_power, &mut packed[F::LANES..]) << F::LANES
}

/// The x that belong to some y: x = u v^3 (u v^7)^((p-5)/8) is a square root of u/v up to a fourth root of unity.
struct Root<F> {
    y: F,
    signs: u32,
    u: F,
    v: F,
    /// u v^3 and u v^7.
    factor: F,
    base: F,
}

impl<F: Field> Root<F> {
    #[inline(always)]
    fn wanted(encodings: &[[u8; 32]]) -> Root<F> {
        let mut elements = [Fe::ONE; 8];
        let mut signs = 0;
        for (lane, encoding) in encodings.iter().take(F::LANES).enumerate() {
            elements[lane] = Fe::from_bytes(encoding);
            signs |= u32::from(encoding[31] >> 7) << lane;
        }
        let one = F::splat(&Fe::ONE);
        let y = F::from_lanes(&elements);
        let yy = y.square();
        let (u, v) = (yy.sub(one), yy.mul(F::splat(&D)).add(one));
        let v3 = v.square().mul(v);
        let v7 = v3.square().mul(v);
        Root { y, signs, u, v, factor: u.mul(v3), base: u.mul(v7) }
    }

    #[inline(always)]
    fn decoded(&self, power: F, packed: &mut [Packed]) -> u32 {
        let Root { y, signs, u, v, factor, .. } = *self;
        let x = factor.mul(power);
        let vxx = x.square().mul(v);
        let (right, flipped) = (vxx.sub(u).zeros(), vxx.add(u).zeros());
        let x = F::select(right, x, x.mul(F::splat(&SQRT_M1)));
        let negate = x.odds() ^ signs;
        let x = F::select(negate, F::splat(&Fe::ZERO).sub(x), x);
        F::pack([y.add(x), y.sub(x), x.mul(y).mul(F::splat(&D2))], packed);
        right | flipped
    }
}

/// Takes as many encodings as there are lanes for points with the x that hints say: those whose x fits y and sign are
/// what [`decode`] would find. Bit i of the result: hint i fits; else nonsense is left behind.
#[inline(always)]
pub(super) fn decode_hinted<F: Field>(encodings: &[[u8; 32]], hints: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
    let (mut ys, mut xs) = ([Fe::ONE; 8], [Fe::ZERO; 8]);
    let mut signs = 0;
    for lane in 0..F::LANES {
        (ys[lane], xs[lane]) = (Fe::from_bytes(&encodings[lane]), Fe::from_bytes(&hints[lane]));
        signs |= u32::from(encodings[lane][31] >> 7) << lane;
    }
    let (x, y) = (F::from_lanes(&xs), F::from_lanes(&ys));
    let (xx, yy) = (x.square(), y.square());
    // -x^2 + y^2 = 1 + d x^2 y^2.
    let on_curve = yy.sub(xx).sub(xx.mul(yy).mul(F::splat(&D))).sub(F::splat(&Fe::ONE)).zeros();
    F::pack([y.add(x), y.sub(x), x.mul(y).mul(F::splat(&D2))], packed);
    // x = 0 takes either sign.
    on_curve & (!(x.odds() ^ signs) | x.zeros())
}

/// The x coordinates of packed points, one a lane: what hints say.
#[inline(always)]
pub(super) fn hints<F: Field>(points: &[Packed], indices: &[u32], hints: &mut [[u8; 32]]) {
    let Niels { plus, minus, .. } = Niels::<F>::gather(points, indices, 0);
    let mut elements = [Fe::ZERO; 8];
    plus.sub(minus).mul(F::splat(&HALF)).to_lanes(&mut elements);
    for (hint, element) in hints[..F::LANES].iter_mut().zip(elements) {
        *hint = element.to_bytes();
    }
}

/// How far apart the two points of a split key are: h A = (h modulo 2^127) A + floor(h / 2^127) (2^127 A).
pub(super) const SPLIT_BITS: usize = 127;

/// Multiplies packed points by 2^127, one a lane. Costs about as much as a verdict.
#[inline(always)]
pub(super) fn split<F: Field>(points: &[Packed], indices: &[u32], packed: &mut [Packed]) {
    let point = Running::first(&Niels::<F>::gather(points, indices, 0)).finished().doubled_times(SPLIT_BITS);
    let z = inverse(point.z);
    F::pack([point.plus.mul(z), point.minus.mul(z), point.t.mul(F::splat(&D2)).mul(z)], packed);
}
