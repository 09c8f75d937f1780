//! Frames within the streams of a channel: each class has a stream of its own, a frame in it is a length and a body.
//!
//! ```text
//!   length u32 | body          little endian; the maximum depends on the class and on who sends
//! ```
//!
//! Memory grows with the bytes that have come, not with what a length claims.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Streams of a channel.
pub const CLASSES: usize = 4;
const LENGTH_BYTES: usize = 4;

/// Why a stream ends, and its channel with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such class.
    #[error("class {0} is unknown")]
    Class(u8),
    /// A frame that is longer than its class allows.
    #[error("a frame of {length} bytes in class {class}, which allows {max}")]
    TooLong {
        /// Class of the stream that it is in.
        class: u8,
        /// What it claims.
        length: usize,
        /// What there may be.
        max: usize,
    },
}

#[derive(Default)]
struct Incoming {
    length: [u8; LENGTH_BYTES],
    length_bytes: usize,
    body: Vec<u8>,
}

/// Puts the frames of a channel's streams together again.
#[derive(Default)]
pub struct Reassembly {
    streams: [Incoming; CLASSES],
    /// Bytes of bodies that are under way.
    held: usize,
    /// When a frame was begun of which bytes are missing, and what has come since.
    begun: Option<(Instant, usize)>,
}

impl Reassembly {
    /// Bytes of unfinished bodies.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Since when a frame is unfinished, and how many bytes have come since.
    pub fn begun(&self) -> Option<(Instant, usize)> {
        self.begun
    }

    /// Takes the next bytes of a class's stream; `frame` gets each body that is complete.
    ///
    /// # Errors
    /// An unknown class, or a frame that is too long.
    pub fn take(
        &mut self,
        class: u8,
        mut bytes: &[u8],
        maxima: &[usize; CLASSES],
        now: Instant,
        mut frame: impl FnMut(u8, Vec<u8>),
    ) -> Result<(), FrameError> {
        let stream = self.streams.get_mut(usize::from(class)).ok_or(FrameError::Class(class))?;
        let max = maxima[usize::from(class)];
        if let Some((_, come)) = &mut self.begun {
            *come += bytes.len();
        }
        while !bytes.is_empty() {
            if stream.length_bytes < LENGTH_BYTES {
                let taken = bytes.len().min(LENGTH_BYTES - stream.length_bytes);
                stream.length[stream.length_bytes..][..taken].copy_from_slice(&bytes[..taken]);
                (stream.length_bytes, bytes) = (stream.length_bytes + taken, &bytes[taken..]);
                if stream.length_bytes < LENGTH_BYTES {
                    break;
                }
                let length = u32::from_le_bytes(stream.length) as usize;
                if length > max {
                    return Err(FrameError::TooLong { class, length, max });
                }
            }
            let length = u32::from_le_bytes(stream.length) as usize;
            let taken = bytes.len().min(length - stream.body.len());
            stream.body.extend_from_slice(&bytes[..taken]);
            self.held += taken;
            bytes = &bytes[taken..];
            if stream.body.len() == length {
                self.held -= length;
                stream.length_bytes = 0;
                frame(class, std::mem::take(&mut stream.body));
            }
        }
        let bodies: usize = self.streams.iter().map(|stream| stream.body.len()).sum();
        assert_eq!(self.held, bodies, "a channel's unfinished bodies weigh other than was counted");
        let unfinished = self.streams.iter().any(|stream| stream.length_bytes > 0);
        self.begun = if unfinished { self.begun.or(Some((now, 0))) } else { None };
        Ok(())
    }
}

/// What waits to be sent on a channel: a queue for each class, and in each where its first frame stands.
#[derive(Default)]
pub struct Outgoing {
    queues: [VecDeque<Arc<[u8]>>; CLASSES],
    /// Bytes of each class's first frame that are sent, its length included.
    sent: [usize; CLASSES],
    bytes: [usize; CLASSES],
}

