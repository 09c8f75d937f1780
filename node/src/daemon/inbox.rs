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
        Inbox { queues: Mutex::new(Queues { urgent: VecDeque::new(), ordinary: VecDeque::new() }), filled: Condvar::new() }
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

    /// The next entry; waits for one as long as `wait`.
    pub fn take(&self, wait: Duration) -> Option<T> {
        let mut queues = self.queues.lock().expect(UNPOISONED);
        if queues.urgent.is_empty() && queues.ordinary.is_empty() && !wait.is_zero() {
            queues = self.filled.wait_timeout(queues, wait).expect(UNPOISONED).0;
        }
        queues.urgent.pop_front().or_else(|| queues.ordinary.pop_front())
    }
}
