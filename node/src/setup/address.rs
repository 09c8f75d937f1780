//! Addresses: a key as people pass it on. Bech32m, so that a slip of the finger is seen before anything is paid, behind
//! the prefix of the chain that it is meant for.
//!
//! ```text
//!   dyn1 ⟨52 letters: the key⟩ ⟨6 letters: the checksum over prefix and key⟩
//! ```

use super::digits::digits;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use dynemix_engine::base::ids::Key;

/// Prefix of addresses, unless a chain's genesis file says another.
pub const PREFIX: &str = "dyn";
/// Prefix of a devnet's addresses: nobody pays on one chain what was meant for another.
pub const DEVNET_PREFIX: &str = "dyndev";
/// Letters of a prefix at most, so that an address fits a line.
const PREFIX_MAX: usize = 12;
/// Letters of a key and its checksum, and the `1` before them.
const KEY_LETTERS: usize = 1 + 52 + 6;

/// Why a text leads to no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address of another chain.
    #[error(
        "'{text}' is an address of another chain: those of this one begin with '{expected}1', that one with '{found}1'"
    )]
    Chain {
        /// What was given.
        text: String,
        /// Prefix of this chain's addresses.
        expected: String,
        /// Prefix of that one.
        found: String,
    },
    /// The checksum does not fit: somewhere is a wrong letter.
    #[error("'{0}' is no address: its checksum does not fit, so a letter is wrong, missing or one too many")]
    Checksum(String),
    /// Neither an address nor a key.
    #[error("'{text}' is no key: write an address ({prefix}1 and 58 letters), or 64 hexadecimal digits in lower case")]
    Form {
        /// What was given.
        text: String,
        /// Prefix of this chain's addresses.
        prefix: String,
    },
}

/// Whether this can be the prefix of a chain's addresses: what bech32m allows, in lower case, without the `1` that ends
/// it, and short.
pub fn prefix_acceptable(prefix: &str) -> bool {
    let letters = prefix.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0' | b'2'..=b'9'));
    letters && (1..=PREFIX_MAX).contains(&prefix.len())
}

/// The address of a key.
///
/// # Panics
/// With a prefix that is not [`prefix_acceptable`].
pub fn address(prefix: &str, key: &Key) -> String {
    assert!(prefix_acceptable(prefix), "'{prefix}' begins no address");
    let hrp = Hrp::parse(prefix).expect("an acceptable prefix is one of bech32m");
    let text = bech32::encode::<Bech32m>(hrp, key).expect("32 bytes are short enough");
    assert_eq!(text.len(), prefix.len() + KEY_LETTERS, "an address of a key has its length");
    text
}

/// The key of an address of this chain, or of 64 digits.
///
/// # Errors
/// Any other text, and another chain's address.
pub fn key_of(prefix: &str, text: &str) -> Result<Key, AddressError> {
    if let Some(key) = digits(text) {
        return Ok(key);
    }
    let form = || AddressError::Form { text: text.to_owned(), prefix: prefix.to_owned() };
    let (found, rest) = text.rsplit_once('1').ok_or_else(form)?;
    let address = CheckedHrpstring::new::<Bech32m>(text);
    let Ok(address) = address else {
        let near = rest.len().abs_diff(KEY_LETTERS - 1) <= 2
            && (found.eq_ignore_ascii_case(prefix) || found.starts_with(PREFIX));
        return Err(if near { AddressError::Checksum(text.to_owned()) } else { form() });
    };
    let found = address.hrp().to_lowercase();
    if found != prefix {
        return Err(AddressError::Chain { text: text.to_owned(), expected: prefix.to_owned(), found });
    }
    let bytes: Vec<u8> = address.byte_iter().collect();
    bytes.try_into().map_err(|_| form())
}

/// The key of an address of whichever chain, or of 64 digits: for whoever knows of no chain yet.
///
/// # Errors
/// Any other text.
pub fn key_of_any(text: &str) -> Result<Key, AddressError> {
    let prefix = CheckedHrpstring::new::<Bech32m>(text).ok().map(|address| address.hrp().to_lowercase());
    key_of(&prefix.unwrap_or_else(|| PREFIX.into()), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [0xa5; 32];

    #[test]
    fn an_address_leads_back_to_its_key_and_no_other_text_to_any() {
        for prefix in [PREFIX, DEVNET_PREFIX, "x"] {
            let text = address(prefix, &KEY);
            assert_eq!(key_of(prefix, &text), Ok(KEY));
            assert_eq!(key_of(prefix, &text.to_uppercase()), Ok(KEY), "as a QR code has it");
            assert!(key_of(prefix, &format!("{text}q")).is_err() && key_of(prefix, &text[..text.len() - 1]).is_err());
        }
        assert_eq!(key_of(PREFIX, &hex::encode(KEY)), Ok(KEY));
        assert_eq!(key_of_any(&address(DEVNET_PREFIX, &KEY)), Ok(KEY));
        assert!(key_of_any(&address(DEVNET_PREFIX, &KEY)[1..]).is_err());
        for wrong in ["", "1", "dyn1", "dyn", "ada", &"a5".repeat(31), &"A5".repeat(32), "dyn1é", "\u{0}1aaaaaa"] {
            assert!(key_of(PREFIX, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_wrong_letter_and_any_two_swapped_are_seen() {
        let text = address(PREFIX, &KEY);
        for at in 4..text.len() {
            for letter in "qpzry9x8gf2tvdw0s3jn54khce6mua7l".chars() {
                let mut letters: Vec<char> = text.chars().collect();
                if letters[at] == letter {
                    continue;
                }
                letters[at] = letter;
                let wrong: String = letters.iter().collect();
                assert_eq!(key_of(PREFIX, &wrong), Err(AddressError::Checksum(wrong.clone())));
            }
        }
    }

    #[test]
    fn another_chains_address_is_refused_by_name() {
        let text = address(DEVNET_PREFIX, &KEY);
        let refused = key_of(PREFIX, &text).unwrap_err();
        assert_eq!(refused, AddressError::Chain { text, expected: PREFIX.into(), found: DEVNET_PREFIX.into() });
        // Bitcoin's, whose checksum holds.
        let of_bitcoin = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0";
        assert!(matches!(key_of(PREFIX, of_bitcoin), Err(AddressError::Chain { .. } | AddressError::Form { .. })));
    }
}
