//! Other libraries' verifiers, on the same transactions.

use commonware_cryptography::{BatchEntry, BatchVerifier, Signer};
use commonware_cryptography_curve25519::signing as commonware;
use commonware_parallel::Sequential;
use dynemix_engine::base::limits::SIGNED_BYTES;
use dynemix_engine::transaction::cell::Cell;
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use rayon::prelude::*;
use std::ops::Range;

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

    /// A range in batches of `size` by ed25519-dalek.
    ///
    /// # Panics
    /// When one is refused.
    pub fn dalek_batches(&self, range: Range<usize>, size: usize) {
        for start in range.clone().step_by(size) {
            let batch = start..(start + size).min(range.end);
            let messages: Vec<&[u8]> = self.messages[batch.clone()].iter().map(|message| &message[..]).collect();
            ed25519_dalek::verify_batch(&messages, &self.signatures[batch.clone()], &self.keys[batch])
                .expect("good signatures");
        }
    }

    /// A range one by one by ed25519-dalek.
    ///
    /// # Panics
    /// When one is refused.
    pub fn dalek_singles(&self, range: Range<usize>) {
        for at in range {
            self.keys[at].verify(&self.messages[at], &self.signatures[at]).expect("good signatures");
        }
    }

    /// A range in batches of `size` by commonware.
    ///
    /// # Panics
    /// When one is refused.
    pub fn commonware_batches(&self, range: Range<usize>, size: usize) {
        let mut rng = UnwrapErr(SysRng);
        for batch in self.foreign[range].chunks(size) {
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
