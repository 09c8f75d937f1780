//! A line that is slower, longer or worse than the one there is: for tests and benches, without privileges.
//!
//! What a node sends leaves at a rate, arrives after a delay, and each 1 448 bytes of it may be lost, which on TCP
//! means that they and all behind them arrive a round trip later.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Bytes of a segment, of which each may be lost.
const SEGMENT_BYTES: usize = 1_448;
/// How far ahead of the line's end bytes are given to it: what is urgent waits no longer than this.
const AHEAD: Duration = Duration::from_millis(10);

/// How a line behaves; by default as the one there is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkShape {
    /// Bytes a second each way; none: as fast as it goes.
    pub rate_bytes: Option<u64>,
    /// From one end to the other.
    pub delay: Duration,
    /// Share of segments that are lost.
    pub loss: f64,
}

/// Why a text names no line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no line; write for example rate=10mbit,delay=150ms,loss=0.1%")]
pub struct LinkError(String);

impl FromStr for LinkShape {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<LinkShape, LinkError> {
        let wrong = || LinkError(text.to_owned());
        let number = |text: &str| {
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0).ok_or_else(wrong)
        };
        let mut shape = LinkShape::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            match name.trim() {
                "rate" => {
                    let units = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3)];
                    let (digits, bits) = units
                        .iter()
                        .find_map(|(unit, bits)| Some((value.strip_suffix(unit)?, *bits)))
                        .ok_or_else(wrong)?;
                    let bytes = number(digits)? * bits / 8.0;
                    shape.rate_bytes = Some(bytes as u64).filter(|&bytes| bytes >= 1_000);
                    shape.rate_bytes.ok_or_else(wrong)?;
                }
                "delay" => {
                    let milliseconds = match (value.strip_suffix("ms"), value.strip_suffix('s')) {
                        (Some(digits), _) => number(digits)?,
                        (_, Some(digits)) => number(digits)? * 1e3,
                        _ => return Err(wrong()),
                    };
                    shape.delay = Duration::from_secs_f64((milliseconds / 1e3).min(60.0));
                }
                "loss" => shape.loss = number(value.strip_suffix('%').ok_or_else(wrong)?)? / 100.0,
                _ => return Err(wrong()),
            }
        }
        if shape.loss < 0.5 { Ok(shape) } else { Err(wrong()) }
    }
}

/// One direction of the line.
pub(crate) struct Line {
    shape: LinkShape,
    /// When the last byte that was given to it has left.
    free_at: Instant,
    dice: SplitMix64,
}

impl Line {
    pub(crate) fn new(shape: LinkShape, seed: u64) -> Line {
        Line { shape, free_at: Instant::now(), dice: SplitMix64::from_seed((seed | 1).to_le_bytes()) }
    }

    /// Whether the line does anything at all.
    pub(crate) fn shapes(&self) -> bool {
        self.shape != LinkShape::default()
    }

    /// Whether it takes more bytes now.
    pub(crate) fn takes(&self, now: Instant) -> bool {
        self.shape.rate_bytes.is_none() || self.free_at <= now + AHEAD
    }

    /// Gives it bytes; returns when they arrive, at `after` the earliest, when those before them do.
    pub(crate) fn give(&mut self, bytes: usize, now: Instant, after: Option<Instant>) -> Instant {
        if let Some(rate) = self.shape.rate_bytes {
            self.free_at = self.free_at.max(now) + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        } else {
            self.free_at = now;
        }
        let mut arrival = self.free_at + self.shape.delay;
        for _ in 0..bytes.div_ceil(SEGMENT_BYTES) {
            if self.shape.loss > 0.0 && self.roll() < self.shape.loss {
                arrival += 2 * self.shape.delay + Duration::from_millis(10);
            }
        }
        after.map_or(arrival, |after| after.max(arrival))
    }

    fn roll(&mut self) -> f64 {
        // Which segments are lost is of no secrecy.
        self.dice.next_u64() as f64 / u64::MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_people_write_them() {
        let line: LinkShape = "rate=10mbit,delay=150ms,loss=0.1%".parse().unwrap();
        assert_eq!(line, LinkShape { rate_bytes: Some(1_250_000), delay: Duration::from_millis(150), loss: 0.001 });
        assert_eq!("delay=1s".parse::<LinkShape>().unwrap().delay, Duration::from_secs(1));
        assert_eq!("".parse::<LinkShape>().unwrap(), LinkShape::default());
        for wrong in ["rate=10", "rate=-1mbit", "delay=4", "loss=1", "loss=60%", "speed=1mbit", "rate", "rate=NaNmbit"]
        {
            assert!(wrong.parse::<LinkShape>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_takes_its_time() {
        let mut line = Line::new("rate=8mbit,delay=100ms".parse().unwrap(), 1);
        let now = Instant::now();
        let first = line.give(100_000, now, None);
        assert!((first - now).abs_diff(Duration::from_millis(200)) < Duration::from_millis(5));
        assert!(!line.takes(now) && line.takes(now + Duration::from_millis(91)));
        assert!(line.give(100_000, now, Some(first)) - first >= Duration::from_millis(99));
    }
}