impl Outgoing {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    /// Adds a frame; of a class that holds too much the oldest frames that are not begun are dropped. Returns the bytes
    /// dropped.
    pub fn push(&mut self, class: u8, body: Arc<[u8]>, max: usize) -> usize {
        let class = usize::from(class);
        self.bytes[class] += body.len();
        self.queues[class].push_back(body);
        let mut dropped = 0;
        while self.bytes[class] > max {
            let begun = usize::from(self.sent[class] > 0);
            let Some(body) = self.queues[class].remove(begun) else { break };
            dropped += body.len();
            self.bytes[class] -= body.len();
        }
        dropped
    }

    /// The next piece of the most urgent class, of `room` bytes at most: the parts to send, in order.
    pub fn next<T>(&mut self, room: usize, write: impl FnOnce(u8, &[&[u8]]) -> T) -> Option<T> {
        let class = self.queues.iter().position(|queue| !queue.is_empty())?;
        let body = self.queues[class].front()?.clone();
        let sent = self.sent[class];
        assert!(sent < LENGTH_BYTES + body.len(), "a frame of class {class} is sent whole and still waits");
        let length = (body.len() as u32).to_le_bytes();
        let head = &length[sent.min(LENGTH_BYTES)..];
        let from = sent.saturating_sub(LENGTH_BYTES);
        let taken = (body.len() - from).min(room - head.len());
        let written = write(class as u8, &[head, &body[from..from + taken]]);
        self.sent[class] = sent + head.len() + taken;
        if self.sent[class] == LENGTH_BYTES + body.len() {
            self.queues[class].pop_front();
            self.sent[class] = 0;
            self.bytes[class] -= body.len();
            let (left, bytes) = (self.queues[class].len(), self.bytes[class]);
            assert!(left > 0 || bytes == 0, "nothing of class {class} waits, and {bytes} bytes are counted");
        }
        Some(written)
    }

    /// Whether no class has a frame that waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_arrive_whole_and_in_order_however_they_are_cut(
            frames in proptest::collection::vec((0u8..4, proptest::collection::vec(any::<u8>(), 0..400)), 0..30),
            room in 5usize..300,
        ) {
            let (mut outgoing, mut incoming) = (Outgoing::default(), Reassembly::default());
            frames.iter().for_each(|(class, body)| { outgoing.push(*class, body.clone().into(), usize::MAX); });
            let mut got = Vec::new();
            while let Some((class, piece)) = outgoing.next(room, |class, parts| (class, parts.concat())) {
                assert!(piece.len() <= room);
                let keep = |class, body| got.push((class, body));
                incoming.take(class, &piece, &[400; CLASSES], Instant::now(), keep).unwrap();
            }
            let mut expected = frames.clone();
            expected.sort_by_key(|frame| frame.0);
            prop_assert_eq!(got, expected);
            prop_assert_eq!((incoming.held(), outgoing.bytes()), (0, 0));
            prop_assert!(incoming.begun().is_none());
        }
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_kept() {
        let mut incoming = Reassembly::default();
        let error = incoming.take(1, &u32::MAX.to_le_bytes(), &[10; CLASSES], Instant::now(), |_, _| ());
        assert_eq!(error, Err(FrameError::TooLong { class: 1, length: u32::MAX as usize, max: 10 }));
        assert_eq!(incoming.take(9, &[0], &[10; CLASSES], Instant::now(), |_, _| ()), Err(FrameError::Class(9)));
    }

    #[test]
    fn what_overflows_is_dropped_oldest_first_but_never_half_a_frame() {
        let mut outgoing = Outgoing::default();
        outgoing.push(2, vec![1; 100].into(), 250);
        outgoing.next(10, |_, _| ());
        outgoing.push(2, vec![2; 100].into(), 250);
        assert_eq!(outgoing.push(2, vec![3; 100].into(), 250), 100);
        let mut incoming = Reassembly::default();
        let mut got = Vec::new();
        incoming
            .take(2, &[&100u32.to_le_bytes()[..], &[1; 6]].concat(), &[400; CLASSES], Instant::now(), |_, _| ())
            .unwrap();
        while let Some((class, piece)) = outgoing.next(64, |class, parts| (class, parts.concat())) {
            incoming.take(class, &piece, &[400; CLASSES], Instant::now(), |_, body| got.push(body[0])).unwrap();
        }
        assert_eq!(got, [1, 3]);
    }
}
