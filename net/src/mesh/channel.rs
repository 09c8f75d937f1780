//! One encrypted connection without its socket: Noise XX, then pieces of at most 16 KiB. Bytes in, bytes out.
//!
//! ```text
//!   on the wire    length u16, big endian | handshake message, or encrypted piece
//!   handshake      -> e   <- e, ee, s, es   -> s, se           prologue: what both must agree on, such as the chain
//!   piece          class u8 | bytes of that class's stream
//! ```
//!
//! Pieces of different classes interleave, so what is urgent overtakes what is long. Both directions change their keys
//! after the same number of pieces.

use super::primitives::Primitives;
use snow::{Builder, HandshakeState, TransportState};

pub(super) const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
/// Bytes of a handshake message at most: with nothing but keys in it, it has less than 100.
pub const HANDSHAKE_BYTES_MAX: usize = 1_024;
/// Bytes of a piece's plain text at most, its class included.
pub const PIECE_BYTES_MAX: usize = 16_384;
/// Bytes that encryption adds.
const TAG_BYTES: usize = 16;
/// Pieces after which a direction's key changes: 1 GiB at most.
const REKEY_PIECES: u64 = 1 << 16;

/// The static keys of transport.
pub type TransportKey = [u8; 32];

/// Why a channel ends. Nothing in it tells the other side more than that it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// A length that cannot be.
    #[error("a message of {0} bytes, which none has")]
    Length(usize),
    /// Another chain or version, a wrong key, or garbage.
    #[error("the handshake failed: another chain or version, or not this protocol")]
    Handshake,
    /// A piece that does not decrypt.
    #[error("a piece does not decrypt")]
    Piece,
}

/// The public key of a secret.
pub fn public_key(secret: &[u8; 32]) -> TransportKey {
    let secret = curve25519_dalek::scalar::clamp_integer(*secret);
    curve25519_dalek::montgomery::MontgomeryPoint::mul_base_clamped(secret).to_bytes()
}

/// What the first message of a handshake needs.
struct Begun {
    secret: [u8; 32],
    prologue: Vec<u8>,
    initiator: bool,
}

enum State {
    /// Nothing has been said: it costs nothing but this.
    Begun(Box<Begun>),
    Shaking(Box<HandshakeState>),
    Open(Box<TransportState>),
    /// After an error.
    Ended,
}

/// What came of bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// More bytes are needed.
    More,
    /// A message of the handshake: nothing for whoever is above.
    Shaken,
    /// A piece: its class and bytes.
    Piece(u8, &'a [u8]),
}

/// One end of an encrypted connection.
pub struct Channel {
    state: State,
    remote: TransportKey,
    handshake_hash: [u8; 32],
    sent: u64,
    received: u64,
    /// Empty until something is said.
    scratch: Vec<u8>,
}

impl Channel {
    /// A channel that begins; `initiator` on the side that has called. Keys are agreed on, and a buffer is there, from the
    /// first message on: whoever calls and says nothing is given nothing.
    pub fn new(secret: &[u8; 32], prologue: &[u8], initiator: bool) -> Channel {
        let state = State::Begun(Box::new(Begun { secret: *secret, prologue: prologue.to_vec(), initiator }));
        Channel { state, remote: [0; 32], handshake_hash: [0; 32], sent: 0, received: 0, scratch: Vec::new() }
    }

