//! Other libraries' verifiers, on the same transactions.

use commonware_cryptography::{BatchEntry, BatchVerifier, Signer};
use commonware_cryptography_curve25519::signing as commonware;
use commonware_parallel::Sequential;
use dynemix_engine::base::limits::SIGNED_BYTES;
use dynemix_engine::transaction::cell::Cell;
use ed25519_dalek::{Signature, VerifyingKey};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use rayon::prelude::*;

const NAMESPACE: &[u8] = b"";

/// A signature as commonware's interface wants it: its own keys, over its own prefix.
struct Foreign {
    key: commonware::VerifyingKey,
    signature: commonware::Signature,
}

/// ed25519-dalek and commonware, each on one core with the best backend it finds. dalek has its keys decoded before,
/// commonware decodes them.
pub struct Verifiers {
    messages: Vec<[u8; SIGNED_BYTES]>,
    signatures: Vec<Signature>,
    keys: Vec<VerifyingKey>,
    foreign: Vec<(Foreign, [u8; SIGNED_BYTES])>,
}

impl Verifiers {
    /// Their inputs, from good transactions signed behind this prefix.
    ///
    /// # Panics
    /// When a key does not decode.
    pub fn new(cells: &[Cell], prefix: &[u8; 32]) -> Option<Verifiers> {
        let message = |cell: &Cell| {
            let mut message = [0; SIGNED_BYTES];
            message[..32].copy_from_slice(prefix);
            message[32..].copy_from_slice(cell.signed_part());
            message
        };
        let messages: Vec<_> = cells.iter().map(message).collect();
        let foreign = messages.par_iter().enumerate().map(|(i, message)| {
            let secret = <commonware::SigningKey as Signer>::from_seed(i as u64);
            (Foreign { key: secret.verifying_key(), signature: secret.sign(NAMESPACE, message) }, *message)
        });
        let decoded = |cell: &Cell| VerifyingKey::from_bytes(&cell.sender).expect("a key of ours decodes");
        Some(Verifiers {
            foreign: foreign.collect(),
            signatures: cells.iter().map(|cell| Signature::from_bytes(&cell.signature)).collect(),
            keys: cells.iter().map(decoded).collect(),
            messages,
        })
    }

    /// The first `count` in batches of `size` by ed25519-dalek.
    ///
    /// # Panics
    /// When one is refused.
    pub fn dalek_batches(&self, count: usize, size: usize) {
        let messages: Vec<&[u8]> = self.messages[..count].iter().map(|message| &message[..]).collect();
        for start in (0..count).step_by(size) {
            let range = start..(start + size).min(count);
            ed25519_dalek::verify_batch(&messages[range.clone()], &self.signatures[range.clone()], &self.keys[range])
                .expect("good signatures");
        }
    }

    /// The first `count` one by one by ed25519-dalek.
    ///
    /// # Panics
    /// When one is refused.
    pub fn dalek_singles(&self, count: usize) {
        for ((key, message), signature) in self.keys.iter().zip(&self.messages).zip(&self.signatures).take(count) {
            key.verify_strict(message, signature).expect("good signatures");
        }
    }

    /// The first `count` in batches of `size` by commonware.
    ///
    /// # Panics
    /// When one is refused.
    pub fn commonware_batches(&self, count: usize, size: usize) {
        let mut rng = UnwrapErr(SysRng);
        for batch in self.foreign[..count].chunks(size) {
            let good = commonware::VerifyingKey::verify_batch(
                &mut rng,
                batch,
                |_, (foreign, message)| BatchEntry {
                    namespace: NAMESPACE,
                    message,
                    public_key: &foreign.key,
                    signature: &foreign.signature,
                },
                &Sequential,
            );
            assert!(good, "good signatures");
        }
    }
}
