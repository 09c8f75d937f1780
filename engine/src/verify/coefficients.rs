//! Random 128-bit coefficients that no sender can predict.

use blake3::OutputReader;

/// A stream of coefficients: BLAKE3's output under a key from the operating system.
pub(super) struct Coefficients {
    stream: OutputReader,
}

impl Coefficients {
    pub(super) fn random() -> Coefficients {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).expect("the system gives randomness");
        Coefficients { stream: blake3::Hasher::new_keyed(&key).finalize_xof() }
    }

    /// Fills in fresh coefficients; never zero, which would leave a signature out of the sum.
    pub(super) fn fill<'a>(&mut self, coefficients: impl Iterator<Item = &'a mut u128>) {
        let mut bytes = [0u8; 1024];
        let mut left: &[u8] = &[];
        for coefficient in coefficients {
            if left.is_empty() {
                self.stream.fill(&mut bytes);
                left = &bytes;
            }
            let (value, rest) = left.split_first_chunk::<16>().expect("1024 is a multiple of 16");
            *coefficient = u128::from_le_bytes(*value).max(1);
            left = rest;
        }
    }
}
