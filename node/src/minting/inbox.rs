//! What waits for the consensus thread: the urgent first, then the rest in its order.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

struct Queues<T> {
    urgent: VecDeque<T>,
    ordinary: VecDeque<T>,
}

/// Two queues with one reader.
pub struct Inbox<T> {
    queues: Mutex<Queues<T>>,
    filled: Condvar,
}

const UNPOISONED: &str = "nothing panics while it holds the inbox";

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Inbox {
            queues: Mutex::new(Queues { urgent: VecDeque::new(), ordinary: VecDeque::new() }),
            filled: Condvar::new(),
        }
    }
}

impl<T> Inbox<T> {
    /// Adds what must not wait behind the ordinary.
    pub fn push_urgent(&self, entry: T) {
        self.queues.lock().expect(UNPOISONED).urgent.push_back(entry);
        self.filled.notify_one();
    }

    /// Adds the ordinary.
    pub fn push(&self, entry: T) {
        self.queues.lock().expect(UNPOISONED).ordinary.push_back(entry);
        self.filled.notify_one();
    }

    /// The next entries, `max` at most; waits for one as long as `wait`. Several come only if all of them are light:
    /// what is urgent does not wait behind what takes long.
    pub fn take_some(&self, wait: Duration, max: usize, light: impl Fn(&T) -> bool, out: &mut VecDeque<T>) {
        let mut queues = self.queues.lock().expect(UNPOISONED);
        if queues.urgent.is_empty() && queues.ordinary.is_empty() && !wait.is_zero() {
            queues = self.filled.wait_timeout(queues, wait).expect(UNPOISONED).0;
        }
        let Queues { urgent, ordinary } = &mut *queues;
        while out.len() < max {
            let queue = if urgent.is_empty() { &mut *ordinary } else { &mut *urgent };
            let Some(entry) = queue.pop_front_if(|entry| out.is_empty() || light(entry)) else { return };
            let alone = !light(&entry);
            out.push_back(entry);
            if alone {
                return;
            }
        }
    }
}
