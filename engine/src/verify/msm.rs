//! The sum of scalar multiples of many points: signed-digit buckets, lanes across the additions.
//!
//! ```text
//!   scalars ──► signed digits of c bits ──► per window: points sorted by |digit| into buckets
//!   some windows at once: a bucket (or a piece of a large one) for each lane, lanes add their own points side by side
//!   buckets folded: sum of j B[j] from running sums. Few buckets: a window in each lane; many: one window's buckets in
//!   parts, a part in each lane, and the parts combined
//!   all windows: doubled together
//! ```
//!
//! This is N. Pippenger's method. Work is cut into pieces of similar length and ordered by length, so that lanes that
//! run side by side end together; a lane that ends early adds the neutral point. Everything is a function of the
//! arguments; nothing here is secret.

use super::field::{Fe, Field, Packed, Row};
use super::parts::{Parts, Watch};
use super::point::{Extended, Niels, Running};

const SCALAR_BITS: usize = 128;
const WINDOW_BITS: std::ops::RangeInclusive<usize> = 3..=13;
/// How many additions ahead a lane's points are fetched.
const PREFETCH_AHEAD: usize = 2;
/// Up to so many buckets a window, a lane folds a window of its own: their rows stay near the core.
const BUCKETS_TOGETHER_MAX: usize = 128;

/// A point in the table, and the scalar it is multiplied by.
#[derive(Clone, Copy)]
pub(super) struct Multiple {
    pub(super) point: u32,
    pub(super) scalar: u128,
}

/// A run of one bucket's points, for one lane.
#[derive(Clone, Copy, Default)]
struct Piece {
    start: u32,
    length: u32,
    /// Counted through all windows that are summed at once.
    bucket: u32,
}

/// Buffers that are reused from sum to sum.
#[derive(Default)]
pub(super) struct Buffers {
    digits: Vec<i16>,
    counts: Vec<u32>,
    list: Vec<u32>,
    pieces: Vec<Piece>,
    ordered: Vec<Piece>,
    by_length: Vec<u32>,
    /// The sum of each bucket, behind them a place for one more.
    rows: Vec<Row>,
    filled: Vec<bool>,
    /// Where the time went.
    pub(super) parts: Parts,
}

fn windows_of(window_bits: usize) -> usize {
    // One bit more: a signed recoding may carry out of the top.
    (SCALAR_BITS + 1).div_ceil(window_bits)
}

/// How many windows are summed at once.
fn windows_together<F: Field>(bits: usize) -> usize {
    if 1 << (bits - 1) <= BUCKETS_TOGETHER_MAX { F::LANES } else { 1 }
}

