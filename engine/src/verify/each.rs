//! A verdict for each signature: for small batches, and for those with so many bad ones that sums of many only fail.
//!
//! Lanes compute [8](s B - R - h A), doubling all lanes together (E. Straus). Where keys have their second point (see
//! `batch`), h and s are split and 128 doublings do; digits of h have four bits, those of s eight, since the base
//! point's multiples are computed once. A signature has a lane of its own, or, where lanes would stand empty, two of
//! them, for the low and the high halves. Nothing that others send can make it slower.

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
/// Keys, and multiples of the base point, that one lane adds up at most.
const STREAMS_MAX: usize = 2;
const _: () = assert!(SPLIT_WINDOWS * BITS == SPLIT_BITS + 1 && BASE_WINDOWS * bases::BITS == SPLIT_BITS + 1);

/// What is verified: places in the table, and scalars.
#[derive(Clone, Copy, Default)]
pub(super) struct Term {
    /// R; the key follows it, then 2^127 times the key if the term is split.
    pub(super) r: u32,
    pub(super) s: [u64; 4],
    pub(super) h: [u64; 4],
    pub(super) is_split: bool,
}

/// Where all verifiers' tables have what all terms need.
#[derive(Clone, Copy)]
pub(super) struct Fixed {
    pub(super) neutral: u32,
    /// The first multiple of the base point, and of 2^127 times it.
    pub(super) bases: [u32; 2],
}

/// The multiples of all lanes' keys, of both points: a buffer that is reused.
pub(super) struct Rows(Box<[Row; STREAMS_MAX * MULTIPLES * LANES_MAX]>);

impl Default for Rows {
    fn default() -> Rows {
        Rows(Box::new([Row::default(); STREAMS_MAX * MULTIPLES * LANES_MAX]))
    }
}

/// A point and digits for each lane; no digit but nought where a lane has nothing to add.
#[derive(Clone, Copy)]
struct Stream<const WINDOWS: usize> {
    points: [u32; LANES_MAX],
    digits: [[i16; WINDOWS]; LANES_MAX],
}

impl<const WINDOWS: usize> Stream<WINDOWS> {
    fn empty(neutral: u32) -> Stream<WINDOWS> {
        Stream { points: [neutral; LANES_MAX], digits: [[0; WINDOWS]; LANES_MAX] }
    }

    fn set(&mut self, lane: usize, point: u32, words: &[u64], windows: usize, bits: usize) {
        self.points[lane] = point;
        recode(words, windows, bits, 1, &mut self.digits[lane][..windows]);
    }
}

/// All that the lanes add up.
struct Streams {
    keys: [Stream<WINDOWS>; STREAMS_MAX],
    bases: [Stream<BASE_WINDOWS>; STREAMS_MAX],
    r: [u32; LANES_MAX],
    /// How many of the streams are in use, and digits of keys.
    count: usize,
    windows: usize,
}

impl Streams {
    /// Each term in `lanes_each` lanes: one that has both streams, or two with one each.
    fn of(terms: &[Term], fixed: &Fixed, lanes_each: usize) -> Streams {
        let neutral = fixed.neutral;
        let mut streams = Streams {
            keys: [Stream::empty(neutral); STREAMS_MAX],
            bases: [Stream::empty(neutral); STREAMS_MAX],
            r: [neutral; LANES_MAX],
            count: STREAMS_MAX / lanes_each,
            windows: SPLIT_WINDOWS,
        };
        for (number, term) in terms.iter().enumerate() {
            let first = number * lanes_each;
            streams.r[first] = term.r;
            let (h, s) = (scalar::split(&term.h), scalar::split(&term.s));
            for half in 0..2 {
                let (lane, stream) = if lanes_each == 2 { (first + half, 0) } else { (first, half) };
                let words = |value: u128| [value as u64, (value >> 64) as u64];
                let base = fixed.bases[half];
                streams.bases[stream].set(lane, base, &words(s[half]), BASE_WINDOWS, bases::BITS);
                if term.is_split {
                    let key = term.r + 1 + half as u32;
                    streams.keys[stream].set(lane, key, &words(h[half]), SPLIT_WINDOWS, BITS);
                }
            }
            if !term.is_split {
                streams.keys[0].set(first, term.r + 1, &term.h, WINDOWS, BITS);
                streams.windows = WINDOWS;
            }
        }
        streams
    }
}

