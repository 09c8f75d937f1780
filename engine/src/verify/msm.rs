//! The sum of scalar multiples of many points: signed-digit buckets, lanes across the additions.
//!
//! ```text
//!   scalars ──► signed digits of c bits ──► per window: points sorted by |digit| into buckets
//!   per window: a bucket (or a piece of a large one) for each lane, lanes add their own points side by side
//!               buckets folded: lane l holds the l-th part of them,   sum of j B[j] from running sums
//!   all windows: the lanes' parts combined, a window in each lane; then doubled together
//! ```
//!
//! This is N. Pippenger's method. Work is cut into pieces of similar length and ordered by length, so that lanes that
//! run side by side end together; a lane that ends early adds the neutral point. Everything is a function of the
//! arguments; nothing here is secret.

use super::field::{Fe, Field, Packed};
use super::point::{Extended, Niels, Running};

/// Bits of the short scalars, and of the long ones (below l).
const SHORT_BITS: usize = 128;
const LONG_BITS: usize = 253;
const WINDOW_BITS: std::ops::RangeInclusive<usize> = 4..=13;
/// How many additions ahead a lane's points are fetched.
const PREFETCH_AHEAD: usize = 2;

/// A point in the table, and the scalar it is multiplied by.
#[derive(Clone, Copy)]
pub(super) struct Multiple<S> {
    pub(super) point: u32,
    pub(super) scalar: S,
}

/// A run of one bucket's points, for one lane.
#[derive(Clone, Copy, Default)]
struct Piece {
    start: u32,
    length: u32,
    bucket: u32,
}

/// Buffers that are reused from sum to sum.
#[derive(Default)]
pub(super) struct Buffers {
    short_digits: Vec<i16>,
    long_digits: Vec<i16>,
    counts: Vec<u32>,
    list: Vec<u32>,
    pieces: Vec<Piece>,
    ordered: Vec<Piece>,
    by_length: Vec<u32>,
    filled: Vec<bool>,
}

fn windows_of(bits: usize, window_bits: usize) -> usize {
    // One bit more: a signed recoding may carry out of the top.
    (bits + 1).div_ceil(window_bits)
}

/// The window for so many short and long multiples: the least estimated number of vector multiplications.
fn window_bits<F: Field>(short: usize, long: usize) -> usize {
    let cost = |bits: usize| {
        let (short_windows, long_windows) = (windows_of(SHORT_BITS, bits), windows_of(LONG_BITS, bits));
        let additions = 7 * (short * short_windows + long * long_windows);
        let folding = (2 * 11 * long_windows) << (bits - 1);
        additions + folding
    };
    WINDOW_BITS.filter(|bits| 1 << (bits - 1) >= F::LANES).min_by_key(|&bits| cost(bits)).expect("a range of windows")
}

/// Digits of one scalar in (-2^(c-1), 2^(c-1)], `stride` apart.
#[inline]
pub(super) fn recode(words: &[u64], windows: usize, bits: usize, stride: usize, digits: &mut [i16]) {
    let (mask, half) = ((1u64 << bits) - 1, 1u64 << (bits - 1));
    let mut carry = 0;
    for window in 0..windows {
        let at = window * bits;
        let (word, shift) = (at / 64, at % 64);
        let mut raw = words.get(word).map_or(0, |low| low >> shift);
        if shift + bits > 64 {
            raw |= words.get(word + 1).map_or(0, |high| high << (64 - shift));
        }
        let value = (raw & mask) + carry;
        carry = u64::from(value > half);
        digits[window * stride] = (value as i64 - ((carry as i64) << bits)) as i16;
    }
    debug_assert_eq!(carry, 0, "the top window takes the last carry");
}

