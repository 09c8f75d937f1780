//! Long frames that we have asked for, and room for them: whoever is asked may answer with more than its standing
//! allows, for a while, as far as all answers together have room.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an answer may take to begin.
const BEGIN: Duration = Duration::from_secs(60);
/// Answers that one peer may owe us.
const OWED_MAX: u32 = 256;

/// What one peer owes us.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    answers: u32,
    until: Option<Instant>,
}

impl Owed {
    /// It was asked for something: so many answers.
    pub(super) fn ask(&mut self, answers: u32, now: Instant) {
        if !self.any(now) {
            self.answers = 0;
        }
        self.answers = self.answers.saturating_add(answers).min(OWED_MAX);
        self.until = Some(now + BEGIN);
    }

    /// Whether an answer of it is awaited.
    pub(super) fn any(&self, now: Instant) -> bool {
        self.answers > 0 && self.until.is_some_and(|until| now < until)
    }

    fn answered(&mut self) {
        self.answers = self.answers.saturating_sub(1);
    }
}

/// Answers that have begun, by connection: the bytes that each has room for.
#[derive(Default)]
pub(super) struct Answers {
    begun: BTreeMap<u64, usize>,
    sum: usize,
    /// Connections that must end: they have claimed most, and made room for who claims less.
    pub(super) gave_way: Vec<u64>,
}

impl Answers {
    /// Whether a peer's answer of this length has room where `free` bytes are left. Who claims the most makes room for an answer of less than half of it, so that a few that claim all there is do not keep
    /// everyone else from answering.
    pub(super) fn begin(&mut self, id: u64, owed: &mut Owed, length: usize, free: usize, now: Instant) -> bool {
        if !owed.any(now) || self.begun.contains_key(&id) {
            return false;
        }
        if length > free {
            let largest = self.begun.iter().max_by_key(|begun| begun.1).map(|begun| (*begun.0, *begun.1));
            let Some((largest, _)) = largest.filter(|largest| length < largest.1 / 2) else { return false };
            self.end(largest);
            self.gave_way.push(largest);
        }
        owed.answered();
        self.begun.insert(id, length);
        self.sum += length;
        assert_eq!(self.sum, self.begun.values().sum::<usize>(), "answers have room for other than was counted");
        true
    }

    /// The answer of a connection is finished, or will not be: the bytes that it had room for.
    pub(super) fn end(&mut self, id: u64) -> usize {
        let length = self.begun.remove(&id).unwrap_or(0);
        assert!(length <= self.sum, "an answer of {length} bytes ends, and all have room for {}", self.sum);
        self.sum -= length;
        length
    }

    /// Bytes that all that have begun have room for.
    pub(super) fn sum(&self) -> usize {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn only_who_was_asked_answers_once_for_each_question_and_in_time() {
        let (now, mut answers, mut owed) = (Instant::now(), Answers::default(), Owed::default());
        assert!(!answers.begin(1, &mut owed, MIB, 9 * MIB, now), "nobody has asked");
        owed.ask(2, now);
        assert!(answers.begin(1, &mut owed, MIB, 9 * MIB, now));
        assert!(!answers.begin(1, &mut owed, MIB, 8 * MIB, now), "one at a time");
        assert_eq!((answers.sum(), answers.end(1), answers.sum()), (MIB, MIB, 0));
        assert!(answers.begin(1, &mut owed, MIB, 9 * MIB, now));
        answers.end(1);
        assert!(!answers.begin(1, &mut owed, MIB, 9 * MIB, now), "both are answered");
        owed.ask(1, now);
        assert!(!answers.begin(1, &mut owed, MIB, 9 * MIB, now + BEGIN), "too late");
        owed.ask(u32::MAX, now + BEGIN);
        assert_eq!(owed.answers, OWED_MAX);
    }

    #[test]
    fn who_claims_most_makes_room_for_who_claims_less_than_half() {
        let now = Instant::now();
        let mut answers = Answers::default();
        let asked = || {
            let mut owed = Owed::default();
            owed.ask(1, now);
            owed
        };
        assert!(answers.begin(1, &mut asked(), 80 * MIB, 128 * MIB, now));
        assert!(answers.begin(2, &mut asked(), 48 * MIB, 48 * MIB, now));
        assert!(!answers.begin(3, &mut asked(), 60 * MIB, 0, now), "it claims as much itself");
        assert!(answers.begin(3, &mut asked(), 20 * MIB, 0, now));
        assert_eq!((answers.gave_way.as_slice(), answers.sum()), (&[1][..], 68 * MIB));
    }
}