    /// Makes ready for the first message.
    ///
    /// # Panics
    /// Never: the pattern and the key's length are fixed.
    fn build(&mut self) {
        let State::Begun(begun) = &self.state else { return };
        let Begun { secret, prologue, initiator } = &**begun;
        let builder = Builder::with_resolver(PATTERN.parse().expect("a pattern of Noise"), Box::new(Primitives));
        let builder =
            builder.local_private_key(secret).and_then(|builder| builder.prologue(prologue)).expect("set once");
        let shaking = if *initiator { builder.build_initiator() } else { builder.build_responder() };
        self.state = State::Shaking(Box::new(shaking.expect("complete")));
        self.scratch = vec![0; PIECE_BYTES_MAX + TAG_BYTES];
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// The other side's static key, once the channel is open.
    pub fn remote(&self) -> &TransportKey {
        &self.remote
    }

    /// What names this very handshake, once the channel is open: whoever signs it proves to be at its end.
    pub fn handshake_hash(&self) -> &[u8; 32] {
        &self.handshake_hash
    }

    /// Appends the next message of the handshake, if it is this side's turn.
    ///
    /// # Errors
    /// [`ChannelError::Handshake`].
    pub fn shake(&mut self, out: &mut Vec<u8>) -> Result<(), ChannelError> {
        self.build();
        if let State::Shaking(shaking) = &mut self.state
            && shaking.is_my_turn()
            && !shaking.is_handshake_finished()
        {
            let mut message = [0; HANDSHAKE_BYTES_MAX];
            let length = shaking.write_message(&[], &mut message).map_err(|_| ChannelError::Handshake)?;
            out.extend_from_slice(&(length as u16).to_be_bytes());
            out.extend_from_slice(&message[..length]);
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<(), ChannelError> {
        let State::Shaking(shaking) = &self.state else { return Ok(()) };
        if !shaking.is_handshake_finished() {
            return Ok(());
        }
        self.remote = shaking.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(ChannelError::Handshake)?;
        self.handshake_hash = shaking.get_handshake_hash().try_into().map_err(|_| ChannelError::Handshake)?;
        // A key of small order leads to secrets that anyone knows.
        if self.remote == [0; 32] {
            return Err(ChannelError::Handshake);
        }
        if let State::Shaking(shaking) = std::mem::replace(&mut self.state, State::Ended) {
            self.state = State::Open(Box::new(shaking.into_transport_mode().map_err(|_| ChannelError::Handshake)?));
        }
        Ok(())
    }

    /// Takes one message from the front of `bytes`, which moves past it.
    ///
    /// # Errors
    /// Whatever ends the channel.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Read<'_>, ChannelError> {
        let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return Ok(Read::More) };
        let length = usize::from(u16::from_be_bytes(*length));
        let fits = if self.is_open() {
            (TAG_BYTES + 1..=PIECE_BYTES_MAX + TAG_BYTES).contains(&length)
        } else {
            (1..=HANDSHAKE_BYTES_MAX).contains(&length)
        };
        if !fits {
            return Err(ChannelError::Length(length));
        }
        let Some((message, rest)) = rest.split_at_checked(length) else { return Ok(Read::More) };
        *bytes = rest;
        self.build();
        match &mut self.state {
            State::Shaking(shaking) => {
                // Nothing but keys is said before both know each other.
                let said = shaking.read_message(message, &mut self.scratch[..]).map_err(|_| ChannelError::Handshake)?;
                if said > 0 {
                    return Err(ChannelError::Handshake);
                }
                self.finish()?;
                Ok(Read::Shaken)
            }
            State::Open(open) => {
                let length = open.read_message(message, &mut self.scratch[..]).map_err(|_| ChannelError::Piece)?;
                self.received += 1;
                if self.received.is_multiple_of(REKEY_PIECES) {
                    open.rekey_incoming();
                }
                let (&class, piece) = self.scratch[..length].split_first().ok_or(ChannelError::Piece)?;
                Ok(Read::Piece(class, piece))
            }
            State::Begun(_) | State::Ended => Err(ChannelError::Piece),
        }
    }

    /// Appends an encrypted piece of these parts, one after another.
    ///
    /// # Panics
    /// When the channel is not open or the parts are too long.
    pub fn write(&mut self, class: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
        let State::Open(open) = &mut self.state else { panic!("nothing is said before the handshake is done") };
        self.scratch[0] = class;
        let mut length = 1;
        for part in parts {
            self.scratch[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        assert!(length <= PIECE_BYTES_MAX, "a piece of {length} bytes is longer than the other side takes");
        let start = out.len();
        out.extend_from_slice(&((length + TAG_BYTES) as u16).to_be_bytes());
        out.resize(start + 2 + length + TAG_BYTES, 0);
        let written =
            open.write_message(&self.scratch[..length], &mut out[start + 2..]).expect("within Noise's maximum");
        assert_eq!(written, length + TAG_BYTES, "a piece is not as long as what stands before it says");
        self.sent += 1;
        if self.sent.is_multiple_of(REKEY_PIECES) {
            open.rekey_outgoing();
        }
    }
}

/// Whether a whole message stands at the front of these bytes, or one that cannot be: then reading it costs work.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.split_first_chunk::<2>().is_some_and(|(length, rest)| {
        let length = usize::from(u16::from_be_bytes(*length));
        length > HANDSHAKE_BYTES_MAX || rest.len() >= length
    })
}

/// Bytes that a piece of `plain` bytes takes on the wire.
pub(crate) fn wire_bytes(plain: usize) -> usize {
    2 + 1 + plain + TAG_BYTES
}
