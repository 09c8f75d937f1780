//! Virtual time: what is to happen, in the order in which it does.

use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens at a moment. A node's events carry which start of it they belong to, if they do.
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

/// Events by time; those of one moment in the order in which they were queued.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Queue {
    /// Queues an event.
    pub(crate) fn push(&mut self, at_ms: u64, event: Event) {
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
        self.heap.push(Reverse((at_ms, self.sequence, place)));
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at_ms, _, place)) = self.heap.pop()?;
        let event = self.events[place].take().expect("queued once");
        self.free.push(place);
        Some((at_ms, event))
    }
}
