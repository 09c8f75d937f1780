//! What is handed out of the past, to whom next: joining must not take the line from those who mint, nor anybody's
//! joining from others.
//!
//! Each line has bytes of its own in a second, and what it has not got yet it waits for: nobody who asks more often is
//! served for that. In a line those who wait take turns, a whole network as one.

use super::queue::{Queue, Source};
use dynemix_net::mesh::Bucket;

/// Who has a name is handed out so many times what a guest is: a minter that was away catches up.
const NAMED_MORE: u64 = 16;
/// Questions that wait in a line at most.
const WAITING_MAX: usize = 1_024;

/// Who asks for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Old blocks, by who has a name.
    Named,
    /// Pieces of snapshots, by who has come to join: two thirds of what there is.
    Joining,
    /// The same, by anybody else.
    Pieces,
    /// Old blocks, by anybody else.
    Guests,
}

impl Line {
    /// All of them, in their order.
    pub const ALL: [Line; 4] = [Line::Named, Line::Joining, Line::Pieces, Line::Guests];

    /// Its part of what is handed out to strangers in a second.
    fn of(self, bytes_per_s: u64) -> u64 {
        match self {
            Line::Named => bytes_per_s.saturating_mul(NAMED_MORE),
            Line::Joining => bytes_per_s - bytes_per_s / 3,
            Line::Pieces => bytes_per_s / 3,
            Line::Guests => bytes_per_s,
        }
    }
}

/// What waits, and what may be handed out.
pub struct Portions<T> {
    lines: [(Queue<T>, Bucket); Line::ALL.len()],
    /// The line that is looked at first.
    turn: usize,
}

impl<T> Portions<T> {
    /// Of so many bytes in a second for pieces of snapshots, and as many for guests' old blocks.
    pub fn new(bytes_per_s: u64, now_ms: u64) -> Portions<T> {
        let line = |line: Line| (Queue::new(WAITING_MAX), Bucket::new(line.of(bytes_per_s).max(1), now_ms));
        Portions { lines: Line::ALL.map(line), turn: 0 }
    }

    /// Something is asked for. Handed back is what has to go for it: it may be the question itself.
    pub fn ask(&mut self, line: Line, source: Source, question: T) -> Vec<T> {
        self.lines[line as usize].0.push(source, 1, question)
    }

    /// The next question for which there is something to hand out.
    pub fn next(&mut self, now_ms: u64) -> Option<(Line, T)> {
        for place in 0..Line::ALL.len() {
            let at = (self.turn + place) % Line::ALL.len();
            let (waiting, bucket) = &mut self.lines[at];
            if !waiting.is_empty() && bucket.has(now_ms, 1) {
                self.turn = at + 1;
                return waiting.pop().map(|question| (Line::ALL[at], question));
            }
        }
        None
    }

    /// Whether there is something to hand out in this line.
    pub fn has(&mut self, line: Line, now_ms: u64) -> bool {
        self.lines[line as usize].1.has(now_ms, 1)
    }

    /// Milliseconds until there is something to hand out to who waits; none while nobody does.
    pub fn wait_ms(&mut self, now_ms: u64) -> Option<u64> {
        let waits = |(waiting, bucket): &mut (Queue<T>, Bucket)| {
            (!waiting.is_empty()).then(|| bucket.owed_ms(now_ms) + u64::from(!bucket.has(now_ms, 1)))
        };
        self.lines.iter_mut().filter_map(waits).min()
    }

    /// How much may be handed out at once: to guests no more than there ever is, or one question would keep all others
    /// waiting.
    pub fn most(&self, line: Line) -> u64 {
        if line == Line::Guests { self.lines[line as usize].1.holds() } else { u64::MAX }
    }

    /// So much was handed out; what was not there is owed by those who ask next.
    pub fn hand_out(&mut self, line: Line, bytes: u64, now_ms: u64) {
        self.lines[line as usize].1.take(now_ms, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::duties::Rank;
    use std::collections::BTreeMap;

    const PER_S: u64 = 1 << 20;
    const PIECE: u64 = 128 << 10;
    const UNDER_WAY: usize = 4;

    /// Ten seconds in which some ask again as soon as they can, and one, the last, every half second. How many bytes
    /// each was handed out.
    fn ten_seconds(askers: &[(Line, Source)], bytes: impl Fn(Line) -> u64) -> Vec<u64> {
        let mut portions = Portions::new(PER_S, 0);
        let mut waiting: BTreeMap<usize, usize> = BTreeMap::new();
        let mut given = vec![0; askers.len()];
        for now_ms in (0..10_000).step_by(10) {
            for (asker, &(line, source)) in askers.iter().enumerate() {
                let waits = waiting.entry(asker).or_insert(0);
                while *waits < UNDER_WAY && (asker + 1 < askers.len() || now_ms % 500 == 0) {
                    assert!(portions.ask(line, source, asker).is_empty());
                    *waits += 1;
                }
            }
            while let Some((line, asker)) = portions.next(now_ms) {
                *waiting.get_mut(&asker).unwrap() -= 1;
                portions.hand_out(line, bytes(line), now_ms);
                given[asker] += bytes(line);
            }
            assert!(portions.wait_ms(now_ms).is_none_or(|wait| wait > 0), "whoever can be served was");
        }
        given
    }

    #[test]
    fn two_connections_that_ask_at_once_keep_nobody_from_joining() {
        let joiner = (Line::Joining, Source(Rank::Guest, 3));
        for line in [Line::Pieces, Line::Joining] {
            let askers = [(line, Source(Rank::Guest, 1)), (line, Source(Rank::Guest, 2)), joiner];
            let given = ten_seconds(&askers, |_| PIECE);
            assert!(given[2] >= 2 << 20, "{line:?}: {given:?}");
            assert!(given.iter().sum::<u64>() <= 12 << 20, "{line:?}: {given:?}");
        }
    }

    #[test]
    fn a_hundred_connections_of_one_network_are_one() {
        let crowd = (Line::Joining, Source(Rank::Guest, 9));
        let mut askers = vec![crowd; 100];
        askers.push((Line::Joining, Source(Rank::Guest, 3)));
        let given = ten_seconds(&askers, |_| PIECE);
        assert!(given[100] >= 2 << 20, "{given:?}");
    }

    #[test]
    fn old_blocks_take_nothing_from_those_who_join_and_a_long_one_is_for_names() {
        let guests = [1, 2].map(|guest| (Line::Guests, Source(Rank::Guest, guest)));
        let askers = [guests[0], guests[1], (Line::Joining, Source(Rank::Guest, 3))];
        let given = ten_seconds(&askers, |line| if line == Line::Guests { PER_S } else { PIECE });
        assert!(given[2] >= 6 << 20, "all that it asks for: {given:?}");
        let portions = Portions::<()>::new(PER_S, 0);
        assert_eq!(portions.most(Line::Guests), PER_S);
        assert!(portions.most(Line::Named) > 80 << 20, "who has a name needs it to go on");
    }

    #[test]
    fn what_waits_is_bounded_and_whose_question_had_to_go_is_said() {
        let mut portions = Portions::new(PER_S, 0);
        let gone: usize =
            (0..10_000).map(|peer| portions.ask(Line::Pieces, Source(Rank::Guest, peer), peer).len()).sum();
        assert_eq!(gone, 10_000 - WAITING_MAX);
    }
}
