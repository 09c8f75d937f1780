//! What waits for a thread: what the node itself has to do, then the urgent, then the rest. What others send is bounded
//! by what it costs: see [`crate::intake::queue`].

use crate::intake::queue::{Queue, Source};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

struct Queues<T> {
    own: VecDeque<T>,
    urgent: Queue<T>,
    ordinary: Queue<T>,
}

impl<T> Queues<T> {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.urgent.is_empty() && self.ordinary.is_empty()
    }

    fn peek(&self) -> Option<&T> {
        self.own.front().or_else(|| self.urgent.peek()).or_else(|| self.ordinary.peek())
    }

    fn pop(&mut self) -> Option<T> {
        self.own.pop_front().or_else(|| self.urgent.pop()).or_else(|| self.ordinary.pop())
    }
}

/// Three queues with one reader.
pub struct Inbox<T> {
    queues: Mutex<Queues<T>>,
    filled: Condvar,
    emptied: Condvar,
}

const UNPOISONED: &str = "nothing panics while it holds the inbox";

impl<T> Inbox<T> {
    /// Of what costs so much at most: the urgent, the ordinary.
    pub fn new(urgent_max: usize, ordinary_max: usize) -> Inbox<T> {
        Inbox {
            queues: Mutex::new(Queues {
                own: VecDeque::new(),
                urgent: Queue::new(urgent_max),
                ordinary: Queue::new(ordinary_max),
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Adds what the node itself has to do: never too much, before all else.
    pub fn push_own(&self, entry: T) {
        self.queues.lock().expect(UNPOISONED).own.push_back(entry);
        self.filled.notify_one();
    }

    /// Adds what must not wait behind the ordinary.
    pub fn push_urgent(&self, source: Source, cost: usize, entry: T) {
        let gone = self.queues.lock().expect(UNPOISONED).urgent.push(source, cost, entry);
        // Dropped here, not while the queues are held.
        drop(gone);
        self.filled.notify_one();
    }

    /// Adds the ordinary. What had to go for it is handed back: it may be the entry itself.
    pub fn push(&self, source: Source, cost: usize, entry: T) -> Vec<T> {
        let gone = self.queues.lock().expect(UNPOISONED).ordinary.push(source, cost, entry);
        self.filled.notify_one();
        gone
    }

    /// Waits until there is room for something ordinary, no longer than this: whoever hands on what others have sent
    /// lets it wait where it is bounded by who sent it.
    pub fn wait_for_room(&self, at_most: Duration) {
        let queues = self.queues.lock().expect(UNPOISONED);
        let full = |queues: &mut Queues<T>| queues.ordinary.cost() >= queues.ordinary.cost_max() / 2;
        drop(self.emptied.wait_timeout_while(queues, at_most, full));
    }

    /// Whether there is room for something ordinary, and whoever hands on what others have sent need not wait.
    pub fn has_room(&self) -> bool {
        let queues = self.queues.lock().expect(UNPOISONED);
        queues.ordinary.cost() < queues.ordinary.cost_max() / 2
    }

    /// Entries that were dropped since there was too much.
    pub fn dropped(&self) -> u64 {
        let queues = self.queues.lock().expect(UNPOISONED);
        queues.urgent.dropped() + queues.ordinary.dropped()
    }

    /// The next entries, `max` at most; waits for one as long as `wait`. Several come only if all of them are light:
    /// what is urgent does not wait behind what takes long.
    pub fn take_some(&self, wait: Duration, max: usize, light: impl Fn(&T) -> bool, out: &mut VecDeque<T>) {
        let mut queues = self.queues.lock().expect(UNPOISONED);
        if queues.is_empty() && !wait.is_zero() {
            queues = self.filled.wait_timeout(queues, wait).expect(UNPOISONED).0;
        }
        while out.len() < max {
            let Some(is_light) = queues.peek().map(&light) else { break };
            if !is_light && !out.is_empty() {
                break;
            }
            out.extend(queues.pop());
            if !is_light {
                break;
            }
        }
        drop(queues);
        self.emptied.notify_all();
    }

    /// The next entry; waits for one as long as `wait`.
    pub fn take(&self, wait: Duration) -> Option<T> {
        let mut taken = VecDeque::new();
        self.take_some(wait, 1, |_| true, &mut taken);
        taken.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::duties::Rank;

    #[test]
    fn own_work_comes_first_then_the_urgent_and_what_waits_is_bounded() {
        let inbox = Inbox::new(1_000, 1_000);
        let (seated, guest) = (Source(Rank::Seated, 1), Source(Rank::Guest, 2));
        assert!(inbox.push(guest, 400, "cells").is_empty());
        inbox.push_urgent(seated, 400, "vote");
        inbox.push_own("durable");
        assert!(inbox.push(guest, 400, "cells").is_empty());
        assert_eq!(inbox.push(guest, 400, "more"), ["more"], "too much");
        for _ in 0..1_000 {
            inbox.push_urgent(seated, 400, "vote");
        }
        let mut taken = VecDeque::new();
        inbox.take_some(Duration::ZERO, 10, |_| true, &mut taken);
        assert_eq!(taken, ["durable", "vote", "vote", "cells", "cells"]);
        assert_eq!(inbox.dropped(), 1 + 999);
    }

    #[test]
    fn what_takes_long_is_taken_alone() {
        let inbox = Inbox::new(1_000, 1_000);
        let seated = Source(Rank::Seated, 1);
        ["vote", "block", "vote"].iter().for_each(|entry| inbox.push_urgent(seated, 1, *entry));
        let take = || {
            let mut taken = VecDeque::new();
            inbox.take_some(Duration::ZERO, 10, |entry| *entry == "vote", &mut taken);
            taken
        };
        assert_eq!([take(), take(), take()], [["vote"], ["block"], ["vote"]]);
    }
}
