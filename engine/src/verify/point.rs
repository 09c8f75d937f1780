//! Points of the curve, a lane each, in the two forms that the sums need.
//!
//! Formulas: H. Hisil, K. Wong, G. Carter, E. Dawson, "Twisted Edwards curves revisited" (2008), complete for every pair of
//! points of this curve, those of small order included.

use super::field::{D, D_INVERSE, D2, Fe, Field, Packed, SQRT_M1, pow_p58};

/// x = X/Z, y = Y/Z, xy = T/Z.
#[derive(Clone, Copy)]
pub(super) struct Extended<F> {
    pub(super) x: F,
    pub(super) y: F,
    pub(super) z: F,
    pub(super) t: F,
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

impl<F: Field> Extended<F> {
    #[inline(always)]
    pub(super) fn identity() -> Extended<F> {
        let (zero, one) = (F::splat(&Fe::ZERO), F::splat(&Fe::ONE));
        Extended { x: zero, y: one, z: one, t: zero }
    }

    /// The point itself, scaled by two: one multiplication.
    #[inline(always)]
    pub(super) fn from_niels(niels: &Niels<F>) -> Extended<F> {
        let two = F::splat(&Fe([2, 0, 0, 0, 0]));
        Extended { x: niels.plus.sub(niels.minus), y: niels.plus.add(niels.minus), z: two, t: niels.t2d.mul(F::splat(&D_INVERSE)) }
    }

    /// Seven multiplications.
    #[inline(always)]
    pub(super) fn add_niels(&self, other: &Niels<F>) -> Extended<F> {
        let a = self.y.sub(self.x).mul(other.minus);
        let b = self.y.add(self.x).mul(other.plus);
        let c = self.t.mul(other.t2d);
        completed(a, b, c, self.z.add(self.z))
    }

    /// Nine multiplications.
    #[inline(always)]
    pub(super) fn add(&self, other: &Extended<F>) -> Extended<F> {
        let a = self.y.sub(self.x).mul(other.y.sub(other.x));
        let b = self.y.add(self.x).mul(other.y.add(other.x));
        let c = self.t.mul(other.t).mul(F::splat(&D2));
        let zz = self.z.mul(other.z);
        completed(a, b, c, zz.add(zz))
    }

    /// Four multiplications and four squarings.
    #[inline(always)]
    pub(super) fn doubled(&self) -> Extended<F> {
        let (xx, yy, zz) = (self.x.square(), self.y.square(), self.z.square());
        let xy = self.x.add(self.y).square();
        let h = yy.add(xx);
        let e = xy.sub(h);
        let g = yy.sub(xx);
        let f = zz.add(zz).sub(g);
        Extended { x: e.mul(f), y: g.mul(h), z: f.mul(g), t: e.mul(h) }
    }

    /// Bit i: lane i is the neutral point.
    #[inline(always)]
    pub(super) fn identities(&self) -> u32 {
        self.x.zeros() & self.y.sub(self.z).zeros()
    }

    /// The coordinates, to copy lanes by the word.
    pub(super) fn coordinates(&self) -> [&F; 4] {
        [&self.x, &self.y, &self.z, &self.t]
    }

    pub(super) fn coordinates_mut(&mut self) -> [&mut F; 4] {
        [&mut self.x, &mut self.y, &mut self.z, &mut self.t]
    }

    /// One lane as a scalar point.
    pub(super) fn lane(&self, lane: usize) -> Extended<Fe> {
        let mut elements = [Fe::ZERO; 8];
        let mut of = |coordinate: F| {
            coordinate.to_lanes(&mut elements);
            elements[lane]
        };
        Extended { x: of(self.x), y: of(self.y), z: of(self.z), t: of(self.t) }
    }

    /// Negated.
    pub(super) fn negated(&self) -> Extended<F> {
        let zero = F::splat(&Fe::ZERO);
        Extended { x: zero.sub(self.x), t: zero.sub(self.t), ..*self }
    }
}

#[inline(always)]
fn completed<F: Field>(a: F, b: F, c: F, d: F) -> Extended<F> {
    let (e, h) = (b.sub(a), b.add(a));
    let (f, g) = (d.sub(c), d.add(c));
    Extended { x: e.mul(f), y: g.mul(h), z: f.mul(g), t: e.mul(h) }
}

/// Decodes as many encodings as there are lanes by ZIP-215's rule: y need not be below p, and x = 0 takes either sign. Writes
/// packed points; bit i of the result: encoding i decodes. What does not decode leaves nonsense behind.
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