/// Sums `short` and `long` multiples of points of the table. `identity` is the table's neutral point.
#[inline(always)]
pub(super) fn sum<F: Field>(
    table: &[Packed],
    identity: u32,
    short: &[Multiple<u128>],
    long: &[Multiple<[u64; 4]>],
    buffers: &mut Buffers,
) -> Extended<Fe> {
    let bits = window_bits::<F>(short.len(), long.len());
    let (short_windows, long_windows) = (windows_of(SHORT_BITS, bits), windows_of(LONG_BITS, bits));
    buffers.short_digits.resize(short_windows * short.len(), 0);
    buffers.long_digits.resize(long_windows * long.len(), 0);
    for (i, multiple) in short.iter().enumerate() {
        let words = [multiple.scalar as u64, (multiple.scalar >> 64) as u64];
        recode(&words, short_windows, bits, short.len(), &mut buffers.short_digits[i..]);
    }
    for (i, multiple) in long.iter().enumerate() {
        recode(&multiple.scalar, long_windows, bits, long.len(), &mut buffers.long_digits[i..]);
    }
    let buckets = 1usize << (bits - 1);
    let part = buckets / F::LANES;
    let mut fold = vec![Extended::<F>::identity(); part];
    let mut parts = Vec::with_capacity(long_windows);
    for window in 0..long_windows {
        let digits_of = |digits: &[i16], count: usize| -> std::ops::Range<usize> {
            if window * count < digits.len() { window * count..(window + 1) * count } else { 0..0 }
        };
        let short_range = digits_of(&buffers.short_digits, short.len());
        let long_range = digits_of(&buffers.long_digits, long.len());
        sort_into_buckets(buffers, short_range, short, long_range, long, buckets);
        fold.fill(Extended::identity());
        buffers.filled.clear();
        buffers.filled.resize(buckets, false);
        for pieces in buffers.ordered.chunks(F::LANES) {
            let sums = add_pieces::<F>(table, identity, &buffers.list, pieces);
            for (lane, piece) in pieces.iter().enumerate() {
                let bucket = piece.bucket as usize;
                let (place, into) = (bucket % part, bucket / part);
                if buffers.filled[bucket] {
                    // A further piece of a large bucket; rare.
                    let sum = fold[place].lane(into).add(&sums.lane(lane));
                    set_lane(&mut fold[place], into, &sum);
                } else {
                    copy_lane(&mut fold[place], into, &sums, lane);
                    buffers.filled[bucket] = true;
                }
            }
        }
        let (mut running, mut weighted) = (Extended::identity(), Extended::identity());
        for bucket in fold.iter().rev() {
            running = running.add(bucket);
            weighted = weighted.add(&running);
        }
        parts.push((weighted, running));
    }
    combine(&parts, part, bits)
}

/// Sorts one window's points by bucket and cuts the buckets into pieces, longest first.
fn sort_into_buckets(
    buffers: &mut Buffers,
    short_range: std::ops::Range<usize>,
    short: &[Multiple<u128>],
    long_range: std::ops::Range<usize>,
    long: &[Multiple<[u64; 4]>],
    buckets: usize,
) {
    let Buffers { short_digits, long_digits, counts, list, pieces, ordered, by_length, .. } = buffers;
    let (short_digits, long_digits) = (&short_digits[short_range], &long_digits[long_range]);
    // Digit 0 has a bucket of its own, at 0, that nobody reads.
    counts.clear();
    counts.resize(buckets + 2, 0);
    // A loop for each slice: over a chain of both every step would ask which one it is in.
    for digits in [short_digits, long_digits] {
        for digit in digits {
            counts[usize::from(digit.unsigned_abs()) + 1] += 1;
        }
    }
    for i in 1..counts.len() {
        counts[i] += counts[i - 1];
    }
    list.resize(short_digits.len() + long_digits.len(), 0);
    let mut enter = |digit: i16, point: u32| {
        let place = &mut counts[usize::from(digit.unsigned_abs())];
        list[*place as usize] = point | (digit as u32 & (1 << 31));
        *place = place.wrapping_add(1);
    };
    short_digits.iter().zip(short).for_each(|(&digit, multiple)| enter(digit, multiple.point));
    long_digits.iter().zip(long).for_each(|(&digit, multiple)| enter(digit, multiple.point));
    // Now counts[k] is the end of bucket k.
    let used = (counts[buckets] - counts[0]) as usize;
    let longest = (2 * used / buckets + 8) as u32;
    pieces.clear();
    by_length.clear();
    by_length.resize(longest as usize + 2, 0);
    for bucket in 0..buckets {
        let (mut start, end) = (counts[bucket], counts[bucket + 1]);
        while start < end {
            let length = longest.min(end - start);
            pieces.push(Piece { start, length, bucket: bucket as u32 });
            by_length[(longest - length) as usize + 1] += 1;
            start += length;
        }
    }
    for i in 1..by_length.len() {
        by_length[i] += by_length[i - 1];
    }
    ordered.clear();
    ordered.resize(pieces.len(), Piece::default());
    for &piece in pieces.iter() {
        let place = &mut by_length[(longest - piece.length) as usize];
        ordered[*place as usize] = piece;
        *place += 1;
    }
}

