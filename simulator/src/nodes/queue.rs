//! Virtual time: what is to happen, in the order in which it does.

use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens to the minters of a cluster at a moment. A node's events carry which start of it they belong to, if they do.
pub(crate) enum Event {
    /// A node's minter has something to do by its clock: node, start.
    Wake(u32, u32),
    /// A message arrives: to, from.
    Deliver(u32, u32, Box<Message>),
    /// A record is on the disk: node, start, ticket.
    Durable(u32, u32, u64, Box<SignedOnce>),
    /// A node that has crashed starts again.
    Restart(u32),
    /// A node's clock that went wrong is set right.
    ClockRight(u32),
    /// Nearly everyone crashes.
    Blackout,
    /// Attackers certify what they like.
    Plunder,
    /// A slot begins.
    Slot(u64),
}

/// Events by time, in whatever unit; those of one moment in the order in which they were queued.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), sequence: 0 }
    }
}

impl<E> Queue<E> {
    /// Queues an event.
    pub fn push(&mut self, at: u64, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, place)));
    }

    /// The next event and its time.
    ///
    /// # Panics
    /// Never: each event is queued once.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        let event = self.events[place].take().expect("queued once");
        self.free.push(place);
        Some((at, event))
    }
}
