//! Frames within the streams of a channel: each class has a stream of its own, a frame in it is a length and a body.
//!
//! ```text
//!   length u32 | body          little endian; the maximum depends on the class and on who sends
//! ```
//!
//! Memory grows with the bytes that have come, not with what a length claims.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Streams of a channel.
pub const CLASSES: usize = 4;
const LENGTH_BYTES: usize = 4;

/// Why a stream ends, and its channel with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such class.
    #[error("class {0} is unknown")]
    Class(u8),
    /// A frame that is longer than any that its sender may send.
    #[error("a frame of {length} bytes in class {class}, which its sender may not send")]
    Refused {
        /// Class of the stream that it is in.
        class: u8,
        /// What it claims.
        length: usize,
    },
}

/// What becomes of a frame of which only the length has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Take,
    /// It is taken as an answer to a question of ours, out of the room that answers have.
    Answer,
    /// Its bytes are read and thrown away: nobody has asked for it, and it may be honest all the same.
    PassOver,
    /// It ends the connection.
    Refuse,
}

/// An unfinished frame must bring so many bytes in [`WINDOW`], or a part of what it holds already if that is more.
const SLOWEST_BYTES: usize = 4_096;
/// The time over which it is looked at how fast a frame comes.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// A frame brings this part of what it holds in each window.
const PART_OF_HELD: usize = 64;
/// An answer has room for all of its length from its beginning on, and is here after so many windows at the latest.
const ANSWER_WINDOWS: usize = 12;
/// How a body's memory grows: by half, at least by the first and at most by the second.
const GROWTH: (usize, usize) = (1 << 12, 1 << 20);

#[derive(Default)]
struct Incoming {
    length: [u8; LENGTH_BYTES],
    length_bytes: usize,
    body: Vec<u8>,
    /// Bytes of the body that have come.
    come: usize,
    verdict: Option<Verdict>,
    /// Since when the window runs, and the bytes that have come in it, those of more urgent streams included: a sender
    /// gives way to them.
    window: Option<(Instant, usize)>,
}

impl Incoming {
    /// Bytes of memory that count against whoever sends: an answer's room is counted as a whole.
    fn held(&self) -> usize {
        if self.verdict == Some(Verdict::Answer) { 0 } else { self.body.capacity() }
    }

    /// Appends to the body, whose memory grows with the bytes that have come.
    fn append(&mut self, bytes: &[u8], length: usize) {
        let room = self.body.capacity() - self.body.len();
        if room < bytes.len() {
            let step = (self.body.len() / 2).clamp(GROWTH.0, GROWTH.1).max(bytes.len());
            self.body.reserve_exact(step.min(length - self.body.len()));
        }
        self.body.extend_from_slice(bytes);
    }

    /// What must have come at the end of a window that begins now.
    fn least(&self) -> usize {
        let length = u32::from_le_bytes(self.length) as usize;
        let part = match self.verdict {
            Some(Verdict::Answer) => length / ANSWER_WINDOWS,
            _ => self.body.len() / PART_OF_HELD,
        };
        part.max(SLOWEST_BYTES)
    }
}

/// Puts the frames of a channel's streams together again.
#[derive(Default)]
pub struct Reassembly {
    streams: [Incoming; CLASSES],
    held: usize,
}

impl Reassembly {
    /// Bytes of memory of unfinished bodies, answers apart.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether a frame has come too slowly over the last window: it counts from whenever the window began, whatever has
    /// come before, so nobody keeps memory by having been fast once.
    pub fn is_slow(&mut self, now: Instant) -> bool {
        let mut slow = false;
        for stream in &mut self.streams {
            let least = stream.least();
            if let Some((since, come)) = &mut stream.window
                && now >= *since + WINDOW
            {
                slow |= *come < least;
                (*since, *come) = (now, 0);
            }
        }
        slow
    }

    /// Every window begins anew: whoever is not read for a while is not slow by itself.
    pub fn excuse(&mut self, now: Instant) {
        self.streams.iter_mut().for_each(|stream| stream.window = stream.window.map(|_| (now, 0)));
    }

