//! Points of the curve, a lane each, in the two forms that the sums need.
//!
//! Formulas: H. Hisil, K. Wong, G. Carter, E. Dawson, "Twisted Edwards curves revisited" (2008), complete for every
//! pair of points of this curve, those of small order included.

use super::field::{D, D2, D2_INVERSE, Fe, Field, Packed, SQRT_M1, pow_p58};

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

    /// Four multiplications and four squarings.
    #[inline(always)]
    pub(super) fn doubled(&self) -> Extended<F> {
        // Twice X and Y; so Z counts twice as well.
        let (x, y, z) = (self.plus.sub(self.minus), self.plus.add(self.minus), self.z.add(self.z));
        let (xx, yy, zz) = (x.square(), y.square(), z.square());
        let xy = x.add(y).square();
        let h = yy.add(xx);
        let g = yy.sub(xx);
        completed(xy.sub(h), zz.add(zz).sub(g), g, h)
    }

    /// Bit i: lane i is the neutral point.
    #[inline(always)]
    pub(super) fn identities(&self) -> u32 {
        self.plus.sub(self.minus).zeros() & self.plus.sub(self.z).zeros()
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

/// Decodes as many encodings as there are lanes by ZIP-215's rule: y need not be below p, and x = 0 takes either sign.
/// Writes packed points; bit i of the result: encoding i decodes. What does not decode leaves nonsense behind.
#[inline(always)]
pub(super) fn decode<F: Field>(encodings: &[[u8; 32]], packed: &mut [Packed]) -> u32 {
    let mut elements = [Fe::ZERO; 8];
    let mut signs = 0;
    for (lane, encoding) in encodings[..F::LANES].iter().enumerate() {
        elements[lane] = Fe::from_bytes(encoding);
        signs |= u32::from(encoding[31] >> 7) << lane;
    }
    let one = F::splat(&Fe::ONE);
    let y = F::from_lanes(&elements);
    let yy = y.square();
    let (u, v) = (yy.sub(one), yy.mul(F::splat(&D)).add(one));
    // x = u v^3 (u v^7)^((p-5)/8), a square root of u/v up to a fourth root of unity.
    let v3 = v.square().mul(v);
    let v7 = v3.square().mul(v);
    let x = u.mul(v3).mul(pow_p58(u.mul(v7)));
    let vxx = x.square().mul(v);
    let (right, flipped) = (vxx.sub(u).zeros(), vxx.add(u).zeros());
    let x = F::select(right, x, x.mul(F::splat(&SQRT_M1)));
    let negate = x.odds() ^ signs;
    let x = F::select(negate, F::splat(&Fe::ZERO).sub(x), x);
    F::pack([y.add(x), y.sub(x), x.mul(y).mul(F::splat(&D2))], packed);
    right | flipped
}
