//! A verdict for each signature, a signature in each lane: for small batches, and for those with so many bad ones that
//! sums of many only fail.
//!
//! Every lane computes its own [8](s B - R - h A), doubling all lanes together (E. Straus). Where all keys have their
//! second point (see `batch`), h and s are split and 128 doublings do; digits of h have four bits, those of s eight,
//! since the base point's multiples are computed once. Nothing that others send can make it slower.

use super::bases;
use super::field::{Field, Packed, Row};
use super::msm::recode;
use super::point::{Extended, Niels, Prepared, Running, SPLIT_BITS};
use super::scalar;

const BITS: usize = 4;
/// Multiples of a key that a digit can ask for, nought included.
const MULTIPLES: usize = (1 << (BITS - 1)) + 1;
/// Digits of a whole scalar, and of one half of a split one.
const WINDOWS: usize = 64;
const SPLIT_WINDOWS: usize = (SPLIT_BITS + 1) / BITS;
const BASE_WINDOWS: usize = (SPLIT_BITS + 1) / bases::BITS;
const LANES_MAX: usize = 8;
const _: () = assert!(SPLIT_WINDOWS * BITS == SPLIT_BITS + 1 && BASE_WINDOWS * bases::BITS == SPLIT_BITS + 1);

/// What one lane verifies: places in the table, and scalars.
#[derive(Clone, Copy, Default)]
pub(super) struct Lane {
    /// R; the key follows it, then 2^127 times the key if the lane is split.
    pub(super) r: u32,
    pub(super) s: [u64; 4],
    pub(super) h: [u64; 4],
    pub(super) is_split: bool,
}

/// The multiples of all lanes' keys, of both points: a buffer that is reused.
pub(super) struct Rows(Box<[Row; 2 * MULTIPLES * LANES_MAX]>);

impl Default for Rows {
    fn default() -> Rows {
        Rows(Box::new([Row::default(); 2 * MULTIPLES * LANES_MAX]))
    }
}

/// Digits of the lanes' scalars, lane by lane.
struct Digits<const WINDOWS: usize>([[i16; WINDOWS]; LANES_MAX]);

impl<const WINDOWS: usize> Digits<WINDOWS> {
    const ZERO: Digits<WINDOWS> = Digits([[0; WINDOWS]; LANES_MAX]);

    fn set(&mut self, lane: usize, words: &[u64], windows: usize, bits: usize) {
        recode(words, windows, bits, 1, &mut self.0[lane][..windows]);
    }
}

/// Bit i: lane i's signature is good. The multiples of the base point stand in the table from `bases[0]` on, those of
/// 2^127 times it from `bases[1]` on, the neutral point at `neutral`.
#[inline(always)]
pub(super) fn verdicts<F: Field>(
    table: &[Packed],
    neutral: u32,
    bases: [u32; 2],
    lanes: &[Lane],
    rows: &mut Rows,
) -> u32 {
    let (mut h, mut s) = ([Digits::<WINDOWS>::ZERO; 2], [Digits::<BASE_WINDOWS>::ZERO; 2]);
    let (mut r, mut keys) = ([neutral; LANES_MAX], [[neutral; LANES_MAX]; 2]);
    let mut windows = SPLIT_WINDOWS;
    for (i, lane) in lanes[..F::LANES].iter().enumerate() {
        for (digits, half) in s.iter_mut().zip(scalar::split(&lane.s)) {
            digits.set(i, &[half as u64, (half >> 64) as u64], BASE_WINDOWS, bases::BITS);
        }
        (r[i], keys[0][i]) = (lane.r, lane.r + 1);
        if lane.is_split {
            keys[1][i] = lane.r + 2;
            for (digits, half) in h.iter_mut().zip(scalar::split(&lane.h)) {
                digits.set(i, &[half as u64, (half >> 64) as u64], SPLIT_WINDOWS, BITS);
            }
        } else {
            h[0].set(i, &lane.h, WINDOWS, BITS);
            windows = WINDOWS;
        }
    }
    for (half, keys) in keys.iter().enumerate() {
        write_multiples::<F>(table, keys, half, rows);
    }
    let mut sum = Extended::<F>::identity();
    for window in (0..windows).rev() {
        if window + 1 < windows {
            sum = sum.doubled_times(BITS);
        }
        for (half, digits) in h.iter().enumerate() {
            if half == 0 || window < SPLIT_WINDOWS {
                sum = sum.add_prepared(&multiple::<F>(rows, half, digits, window));
            }
        }
        let (base_window, within) = (window * BITS / bases::BITS, window * BITS % bases::BITS);
        if within == 0 && base_window < BASE_WINDOWS {
            for (digits, base) in s.iter().zip(bases) {
                sum = sum.add_niels(&base_multiple::<F>(table, neutral, base, digits, base_window));
            }
        }
    }
    let all = (1 << F::LANES) - 1;
    sum.add_niels(&Niels::gather(table, &r, all)).doubled_times(3).identities()
}

/// Writes nought to eight times each lane's key to the rows of this half: multiple by multiple, lane by lane.
#[inline(always)]
fn write_multiples<F: Field>(table: &[Packed], keys: &[u32; LANES_MAX], half: usize, rows: &mut Rows) {
    let key = Running::first(&Niels::<F>::gather(table, keys, 0)).finished();
    let prepared = key.prepared();
    let mut multiple = Extended::<F>::identity();
    let mut places = [0; LANES_MAX];
    for number in 0..MULTIPLES {
        for (lane, place) in places[..F::LANES].iter_mut().enumerate() {
            *place = place_of::<F>(half, number, lane);
        }
        multiple.prepared().scatter(&mut rows.0[..], &places, F::LANES);
        multiple = multiple.add_prepared(&prepared);
    }
}

fn place_of<F: Field>(half: usize, number: usize, lane: usize) -> u32 {
    ((half * MULTIPLES + number) * F::LANES + lane) as u32
}

/// Minus the digit's multiple of the key, in each lane.
#[inline(always)]
fn multiple<F: Field>(rows: &Rows, half: usize, digits: &Digits<WINDOWS>, window: usize) -> Prepared<F> {
    let (mut places, mut negative) = ([0; LANES_MAX], 0);
    for lane in 0..F::LANES {
        let digit = digits.0[lane][window];
        places[lane] = place_of::<F>(half, usize::from(digit.unsigned_abs()), lane);
        negative |= u32::from(digit > 0) << lane;
    }
    Prepared::gather(&rows.0[..], &places, negative)
}

/// The digit's multiple of the base point, in each lane.
#[inline(always)]
fn base_multiple<F: Field>(
    table: &[Packed],
    neutral: u32,
    base: u32,
    digits: &Digits<BASE_WINDOWS>,
    window: usize,
) -> Niels<F> {
    let (mut places, mut negative) = ([neutral; LANES_MAX], 0);
    for lane in 0..F::LANES {
        let digit = digits.0[lane][window];
        if digit != 0 {
            places[lane] = base + u32::from(digit.unsigned_abs()) - 1;
            negative |= u32::from(digit < 0) << lane;
        }
    }
    Niels::gather(table, &places, negative)
}
