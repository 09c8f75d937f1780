//! The primitives of Noise, from the libraries that the rest of the house stands on: the protocol's own crate would
//! bring an older copy of each, and a second one of some in C.

use blake2::{Blake2s256, Digest};
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use curve25519_dalek::montgomery::MontgomeryPoint;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// X25519, ChaCha20-Poly1305, BLAKE2s and the system's randomness; nothing else.
pub(super) struct Primitives;

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SystemRandom))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<X25519>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        matches!(choice, HashChoice::Blake2s).then(|| Box::<Blake2s>::default() as Box<dyn Hash>)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        matches!(choice, CipherChoice::ChaChaPoly).then(|| Box::<ChaChaPoly>::default() as Box<dyn Cipher>)
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Error> {
        getrandom::fill(out).map_err(|_| Error::Rng)
    }
}

#[derive(Default)]
struct X25519 {
    secret: [u8; KEY_BYTES],
    public: [u8; KEY_BYTES],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_BYTES
    }

    fn priv_len(&self) -> usize {
        KEY_BYTES
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = MontgomeryPoint::mul_base_clamped(self.secret).to_bytes();
    }

    fn generate(&mut self, random: &mut dyn Random) -> Result<(), Error> {
        let mut secret = [0; KEY_BYTES];
        random.try_fill_bytes(&mut secret)?;
        self.set(&secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &self.secret
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = public.first_chunk::<KEY_BYTES>().ok_or(Error::Dh)?;
        out[..KEY_BYTES].copy_from_slice(&MontgomeryPoint(*public).mul_clamped(self.secret).to_bytes());
        Ok(())
    }
}

#[derive(Default)]
struct Blake2s(Blake2s256);

impl Hash for Blake2s {
    fn name(&self) -> &'static str {
        "BLAKE2s"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0 = Blake2s256::default();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        out[..32].copy_from_slice(&self.0.finalize_reset());
    }
}

#[derive(Default)]
struct ChaChaPoly {
    key: [u8; KEY_BYTES],
}

/// The 64-bit counter, little endian, behind 32 bits of zero: section 12.3 of Noise.
fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; KEY_BYTES]) {
        self.key = *key;
    }

    fn encrypt(&self, counter: u64, associated: &[u8], plain: &[u8], out: &mut [u8]) -> usize {
        let (sealed, rest) = out.split_at_mut(plain.len());
        let buffer = InOutBuf::new(plain, sealed).expect("as long as each other");
        let tag = ChaCha20Poly1305::new(&self.key.into())
            .encrypt_inout_detached(&nonce(counter).into(), associated, buffer)
            .expect("shorter than the cipher's maximum");
        rest[..TAG_BYTES].copy_from_slice(&tag);
        plain.len() + TAG_BYTES
    }

    fn decrypt(&self, counter: u64, associated: &[u8], sealed: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Error::Decrypt)?;
        let buffer = InOutBuf::new(body, &mut out[..body.len()]).expect("as long as each other");
        ChaCha20Poly1305::new(&self.key.into())
            .decrypt_inout_detached(&nonce(counter).into(), associated, buffer, &(*tag).into())
            .map_err(|_| Error::Decrypt)?;
        Ok(body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snow::{Builder, HandshakeState};

    /// What both sides of one handshake say with these keys, and two pieces behind it, the second after a change of keys:
    /// as snow's own primitives say it.
    const SAID: [&str; 6] = [
        "ce8d3ad1ccb633ec7b70c17814a5c76ecd029685050d344745ba05870e587d59",
        "ac01b2209e86354fb853237b5de0f4fab13c7fcbf433a61c019369617fecf10bd79d2e51b86962d5759770fd5394c7a3d176a38a7f9c9cb2\
         967adadd5eace0b4030506aea7aa1ba646850bec1af791e60653054da77841ce9a1961680fdc8ac8",
        "951423d8da4503430f19aa0ec8b533fddf9d0688be87c3486e53fd6916eb8627d4f3dceb2e56409e3731aca4151ab2b07889e4056154c37f\
         2fc6e843f5b9e916",
        "e5ef4fc901aecee1b364da8abbe104eb6d9fa2c4d67ac12b513f51a1aae1766f",
        "eadcb5ab875e0152e216f4ce7566db42d5e2f140a1995a",
        "59521ec5f8b3a699490a993ff20e36cac3fa307f2ec4da",
    ];

    fn digits(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn side(secret: [u8; 32], ephemeral: [u8; 32], initiator: bool) -> HandshakeState {
        let builder = Builder::with_resolver(super::super::channel::PATTERN.parse().unwrap(), Box::new(Primitives));
        let builder = builder.local_private_key(&secret).unwrap().prologue(b"dynemix test").unwrap();
        let builder = builder.fixed_ephemeral_key_for_testing_only(&ephemeral);
        if initiator { builder.build_initiator().unwrap() } else { builder.build_responder().unwrap() }
    }

    #[test]
    fn a_handshake_and_pieces_are_these_bytes() {
        let (mut caller, mut called) = (side([1; 32], [2; 32], true), side([3; 32], [4; 32], false));
        let (mut message, mut scratch) = ([0; 1_024], [0; 1_024]);
        for (turn, expected) in SAID[..3].iter().enumerate() {
            let (from, to) = if turn == 1 { (&mut called, &mut caller) } else { (&mut caller, &mut called) };
            let length = from.write_message(&[], &mut message).unwrap();
            assert_eq!(digits(&message[..length]), *expected);
            assert_eq!(to.read_message(&message[..length], &mut scratch), Ok(0));
        }
        assert_eq!(digits(caller.get_handshake_hash()), SAID[3]);
        let (mut caller, mut called) = (caller.into_transport_mode().unwrap(), called.into_transport_mode().unwrap());
        for (piece, expected) in [(b"a piece", SAID[4]), (b"another", SAID[5])] {
            let length = caller.write_message(piece, &mut message).unwrap();
            assert_eq!(digits(&message[..length]), expected);
            message[3] ^= 1;
            assert!(called.read_message(&message[..length], &mut scratch).is_err());
            message[3] ^= 1;
            assert_eq!(called.read_message(&message[..length], &mut scratch), Ok(7));
            assert_eq!(&scratch[..7], piece);
            caller.rekey_outgoing();
            called.rekey_incoming();
        }
    }
}