/// Adds up to as many pieces as there are lanes, longest first, side by side.
#[inline(always)]
fn add_pieces<F: Field>(table: &[Packed], identity: u32, list: &[u32], pieces: &[Piece]) -> Extended<F> {
    let mut sum = Running::first(&gather_step(table, identity, list, pieces, 0));
    for j in 1..pieces[0].length as usize {
        sum = sum.add(&gather_step(table, identity, list, pieces, j));
    }
    sum.finished()
}

/// The `j`-th point of each piece; the neutral point where a piece has ended.
#[inline(always)]
fn gather_step<F: Field>(table: &[Packed], identity: u32, list: &[u32], pieces: &[Piece], j: usize) -> Niels<F> {
    let (mut indices, mut negative) = ([identity; 8], 0);
    for (lane, piece) in pieces.iter().enumerate() {
        let entry = if j < piece.length as usize { list[piece.start as usize + j] } else { identity };
        indices[lane] = entry & !(1 << 31);
        negative |= (entry >> 31) << lane;
        let ahead = list[(piece.start as usize + j + PREFETCH_AHEAD).min(list.len() - 1)];
        let ahead = &table[(ahead & !(1 << 31)) as usize].0;
        crate::base::prefetch::prefetch(&ahead[0]);
        crate::base::prefetch::prefetch(&ahead[8]);
    }
    Niels::gather(table, &indices, negative)
}

#[inline(always)]
pub(super) fn copy_lane<F: Field>(to: &mut Extended<F>, to_lane: usize, from: &Extended<F>, from_lane: usize) {
    for (to, from) in to.coordinates_mut().into_iter().zip(from.coordinates()) {
        let (to, from) = (to.words_mut(), from.words());
        for limb in 0..F::LIMBS {
            to[limb * F::LANES + to_lane] = from[limb * F::LANES + from_lane];
        }
    }
}

fn set_lane<F: Field>(to: &mut Extended<F>, lane: usize, point: &Extended<Fe>) {
    // Scalar sums may be loose, lanes must be weak.
    let [minus, plus, z, t] = point.coordinates().map(|&coordinate| F::splat(&Fe::narrow(coordinate)));
    let splat = Extended { minus, plus, z, t };
    copy_lane(to, lane, &splat, lane);
}

/// From each window's parts, sum over l of (weighted of lane l) + part x l x (running of lane l); then the windows,
/// doubled together from the top.
#[inline(always)]
fn combine<F: Field>(parts: &[(Extended<F>, Extended<F>)], part: usize, bits: usize) -> Extended<Fe> {
    let mut totals = Vec::with_capacity(parts.len());
    for group in parts.chunks(F::LANES) {
        let (mut suffix, mut total) = (Extended::identity(), Extended::identity());
        for l in (1..F::LANES).rev() {
            suffix = suffix.add(&column(group, l, true));
            total = total.add(&suffix);
        }
        for _ in 0..part.trailing_zeros() {
            total = total.doubled();
        }
        for l in 0..F::LANES {
            total = total.add(&column(group, l, false));
        }
        totals.extend((0..group.len()).map(|window| total.lane(window)));
    }
    let mut sum = Extended::<Fe>::identity();
    for total in totals.iter().rev() {
        for _ in 0..bits {
            sum = sum.doubled();
        }
        sum = sum.add(total);
    }
    sum
}

/// Lane `l` of each window's part, a window in each lane.
#[inline(always)]
fn column<F: Field>(group: &[(Extended<F>, Extended<F>)], l: usize, running: bool) -> Extended<F> {
    let mut column = Extended::identity();
    for (window, parts) in group.iter().enumerate() {
        copy_lane(&mut column, window, if running { &parts.1 } else { &parts.0 }, l);
    }
    column
}
