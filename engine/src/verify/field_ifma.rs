//! Four or eight field elements at once with IFMA: five limbs of 51 bits, a vector each.
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
//! again. The code is the same for every [`Vector`] that has the instruction.

use super::field::{FOUR_P, Fe, Field, MASK_51, Packed, Row, WEAK};
use super::vectors::{Ifma, Vector};

/// Weak elements, one a lane.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Elements<V>([V; 5]);

/// 2^9 p, limb 0 and the others: at least any product, so that a difference never goes below zero.
const WIDE_P: [u64; 2] = [(MASK_51 - 18) << 9, MASK_51 << 9];

// Closures and `array::map` are avoided: they would be compiled without the vectors' features and call every
// instruction.

#[inline(always)]
fn add64<V: Vector>(a: V, b: V) -> V {
    a.add(b)
}

#[inline(always)]
fn sub64<V: Vector>(a: V, b: V) -> V {
    a.sub(b)
}

#[inline(always)]
fn double<V: Vector>(a: V) -> V {
    a.add(a)
}

/// 19 a for a below 2^59.
#[inline(always)]
fn times19<V: Vector>(a: V) -> V {
    a.shifted_left::<4>().opaque().add(double(a)).add(a)
}

#[inline(always)]
fn carry51<V: Vector>(a: V) -> V {
    a.shifted_right::<51>()
}

#[inline(always)]
fn rest51<V: Vector>(a: V) -> V {
    a.and(V::splat(MASK_51))
}

/// One pass of carries over limbs below 2^62: weak afterwards (a carry is below 2^11, 19 of them below 2^15.3 only for
/// limbs above 2^61.8; sums here stay below 2^61).
#[inline(always)]
fn carried<V: Ifma>(limbs: [V; 5]) -> Elements<V> {
    let [a, b, c, d, e] = limbs;
    Elements([
        V::low(rest51(a), carry51(e), V::splat(19)),
        add64(rest51(b), carry51(a)),
        add64(rest51(c), carry51(b)),
        add64(rest51(d), carry51(c)),
        add64(rest51(e), carry51(d)),
    ])
    .checked()
}

impl<V: Ifma> Elements<V> {
    #[inline(always)]
    fn checked(self) -> Elements<V> {
        if cfg!(debug_assertions) {
            assert!(self.words().iter().all(|&limb| limb < WEAK));
        }
        self
    }
}

