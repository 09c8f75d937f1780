//! What the mesh is told to do, until its thread does it.
//!
//! Frames on their way belong to no connection yet. Each class has room of its own, and so have answers to users, so that a
//! block of megabytes takes none from votes, nor what is told to minters from answers. An answer to one connection that finds no room is not lost in silence: the mesh hears
//! that it was missed, and ends the connection if nobody asks on it again by itself.

use super::frames::CLASSES;
use super::standing::Standing;
use super::whom::{Names, PeerId, Target, To};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a command takes beside a frame's bytes.
const COMMAND_BYTES: usize = 64;
/// What all frames on their way may be is divided: votes, rounds, bodies, cells, and what of these is for one connection.
const ROOM_PARTS: [usize; ROOMS] = [1, 1, 2, 4, 1];
const PARTS: usize = 9;
/// One for each class, and one for answers.
const ROOMS: usize = CLASSES + 1;

/// Which room a frame is in: what is told to a name is not in that of answers to who has none.
fn room_of(to: To, class: u8) -> usize {
    let is_answer = to.peer().is_some() && usize::from(class) == CLASSES - 1;
    if is_answer { CLASSES } else { usize::from(class) }
}

pub(super) enum Command {
    Send(To, u8, Arc<[u8]>),
    /// The same of a question, which so many answers are awaited to.
    Ask(To, u8, Arc<[u8]>, u32),
    /// A frame to this peer found no room.
    Missed(PeerId),
    Standings(BTreeMap<u32, Standing>),
    Names(Names),
    Targets(Vec<Target>),
    Penalise(PeerId, u32),
    CallAgain,
    Stop,
}

/// Commands that wait, and what their frames weigh.
#[derive(Default)]
pub(super) struct Commands {
    waiting: Vec<Command>,
    bytes: [usize; ROOMS],
    /// Where the newest frame of each room is.
    newest: [usize; ROOMS],
}

impl Commands {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that wait, in the order in which they came.
    pub(super) fn take(&mut self) -> Vec<Command> {
        std::mem::take(self).waiting
    }

    /// Adds a command; how many bytes there was no room for, if it is a frame. Of what belongs to no connection a frame
    /// that goes to many counts once.
    pub(super) fn add(&mut self, command: Command, bytes_max: usize) -> usize {
        if let Command::Send(to, class, body) | Command::Ask(to, class, body, _) = &command {
            let (place, room) = (Arc::as_ptr(body).cast::<u8>() as usize, room_of(*to, *class));
            let is_known = place == self.newest[room];
            let bytes = if is_known { COMMAND_BYTES } else { COMMAND_BYTES + body.len() };
            let is_much = self.bytes[room] + bytes > bytes_max / PARTS * ROOM_PARTS[room];
            // One that is alone in its room always fits: a block may be longer than what else waits.
            if is_much && self.bytes[room] > 0 && !is_known {
                let dropped = body.len();
                self.waiting.extend(to.peer().map(Command::Missed));
                return dropped;
            }
            (self.bytes[room], self.newest[room]) = (self.bytes[room] + bytes, place);
        }
        self.waiting.push(command);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const _: () = assert!(ROOM_PARTS[0] + ROOM_PARTS[1] + ROOM_PARTS[2] + ROOM_PARTS[3] + ROOM_PARTS[4] == PARTS);

    fn send(to: To, class: u8, bytes: usize) -> Command {
        Command::Send(to, class, vec![0; bytes].into())
    }

    #[test]
    fn blocks_and_what_is_told_take_no_room_from_votes_and_answers() {
        let (mut commands, max) = (Commands::default(), 9 << 20);
        let client = To::Peer(PeerId(7));
        assert_eq!(commands.add(send(To::Name(1), 2, 9 << 20), max), 0, "alone in its class");
        assert_eq!(commands.add(send(To::Name(2), 2, 1), max), 1, "another one is too much");
        (0..3).for_each(|_| assert_eq!(commands.add(send(To::Name(2), 3, 1 << 20), max), 0));
        assert_eq!(commands.add(send(To::Name(2), 3, 1 << 20), max), 1 << 20, "told");
        assert_eq!(commands.add(send(To::Name(1), 0, 300), max), 0);
        assert_eq!(commands.add(send(client, 3, 1 << 19), max), 0);
        assert_eq!(commands.add(send(client, 3, 820), max), 0);
        assert_eq!(commands.add(send(client, 3, 1 << 19), max), 1 << 19);
        let waiting = commands.take();
        assert!(matches!(waiting[..], [.., Command::Missed(PeerId(7))]), "whoever misses an answer is told so");
        assert_eq!(waiting.len(), 8);
        assert!(commands.is_empty());
    }

    #[test]
    fn what_goes_to_many_counts_once() {
        let (mut commands, frame): (Commands, Arc<[u8]>) = (Commands::default(), vec![0; 1 << 20].into());
        (0..20).for_each(|name| assert_eq!(commands.add(Command::Send(To::Name(name), 1, frame.clone()), 9 << 20), 0));
    }
}