/// The window for so many multiples: the least estimated number of multiplications, all lanes counted.
fn window_bits<F: Field>(count: usize) -> usize {
    let cost = |bits: usize| {
        let windows = windows_of(bits);
        // Lanes without a window fold as well; parts of windows are combined.
        let (folded, combined) = match windows_together::<F>(bits) {
            1 => (windows, windows.div_ceil(F::LANES) * F::LANES * (27 * F::LANES + 8 * bits)),
            together => (windows.next_multiple_of(together), 0),
        };
        7 * count * windows + ((2 * 9 * folded) << (bits - 1)) + combined
    };
    WINDOW_BITS
        .filter(|&bits| windows_together::<F>(bits) == F::LANES || 1 << (bits - 1) >= F::LANES)
        .min_by_key(|&bits| cost(bits))
        .expect("a range of windows")
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

/// Sums multiples of points of the table. `identity` is the table's neutral point.
#[inline(always)]
pub(super) fn sum<F: Field>(
    table: &[Packed],
    identity: u32,
    multiples: &[Multiple],
    buffers: &mut Buffers,
) -> Extended<Fe> {
    let mut watch = Watch::start();
    let bits = window_bits::<F>(multiples.len());
    let windows = windows_of(bits);
    buffers.digits.resize(windows * multiples.len(), 0);
    for (i, multiple) in multiples.iter().enumerate() {
        let words = [multiple.scalar as u64, (multiple.scalar >> 64) as u64];
        recode(&words, windows, bits, multiples.len(), &mut buffers.digits[i..]);
    }
    watch.lap(&mut buffers.parts.scalars);
    let (buckets, together) = (1usize << (bits - 1), windows_together::<F>(bits));
    let part = buckets * together / F::LANES;
    let (mut neutral, mut place) = ([Row::default()], [0u32; 8]);
    Extended::<F>::identity().scatter(&mut neutral, &place, 1);
    let (mut parts, mut totals) = (Vec::with_capacity(windows), Vec::with_capacity(windows));
    for first in (0..windows).step_by(together) {
        let these = first..(first + together).min(windows);
        sort_into_buckets(buffers, these.clone(), multiples, buckets);
        watch.lap(&mut buffers.parts.sort);
        buffers.rows.clear();
        buffers.rows.resize(together * buckets + 1, neutral[0]);
        buffers.filled.clear();
        buffers.filled.resize(together * buckets, false);
        for pieces in buffers.ordered.chunks(F::LANES) {
            let sums = add_pieces::<F>(table, identity, &buffers.list, pieces);
            let again = keep_sums(sums, pieces, &mut buffers.rows, &mut buffers.filled);
            // A further piece of a large bucket; rare.
            for lane in (0..pieces.len()).filter(|lane| again & (1 << lane) != 0) {
                place[0] = pieces[lane].bucket;
                let before = Extended::<F>::gather(&buffers.rows, &[place[0]; 8]);
                let mut one = Extended::<F>::identity();
                copy_lane(&mut one, 0, &sums, lane);
                before.add(&one).scatter(&mut buffers.rows, &place, 1);
            }
        }
        watch.lap(&mut buffers.parts.additions);
        let (mut running, mut weighted) = (Extended::<F>::identity(), Extended::<F>::identity());
        for bucket in (0..part).rev() {
            for (lane, place) in place[..F::LANES].iter_mut().enumerate() {
                *place = (lane * part + bucket) as u32;
            }
            running = running.add(&Extended::gather(&buffers.rows, &place));
            weighted = weighted.add(&running);
        }
        if together == F::LANES {
            (0..these.len()).for_each(|window| totals.push(weighted.lane(window)));
        } else {
            parts.push((weighted, running));
        }
        watch.lap(&mut buffers.parts.folding);
    }
    for group in parts.chunks(F::LANES) {
        let total = combined(group, part);
        (0..group.len()).for_each(|window| totals.push(total.lane(window)));
    }
    let sum = doubled_together(&totals, bits);
    watch.lap(&mut buffers.parts.folding);
    sum
}

/// Writes the pieces' sums to the rows of their buckets. Bit i: the bucket of piece i has a sum already, which stays.
#[inline(always)]
fn keep_sums<F: Field>(sums: Extended<F>, pieces: &[Piece], rows: &mut [Row], filled: &mut [bool]) -> u32 {
    let (mut places, mut again) = ([0; 8], 0);
    let spare = rows.len() as u32 - 1;
    for (lane, piece) in pieces.iter().enumerate() {
        let is_filled = std::mem::replace(&mut filled[piece.bucket as usize], true);
        places[lane] = if is_filled { spare } else { piece.bucket };
        again |= u32::from(is_filled) << lane;
    }
    sums.scatter(rows, &places, pieces.len());
    again
}

/// Sorts some windows' points by bucket and cuts the buckets into pieces, longest first.
fn sort_into_buckets(buffers: &mut Buffers, windows: std::ops::Range<usize>, multiples: &[Multiple], buckets: usize) {
    let Buffers { digits, counts, list, pieces, ordered, by_length, .. } = buffers;
    let longest = 2 * multiples.len() / buckets + 8;
    pieces.clear();
    list.clear();
    by_length.clear();
    by_length.resize(longest + 2, 0);
    for (number, window) in windows.enumerate() {
        let digits = &digits[window * multiples.len()..(window + 1) * multiples.len()];
        // Digit 0 has a bucket of its own, at 0, that nobody reads.
        counts.clear();
        counts.resize(buckets + 2, 0);
        for digit in digits {
            counts[usize::from(digit.unsigned_abs()) + 1] += 1;
        }
        counts[0] = list.len() as u32;
        for i in 1..counts.len() {
            counts[i] += counts[i - 1];
        }
        list.resize(list.len() + digits.len(), 0);
        for (digit, multiple) in digits.iter().zip(multiples) {
            let place = &mut counts[usize::from(digit.unsigned_abs())];
            list[*place as usize] = multiple.point | (*digit as u32 & (1 << 31));
            *place = place.wrapping_add(1);
        }
        // Now counts[k] is the end of bucket k.
        for bucket in 0..buckets {
            let (mut start, end) = (counts[bucket], counts[bucket + 1]);
            while start < end {
                let length = (longest as u32).min(end - start);
                pieces.push(Piece { start, length, bucket: (number * buckets + bucket) as u32 });
                by_length[longest - length as usize + 1] += 1;
                start += length;
            }
        }
    }
    for i in 1..by_length.len() {
        by_length[i] += by_length[i - 1];
    }
    ordered.clear();
    ordered.resize(pieces.len(), Piece::default());
    for &piece in pieces.iter() {
        let place = &mut by_length[longest - piece.length as usize];
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

/// From each window's parts, sum over l of (weighted of lane l) + part x l x (running of lane l), a window in each lane.
#[inline(always)]
fn combined<F: Field>(group: &[(Extended<F>, Extended<F>)], part: usize) -> Extended<F> {
    let (mut suffix, mut total) = (Extended::identity(), Extended::identity());
    for l in (1..F::LANES).rev() {
        suffix = suffix.add(&column(group, l, true));
        total = total.add(&suffix);
    }
    total = total.doubled_times(part.trailing_zeros() as usize);
    for l in 0..F::LANES {
        total = total.add(&column(group, l, false));
    }
    total
}

/// The sum over all windows of 2^(bits x window) times its total, from the top.
fn doubled_together(totals: &[Extended<Fe>], bits: usize) -> Extended<Fe> {
    let (top, others) = totals.split_last().expect("at least one window");
    others.iter().rev().fold(*top, |sum, total| sum.doubled_times(bits).add(total))
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