    /// Takes the next bytes of a class's stream. `judge` says what becomes of a frame once its length has come; `frame`
    /// gets each body that is complete, and whether it is an answer.
    ///
    /// # Errors
    /// An unknown class, or a frame that is refused.
    pub fn take(
        &mut self,
        class: u8,
        mut bytes: &[u8],
        now: Instant,
        mut judge: impl FnMut(u8, usize) -> Verdict,
        mut frame: impl FnMut(u8, Vec<u8>, bool),
    ) -> Result<(), FrameError> {
        let place = usize::from(class);
        if place >= CLASSES {
            return Err(FrameError::Class(class));
        }
        for stream in &mut self.streams[place..] {
            stream.window = stream.window.map(|(since, come)| (since, come.saturating_add(bytes.len())));
        }
        let stream = &mut self.streams[place];
        while !bytes.is_empty() {
            if stream.length_bytes < LENGTH_BYTES {
                let taken = bytes.len().min(LENGTH_BYTES - stream.length_bytes);
                stream.length[stream.length_bytes..][..taken].copy_from_slice(&bytes[..taken]);
                (stream.length_bytes, bytes) = (stream.length_bytes + taken, &bytes[taken..]);
                if stream.length_bytes < LENGTH_BYTES {
                    break;
                }
            }
            let length = u32::from_le_bytes(stream.length) as usize;
            let verdict = *stream.verdict.get_or_insert_with(|| judge(class, length));
            let taken = bytes.len().min(length - stream.come);
            match verdict {
                Verdict::Refuse => return Err(FrameError::Refused { class, length }),
                Verdict::PassOver => {}
                Verdict::Take | Verdict::Answer => stream.append(&bytes[..taken], length),
            }
            stream.come += taken;
            bytes = &bytes[taken..];
            if stream.come == length {
                let Incoming { body, .. } = std::mem::take(stream);
                if verdict != Verdict::PassOver {
                    assert_eq!(body.len(), length, "a body is not as long as the length before it");
                    frame(class, body, verdict == Verdict::Answer);
                }
            }
        }
        // An empty frame is complete with its length, a frame of which a part has come is looked at from now on.
        let unfinished = stream.length_bytes > 0;
        stream.window = if unfinished { stream.window.or(Some((now, 0))) } else { None };
        self.held = self.streams.iter().map(Incoming::held).sum();
        Ok(())
    }
}

