//! What waits for a thread, bounded by what it costs.
//!
//! Each source has a row of its own. Rows are served by cost, not by count, those of more rank more often; none waits
//! for ever. When there is too much, the least entitled lose their newest first, and among those whoever holds most.

use super::duties::Rank;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who put something in: its rank, and which one of that rank. One source keeps its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(pub Rank, pub u64);

/// Sources that are remembered at most that have nothing waiting.
const LEFT_MAX: usize = 4_096;

/// How often a rank is served, against a guest.
fn weight(rank: Rank) -> u64 {
    match rank {
        Rank::Own | Rank::Seated => 16,
        Rank::Called => 8,
        Rank::Named => 4,
        Rank::Guest => 1,
    }
}

struct Row<T> {
    waiting: VecDeque<(T, usize)>,
    cost: usize,
    /// What it has been served, in units of its weight.
    served: u64,
}

/// A bounded queue with a row a source.
pub struct Queue<T> {
    rows: BTreeMap<Source, Row<T>>,
    /// By what each was served: the least first.
    turns: BTreeSet<(u64, Source)>,
    /// What those were served who have nothing waiting now: who hands in one at a time does not begin anew each time.
    left: BTreeMap<Source, u64>,
    left_max: usize,
    /// What whoever comes now counts as served.
    level: u64,
    cost: usize,
    cost_max: usize,
    dropped: u64,
}