/// Limbs of a product from its ten halves.
#[inline(always)]
fn folded<V: Ifma>(z: [V; 9], w: [V; 9]) -> [V; 5] {
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
fn product<V: Ifma>(a: &Elements<V>, b: &Elements<V>) -> [V; 5] {
    let zero = V::splat(0);
    let (mut z, mut w) = ([zero; 9], [zero; 9]);
    let (a, b) = (a.0, b.0);
    macro_rules! row {
        ($i:literal) => {
            z[$i] = V::low(z[$i], a[$i], b[0]);
            w[$i] = V::high(w[$i], a[$i], b[0]);
            z[$i + 1] = V::low(z[$i + 1], a[$i], b[1]);
            w[$i + 1] = V::high(w[$i + 1], a[$i], b[1]);
            z[$i + 2] = V::low(z[$i + 2], a[$i], b[2]);
            w[$i + 2] = V::high(w[$i + 2], a[$i], b[2]);
            z[$i + 3] = V::low(z[$i + 3], a[$i], b[3]);
            w[$i + 3] = V::high(w[$i + 3], a[$i], b[3]);
            z[$i + 4] = V::low(z[$i + 4], a[$i], b[4]);
            w[$i + 4] = V::high(w[$i + 4], a[$i], b[4]);
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
fn squared<V: Ifma>(a: &Elements<V>) -> [V; 5] {
    let a = a.0;
    let zero = V::splat(0);
    let (mut z, mut w) = ([zero; 9], [zero; 9]);
    macro_rules! cross {
        ($i:literal, $j:literal) => {
            z[$i + $j] = V::low(z[$i + $j], a[$i], a[$j]);
            w[$i + $j] = V::high(w[$i + $j], a[$i], a[$j]);
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
        z[2 * i] = V::low(z[2 * i], a[i], a[i]);
        w[2 * i] = V::high(w[2 * i], a[i], a[i]);
    }
    folded(z, w)
}

/// All lanes below p with limbs below 2^51.
#[inline(always)]
fn canonical<V: Ifma>(value: Elements<V>) -> [V; 5] {
    let [a, b, c, d, e] = carried(value.0).0;
    // Whether the value plus 19 reaches 2^255, that is, whether it is at least p.
    let mut over = carry51(add64(a, V::splat(19)));
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

impl<V: Ifma> Field for Elements<V> {
    const LANES: usize = V::LANES;
    const LIMBS: usize = 5;
    /// Limbs below 2^59.1: nine low halves below 2^52 and nine high ones below 2^50.1, some of them 19-fold.
    type Wide = [V; 5];

    #[inline(always)]
    fn splat(element: &Fe) -> Elements<V> {
        let [a, b, c, d, e] = element.0;
        Elements([V::splat(a), V::splat(b), V::splat(c), V::splat(d), V::splat(e)]).checked()
    }

    fn from_lanes(elements: &[Fe]) -> Elements<V> {
        let mut value = Elements([V::splat(0); 5]);
        let words = value.words_mut();
        for (lane, element) in elements[..V::LANES].iter().enumerate() {
            element.0.iter().enumerate().for_each(|(limb, &word)| words[limb * V::LANES + lane] = word);
        }
        value
    }

    fn to_lanes(self, elements: &mut [Fe]) {
        let words = self.words();
        for (lane, element) in elements[..V::LANES].iter_mut().enumerate() {
            *element = Fe(std::array::from_fn(|limb| words[limb * V::LANES + lane]));
        }
    }

    #[inline(always)]
    fn add(self, other: Elements<V>) -> Elements<V> {
        let (Elements(a), Elements(b)) = (self, other);
        carried([add64(a[0], b[0]), add64(a[1], b[1]), add64(a[2], b[2]), add64(a[3], b[3]), add64(a[4], b[4])])
    }

    #[inline(always)]
    fn sub(self, other: Elements<V>) -> Elements<V> {
        let (Elements(a), Elements(b)) = (self, other);
        carried([
            add64(a[0], sub64(V::splat(FOUR_P[0]), b[0])),
            add64(a[1], sub64(V::splat(FOUR_P[1]), b[1])),
            add64(a[2], sub64(V::splat(FOUR_P[2]), b[2])),
            add64(a[3], sub64(V::splat(FOUR_P[3]), b[3])),
            add64(a[4], sub64(V::splat(FOUR_P[4]), b[4])),
        ])
    }

    #[inline(always)]
    fn mul(self, other: Elements<V>) -> Elements<V> {
        carried(self.mul_wide(other))
    }

    #[inline(always)]
    fn mul_wide(self, other: Elements<V>) -> [V; 5] {
        product(&self, &other)
    }

    #[inline(always)]
    fn widen(self) -> [V; 5] {
        self.0
    }

    #[inline(always)]
    fn wide_double(a: [V; 5]) -> [V; 5] {
        [double(a[0]), double(a[1]), double(a[2]), double(a[3]), double(a[4])]
    }

    #[inline(always)]
    fn wide_add(a: [V; 5], b: [V; 5]) -> Elements<V> {
        carried([add64(a[0], b[0]), add64(a[1], b[1]), add64(a[2], b[2]), add64(a[3], b[3]), add64(a[4], b[4])])
    }

    /// Below 2^60.1 (a doubled product) + 2^60, so the carries' bound holds.
    #[inline(always)]
    fn wide_sub(a: [V; 5], b: [V; 5]) -> Elements<V> {
        carried([
            add64(a[0], sub64(V::splat(WIDE_P[0]), b[0])),
            add64(a[1], sub64(V::splat(WIDE_P[1]), b[1])),
            add64(a[2], sub64(V::splat(WIDE_P[1]), b[2])),
            add64(a[3], sub64(V::splat(WIDE_P[1]), b[3])),
            add64(a[4], sub64(V::splat(WIDE_P[1]), b[4])),
        ])
    }

    #[inline(always)]
    fn narrow(a: [V; 5]) -> Elements<V> {
        carried(a)
    }

    #[inline(always)]
    fn square(self) -> Elements<V> {
        carried(self.square_wide())
    }

    #[inline(always)]
    fn square_wide(self) -> [V; 5] {
        squared(&self)
    }

    #[inline(always)]
    fn select(mask: u32, one: Elements<V>, other: Elements<V>) -> Elements<V> {
        let (x, y) = (one.0, other.0);
        Elements([
            V::select(mask, x[0], y[0]),
            V::select(mask, x[1], y[1]),
            V::select(mask, x[2], y[2]),
            V::select(mask, x[3], y[3]),
            V::select(mask, x[4], y[4]),
        ])
    }

    #[inline(always)]
    fn zeros(self) -> u32 {
        let [a, b, c, d, e] = canonical(self);
        a.or(b).or(c).or(d).or(e).zeros()
    }

    #[inline(always)]
    fn odds(self) -> u32 {
        canonical(self)[0].odds()
    }

    #[inline(always)]
    fn words(&self) -> &[u64] {
        // SAFETY: five vectors of eight words, without padding, borrowed as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), 5 * V::LANES) }
    }

    #[inline(always)]
    fn words_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `words`, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 5 * V::LANES) }
    }

    #[inline(always)]
    fn gather(points: &[Packed], indices: &[u32]) -> [Elements<V>; 3] {
        let (f, s) = (V::columns(points, indices, 0), V::columns(points, indices, 8));
        [
            Elements([f[0], f[1], f[2], f[3], f[4]]),
            Elements([f[5], f[6], f[7], s[0], s[1]]),
            Elements([s[2], s[3], s[4], s[5], s[6]]),
        ]
    }

    #[inline(always)]
    fn pack(coordinates: [Elements<V>; 3], packed: &mut [Packed]) {
        let [Elements(a), Elements(b), Elements(c)] = coordinates;
        let indices = [0, 1, 2, 3, 4, 5, 6, 7];
        V::write_rows([a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2]], packed, &indices, V::LANES, 0);
        V::write_rows([b[3], b[4], c[0], c[1], c[2], c[3], c[4], V::splat(0)], packed, &indices, V::LANES, 8);
    }

    #[inline(always)]
    fn gather_rows(rows: &[Row], indices: &[u32; 8]) -> [Elements<V>; 4] {
        let (f, s) = (V::columns(rows, indices, 0), V::columns(rows, indices, 8));
        let t = V::columns(rows, indices, 16);
        [
            Elements([f[0], f[1], f[2], f[3], f[4]]),
            Elements([f[5], f[6], f[7], s[0], s[1]]),
            Elements([s[2], s[3], s[4], s[5], s[6]]),
            Elements([s[7], t[0], t[1], t[2], t[3]]),
        ]
    }

    #[inline(always)]
    fn scatter_rows(coordinates: [Elements<V>; 4], rows: &mut [Row], indices: &[u32; 8], count: usize) {
        let [Elements(a), Elements(b), Elements(c), Elements(d)] = coordinates;
        let zero = V::splat(0);
        V::write_rows([a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2]], rows, indices, count, 0);
        V::write_rows([b[3], b[4], c[0], c[1], c[2], c[3], c[4], d[0]], rows, indices, count, 8);
        V::write_rows([d[1], d[2], d[3], d[4], zero, zero, zero, zero], rows, indices, count, 16);
    }
}