/// What waits to be sent on a channel: a queue for each class, and in each where its first frame stands. Every frame that
/// leaves a queue, sent or not, is handed back to who accounts for it.
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

    /// Every frame that waits.
    pub fn frames(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.queues.iter().flatten()
    }

    /// Adds a frame; of a class that holds too much the oldest frames that are not begun are dropped, but not the new
    /// one if it is alone or follows only one that is begun.
    pub fn push(&mut self, class: u8, body: Arc<[u8]>, max: usize, mut dropped: impl FnMut(Arc<[u8]>)) {
        let class = usize::from(class);
        self.bytes[class] += body.len();
        self.queues[class].push_back(body);
        let begun = usize::from(self.sent[class] > 0);
        while self.bytes[class] > max && self.queues[class].len() > begun + 1 {
            let Some(body) = self.queues[class].remove(begun) else { break };
            self.bytes[class] -= body.len();
            dropped(body);
        }
        assert!(self.queues[class].len() > begun || self.bytes[class] == 0, "the new frame itself was dropped");
    }

    /// The next piece of the most urgent class, of `room` bytes at most: the parts to send, in order. A frame that is
    /// sent whole with it goes to `done`.
    pub fn next<T>(
        &mut self,
        room: usize,
        write: impl FnOnce(u8, &[&[u8]]) -> T,
        done: impl FnOnce(Arc<[u8]>),
    ) -> Option<T> {
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
            done(body);
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

    fn take_all(_: u8, _: usize) -> Verdict {
        Verdict::Take
    }

    proptest! {
        #[test]
        fn frames_arrive_whole_and_in_order_however_they_are_cut(
            frames in proptest::collection::vec((0u8..4, proptest::collection::vec(any::<u8>(), 0..400)), 0..30),
            room in 5usize..300,
        ) {
            let (mut outgoing, mut incoming) = (Outgoing::default(), Reassembly::default());
            let never = |_| unreachable!("nothing is too much");
            frames.iter().for_each(|(class, body)| outgoing.push(*class, body.clone().into(), usize::MAX, never));
            let (mut got, mut done) = (Vec::new(), 0);
            let next = |outgoing: &mut Outgoing, done: &mut usize| {
                outgoing.next(room, |class, parts| (class, parts.concat()), |_| *done += 1)
            };
            while let Some((class, piece)) = next(&mut outgoing, &mut done) {
                assert!(piece.len() <= room);
                let keep = |class, body, _| got.push((class, body));
                incoming.take(class, &piece, Instant::now(), take_all, keep).unwrap();
                let under_way: usize = incoming.streams.iter().map(|stream| stream.body.len()).sum();
                assert!(under_way <= incoming.held());
            }
            let mut expected = frames.clone();
            expected.sort_by_key(|frame| frame.0);
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!((incoming.held(), outgoing.bytes(), done), (0, 0, frames.len()));
            prop_assert!(!incoming.is_slow(Instant::now() + 10 * WINDOW));
        }
    }

    fn begin(incoming: &mut Reassembly, class: u8, length: usize, first: usize, verdict: Verdict, now: Instant) {
        let bytes = [&(length as u32).to_le_bytes()[..], &vec![1; first]].concat();
        incoming.take(class, &bytes, now, |_, _| verdict, |_, _, _| ()).unwrap();
    }

    fn more(incoming: &mut Reassembly, class: u8, bytes: usize, now: Instant) {
        incoming.take(class, &vec![1; bytes], now, take_all, |_, _, _| ()).unwrap();
    }

    #[test]
    fn lengths_are_judged_before_anything_is_kept() {
        let mut incoming = Reassembly::default();
        let refuse = |_, length| if length > 10 { Verdict::Refuse } else { Verdict::Take };
        let error = incoming.take(1, &u32::MAX.to_le_bytes(), Instant::now(), refuse, |_, _, _| ());
        assert_eq!(error, Err(FrameError::Refused { class: 1, length: u32::MAX as usize }));
        assert_eq!(incoming.take(9, &[0], Instant::now(), take_all, |_, _, _| ()), Err(FrameError::Class(9)));
        // Memory grows with the bytes that have come, not with what a length claims.
        let mut incoming = Reassembly::default();
        begin(&mut incoming, 2, 80 << 20, 16_000, Verdict::Take, Instant::now());
        assert!((16_000..32_000).contains(&incoming.held()), "{}", incoming.held());
    }

    #[test]
    fn what_is_passed_over_holds_nothing_and_what_follows_is_heard() {
        let mut incoming = Reassembly::default();
        begin(&mut incoming, 2, 1 << 20, 1 << 19, Verdict::PassOver, Instant::now());
        assert_eq!(incoming.held(), 0);
        let (mut got, rest) = (Vec::new(), [&vec![1; 1 << 19][..], &3u32.to_le_bytes(), &[7; 3]].concat());
        incoming.take(2, &rest, Instant::now(), take_all, |_, body, answer| got.push((body, answer))).unwrap();
        assert_eq!(got, [(vec![7; 3], false)]);
    }

    #[test]
    fn nobody_keeps_memory_by_having_been_fast_once() {
        let (start, mut incoming) = (Instant::now(), Reassembly::default());
        begin(&mut incoming, 2, 80 << 20, 70 << 20, Verdict::Take, start);
        assert!(!incoming.is_slow(start + WINDOW - Duration::from_millis(1)));
        // A few bytes a window were enough for hours.
        more(&mut incoming, 2, 8_192, start + Duration::from_secs(5));
        assert!(incoming.is_slow(start + WINDOW));
        more(&mut incoming, 2, 2 << 20, start + Duration::from_secs(15));
        assert!(!incoming.is_slow(start + 2 * WINDOW));
        incoming.excuse(start + Duration::from_secs(29));
        assert!(!incoming.is_slow(start + 3 * WINDOW), "it was not read");
        assert!(incoming.is_slow(start + 4 * WINDOW));
    }

    #[test]
    fn less_urgent_bytes_excuse_nobody_and_more_urgent_ones_do() {
        let (start, mut incoming) = (Instant::now(), Reassembly::default());
        begin(&mut incoming, 2, 1 << 20, 1_000, Verdict::Take, start);
        let frame = [&8_000u32.to_le_bytes()[..], &vec![1; 8_000]].concat();
        let mut whole = |class, at| incoming.take(class, &frame, at, take_all, |_, _, _| ()).unwrap();
        whole(1, start + Duration::from_secs(3));
        assert!(!incoming.is_slow(start + WINDOW), "its sender has given way");
        incoming.take(3, &frame, start + Duration::from_secs(13), take_all, |_, _, _| ()).unwrap();
        assert!(incoming.is_slow(start + 2 * WINDOW));
    }

    #[test]
    fn an_answer_holds_its_whole_length_and_must_come_in_two_minutes() {
        let (start, mut incoming) = (Instant::now(), Reassembly::default());
        begin(&mut incoming, 2, 12 << 20, 1_000, Verdict::Answer, start);
        assert_eq!(incoming.held(), 0, "its room is counted elsewhere");
        more(&mut incoming, 2, 1 << 20, start + Duration::from_secs(1));
        assert!(!incoming.is_slow(start + WINDOW));
        more(&mut incoming, 2, 1 << 19, start + Duration::from_secs(11));
        assert!(incoming.is_slow(start + 2 * WINDOW));
    }

    #[test]
    fn what_overflows_is_dropped_oldest_first_but_never_half_a_frame_nor_the_only_one() {
        let mut outgoing = Outgoing::default();
        let mut dropped = Vec::new();
        let mut push = |outgoing: &mut Outgoing, byte, bytes| {
            outgoing.push(2, vec![byte; bytes].into(), 250, |body| dropped.push(body[0]));
        };
        push(&mut outgoing, 1, 100);
        outgoing.next(10, |_, _| (), |_| ());
        push(&mut outgoing, 2, 100);
        push(&mut outgoing, 3, 400);
        assert_eq!(dropped, [2]);
        let mut incoming = Reassembly::default();
        let mut got = Vec::new();
        incoming
            .take(2, &[&100u32.to_le_bytes()[..], &[1; 6]].concat(), Instant::now(), take_all, |_, _, _| ())
            .unwrap();
        while let Some((class, piece)) = outgoing.next(64, |class, parts| (class, parts.concat()), |_| ()) {
            incoming.take(class, &piece, Instant::now(), take_all, |_, body, _| got.push(body[0])).unwrap();
        }
        assert_eq!(got, [1, 3]);
    }
}