/// Bit i: term i's signature is good. There are at most as many terms as lanes.
#[inline(always)]
pub(super) fn verdicts<F: Field>(table: &[Packed], fixed: &Fixed, terms: &[Term], rows: &mut Rows) -> u32 {
    let lanes_each = if F::LANES > 1 && 2 * terms.len() <= F::LANES { 2 } else { 1 };
    let streams = Streams::of(terms, fixed, lanes_each);
    for (number, stream) in streams.keys[..streams.count].iter().enumerate() {
        write_multiples::<F>(table, &stream.points, number, rows);
    }
    let mut sum = Extended::<F>::identity();
    for window in (0..streams.windows).rev() {
        if window + 1 < streams.windows {
            sum = sum.doubled_times(BITS);
        }
        for (number, stream) in streams.keys[..streams.count].iter().enumerate() {
            // Only whole scalars have digits above, and those are in the first stream.
            if number == 0 || window < SPLIT_WINDOWS {
                sum = sum.add_prepared(&negated_multiple::<F>(rows, number, stream, window));
            }
        }
        let (base_window, within) = (window * BITS / bases::BITS, window * BITS % bases::BITS);
        if within == 0 && base_window < BASE_WINDOWS {
            for stream in &streams.bases[..streams.count] {
                sum = sum.add_niels(&base_multiple::<F>(table, fixed.neutral, stream, base_window));
            }
        }
    }
    let negative = (1 << F::LANES) - 1;
    let sum = sum.add_niels(&Niels::gather(table, &streams.r, negative)).doubled_times(3);
    if lanes_each == 1 {
        return sum.identities();
    }
    let mut good = 0;
    for number in 0..terms.len() {
        good |= sum.lane(2 * number).add(&sum.lane(2 * number + 1)).identities() << number;
    }
    good
}

/// Writes nought to eight times each lane's point to the rows of a stream: multiple by multiple, lane by lane.
#[inline(always)]
fn write_multiples<F: Field>(table: &[Packed], points: &[u32; LANES_MAX], stream: usize, rows: &mut Rows) {
    let point = Running::first(&Niels::<F>::gather(table, points, 0)).finished();
    let prepared = point.prepared();
    let mut multiple = Extended::<F>::identity();
    let mut places = [0; LANES_MAX];
    for number in 0..MULTIPLES {
        for (lane, place) in places[..F::LANES].iter_mut().enumerate() {
            *place = place_of::<F>(stream, number, lane);
        }
        multiple.prepared().scatter(&mut rows.0[..], &places, F::LANES);
        multiple = multiple.add_prepared(&prepared);
    }
}

fn place_of<F: Field>(stream: usize, number: usize, lane: usize) -> u32 {
    ((stream * MULTIPLES + number) * F::LANES + lane) as u32
}

/// Minus the digit's multiple of the key, in each lane.
#[inline(always)]
fn negated_multiple<F: Field>(rows: &Rows, number: usize, stream: &Stream<WINDOWS>, window: usize) -> Prepared<F> {
    let (mut places, mut negative) = ([0; LANES_MAX], 0);
    for (lane, place) in places[..F::LANES].iter_mut().enumerate() {
        let digit = stream.digits[lane][window];
        *place = place_of::<F>(number, usize::from(digit.unsigned_abs()), lane);
        negative |= u32::from(digit > 0) << lane;
    }
    Prepared::gather(&rows.0[..], &places, negative)
}

/// The digit's multiple of the base point, in each lane.
#[inline(always)]
fn base_multiple<F: Field>(table: &[Packed], neutral: u32, stream: &Stream<BASE_WINDOWS>, window: usize) -> Niels<F> {
    let (mut places, mut negative) = ([neutral; LANES_MAX], 0);
    for (lane, place) in places[..F::LANES].iter_mut().enumerate() {
        let digit = stream.digits[lane][window];
        if digit != 0 {
            *place = stream.points[lane] + u32::from(digit.unsigned_abs()) - 1;
            negative |= u32::from(digit < 0) << lane;
        }
    }
    Niels::gather(table, &places, negative)
}