impl<T> Queue<T> {
    /// Of entries that cost so much together at most; a single one may cost more.
    pub fn new(cost_max: usize) -> Queue<T> {
        Queue {
            rows: BTreeMap::new(),
            turns: BTreeSet::new(),
            left: BTreeMap::new(),
            left_max: 64,
            level: 0,
            cost: 0,
            cost_max,
            dropped: 0,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What all that waits costs.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// What it may cost.
    pub fn cost_max(&self) -> usize {
        self.cost_max
    }

    /// Entries that had to go so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds an entry. What has to go for it is handed back: it may be the entry itself.
    pub fn push(&mut self, source: Source, cost: usize, entry: T) -> Vec<T> {
        // Nothing is free: what has no bytes takes a place.
        let cost = cost.max(1);
        let row = self.rows.entry(source).or_insert_with(|| {
            let served = self.left.remove(&source).map_or(self.level, |served| served.max(self.level));
            self.turns.insert((served, source));
            Row { waiting: VecDeque::new(), cost: 0, served }
        });
        row.waiting.push_back((entry, cost));
        row.cost += cost;
        self.cost += cost;
        let mut gone = Vec::new();
        while self.cost > self.cost_max && (self.rows.len() > 1 || self.rows.values().any(|row| row.waiting.len() > 1))
        {
            gone.push(self.drop_one());
        }
        self.dropped += gone.len() as u64;
        assert_eq!(self.rows.len(), self.turns.len(), "each row has one turn");
        let entries = || self.rows.values().map(|row| row.waiting.len()).sum::<usize>();
        assert!(self.cost <= self.cost_max || entries() == 1, "{} wait that cost {}", entries(), self.cost);
        gone
    }

    /// The newest of whoever is least entitled, and of those holds most.
    fn drop_one(&mut self) -> T {
        let worst = self.rows.iter().max_by_key(|(source, row)| (source.0, row.cost)).map(|(source, _)| *source);
        let source = worst.expect("something waits");
        let row = self.rows.get_mut(&source).expect("found above");
        let (entry, cost) = row.waiting.pop_back().expect("no row is empty");
        assert!(cost <= row.cost && row.cost <= self.cost, "a row costs what its entries cost");
        row.cost -= cost;
        self.cost -= cost;
        self.forget_if_empty(source);
        entry
    }

    fn forget_if_empty(&mut self, source: Source) {
        if let Some(row) = self.rows.get(&source).filter(|row| row.waiting.is_empty()) {
            assert_eq!(row.cost, 0, "a row without entries costs nothing");
            self.turns.remove(&(row.served, source));
            if row.served > self.level {
                self.left.insert(source, row.served);
            }
            self.rows.remove(&source);
            let level = self.level;
            // Those whom all others have caught up with are forgotten, as often as there are twice as many.
            if self.left.len() > self.left_max {
                self.left.retain(|_, served| *served > level);
                self.left_max = 2 * self.left.len() + 64;
            }
            // When nobody waits nobody is behind: all begin anew where the furthest is. The same when there are too many
            // to remember who come once each: those who wait are served before whoever comes then.
            if self.rows.is_empty() || self.left.len() > LEFT_MAX {
                self.level = self.left.values().copied().fold(self.level, u64::max);
                (self.left, self.left_max) = (BTreeMap::new(), 64);
            }
            assert!(self.left.len() <= LEFT_MAX, "{} are remembered who have nothing waiting", self.left.len());
        }
    }

    fn next_source(&self) -> Option<Source> {
        self.turns.first().map(|turn| turn.1)
    }

    /// The next entry, to look at.
    pub fn peek(&self) -> Option<&T> {
        let row = self.rows.get(&self.next_source()?)?;
        row.waiting.front().map(|(entry, _)| entry)
    }

    /// The next entry.
    pub fn pop(&mut self) -> Option<T> {
        let source = self.next_source()?;
        let row = self.rows.get_mut(&source).expect("every row has its turn");
        let (entry, cost) = row.waiting.pop_front().expect("no row is empty");
        assert!(cost <= row.cost && row.cost <= self.cost, "a row costs what its entries cost");
        row.cost -= cost;
        self.cost -= cost;
        self.turns.remove(&(row.served, source));
        self.level = self.level.max(row.served);
        row.served += (cost as u64 * 16 / weight(source.0)).max(1);
        self.turns.insert((row.served, source));
        self.forget_if_empty(source);
        assert_eq!(self.rows.len(), self.turns.len(), "each row has one turn");
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_floods_waits_behind_who_does_not() {
        let mut queue = Queue::new(1 << 20);
        (0..500).for_each(|number| drop(queue.push(Source(Rank::Guest, 1), 1_000, number)));
        queue.push(Source(Rank::Guest, 2), 1_000, 9_001);
        queue.push(Source(Rank::Seated, 3), 1_000, 9_002);
        let first: Vec<i32> = (0..4).map(|_| queue.pop().unwrap()).collect();
        assert!(first.contains(&9_001) && first.contains(&9_002), "{first:?}");
        let rest: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
        assert!(rest.is_sorted(), "one source keeps its order");
        assert!(queue.is_empty() && queue.cost() == 0);
    }

    #[test]
    fn who_hands_in_one_at_a_time_does_not_always_go_first() {
        let mut queue = Queue::new(1 << 20);
        (0..10).for_each(|_| drop(queue.push(Source(Rank::Guest, 9), 1_000, 9)));
        let mut served = Vec::new();
        for _ in 0..20 {
            // An older connection, which has its next one here as soon as the last was taken.
            queue.push(Source(Rank::Guest, 1), 1_000, 1);
            served.extend(queue.pop());
        }
        assert_eq!(served.iter().filter(|&&who| who == 9).count(), 10, "{served:?}");
    }

    #[test]
    fn whoever_comes_once_is_not_remembered_for_ever() {
        let (mut alone, mut beside) = (Queue::new(1 << 20), Queue::new(1 << 20));
        beside.push(Source(Rank::Guest, u64::MAX), 1_000, 0);
        for connection in 0..20_000 {
            for queue in [&mut alone, &mut beside] {
                queue.push(Source(Rank::Guest, connection), 1_000, 1);
                queue.pop();
            }
        }
        assert!(alone.left.is_empty() && beside.left.len() <= LEFT_MAX, "{} are", beside.left.len());
        assert!(beside.rows.len() <= 1);
    }

    #[test]
    fn of_what_is_too_much_the_least_entitled_lose_first() {
        let mut queue = Queue::new(10_000);
        assert!(queue.push(Source(Rank::Seated, 1), 4_000, "vote").is_empty());
        for _ in 0..6 {
            assert!(queue.push(Source(Rank::Guest, 7), 1_000, "cells").is_empty());
        }
        assert_eq!(queue.push(Source(Rank::Named, 2), 2_000, "told"), ["cells", "cells"]);
        assert_eq!(queue.push(Source(Rank::Guest, 8), 2_000, "more"), ["cells", "cells"], "whoever holds most");
        assert_eq!(queue.push(Source(Rank::Seated, 1), 5_000, "block"), ["more", "cells", "cells", "told"]);
        assert_eq!(queue.cost(), 9_000);
        assert_eq!(queue.dropped(), 8);
    }

    #[test]
    fn one_entry_may_cost_more_than_all_may() {
        let mut queue = Queue::new(10);
        assert!(queue.push(Source(Rank::Guest, 1), 100, ()).is_empty());
        assert_eq!(queue.push(Source(Rank::Guest, 1), 1, ()).len(), 1);
        assert!(queue.pop().is_some() && queue.pop().is_none());
    }
}
