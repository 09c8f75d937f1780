//! A verdict for each signature, a signature in each lane: for batches with so many bad ones that sums of many only
//! fail.
//!
//! Every lane computes its own [8](s B - R - h A) by digits of four bits, doubling all lanes together (E. Straus):
//! about three times a signature's share of a large sum, but nothing that others send can make it slower.

use super::field::{Fe, Field, Packed};
use super::msm::{copy_lane, recode};
use super::point::{Extended, Niels, Running};

const BITS: usize = 4;
/// Multiples of a point that a digit can ask for.
pub(super) const MULTIPLES: usize = 1 << (BITS - 1);
const WINDOWS: usize = 64;

/// What one lane verifies: places in the table, and scalars.
#[derive(Clone, Copy, Default)]
pub(super) struct Lane {
    /// R; the key follows it.
    pub(super) r: u32,
    pub(super) s: [u64; 4],
    pub(super) h: [u64; 4],
}

/// Bit i: lane i's signature is good. The multiples 1 to 8 of the base point stand in the table from `base` on, the
/// neutral point at `neutral`.
#[inline(always)]
pub(super) fn verdicts<F: Field>(table: &[Packed], neutral: u32, base: u32, lanes: &[Lane]) -> u32 {
    let (mut s_digits, mut h_digits) = ([[0i16; WINDOWS]; 8], [[0i16; WINDOWS]; 8]);
    let (mut r, mut a) = ([neutral; 8], [neutral; 8]);
    for (i, lane) in lanes[..F::LANES].iter().enumerate() {
        recode(&lane.s, WINDOWS, BITS, 1, &mut s_digits[i]);
        recode(&lane.h, WINDOWS, BITS, 1, &mut h_digits[i]);
        (r[i], a[i]) = (lane.r, lane.r + 1);
    }
    let key = Running::first(&Niels::<F>::gather(table, &a, 0)).finished();
    let mut multiples = [key; MULTIPLES];
    for i in 1..MULTIPLES {
        multiples[i] = multiples[i - 1].add(&key);
    }
    let mut sum = Extended::<F>::identity();
    for window in (0..WINDOWS).rev() {
        if window + 1 < WINDOWS {
            sum = sum.doubled().doubled().doubled().doubled();
        }
        sum = sum.add(&looked_up(&multiples, &h_digits, window));
        let (mut indices, mut negative) = ([neutral; 8], 0);
        for lane in 0..F::LANES {
            let digit = s_digits[lane][window];
            if digit != 0 {
                indices[lane] = base + u32::from(digit.unsigned_abs()) - 1;
                negative |= u32::from(digit < 0) << lane;
            }
        }
        sum = sum.add_niels(&Niels::gather(table, &indices, negative));
    }
    let all = (1 << F::LANES) - 1;
    sum.add_niels(&Niels::gather(table, &r, all)).doubled().doubled().doubled().identities()
}

/// Minus the digit's multiple of the key, in each lane.
#[inline(always)]
fn looked_up<F: Field>(
    multiples: &[Extended<F>; MULTIPLES],
    digits: &[[i16; WINDOWS]; 8],
    window: usize,
) -> Extended<F> {
    let mut found = Extended::identity();
    let mut negative = 0;
    for (lane, digits) in digits[..F::LANES].iter().enumerate() {
        let digit = digits[window];
        if digit != 0 {
            copy_lane(&mut found, lane, &multiples[usize::from(digit.unsigned_abs()) - 1], lane);
            negative |= u32::from(digit > 0) << lane;
        }
    }
    Extended {
        minus: F::select(negative, found.plus, found.minus),
        plus: F::select(negative, found.minus, found.plus),
        z: found.z,
        t: F::select(negative, F::splat(&Fe::ZERO).sub(found.t), found.t),
    }
}
