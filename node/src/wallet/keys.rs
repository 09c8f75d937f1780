//! Owners' keys: from 24 words, from a password, or random; kept encrypted.

use crate::setup::config::data_home;
use crate::setup::keystore::{self, Cost, KeystoreError, SecretKind};
use bip39::Mnemonic;
use ed25519_dalek::SigningKey;
use std::fs;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Salt of keys that come from a password alone: nothing else is to be remembered. Whoever tries passwords tries them
/// on all such keys at once.
const PASSWORD_SALT: &[u8] = b"dynemix master key v1";
/// What a salt of the owner's own is made for.
const OWN_SALT: &str = "dynemix master key salt v1";
/// What such a key costs to try: a password is guessed, 24 words are not.
const PASSWORD_COST: Cost = Cost { memory_kib: 1 << 20, passes: 4 };
/// Characters of a password at least.
const PASSWORD_MIN: usize = 16;

/// Letters of a wallet's name at most.
const NAME_MAX: usize = 64;
/// Words of a key.
pub const WORDS: usize = 24;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum WalletKeyError {
    /// The key file cannot be read or written.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A word that is none, or a checksum that does not match.
    #[error("these are not 24 words of a wallet: {0}")]
    Words(String),
    /// A name that is none.
    #[error(
        "'{0}' is no name of a wallet: 1 to {NAME_MAX} of a-z, A-Z, 0-9, dot, dash and underscore, a letter or digit first"
    )]
    Name(String),
    /// Two files of one key would be two wallets that spend the same.
    #[error("wallet '{0}' has this key already")]
    Known(String),
    /// A password that is guessed too soon.
    #[error("a password that is the only key must have {PASSWORD_MIN} characters at least")]
    Password,
    /// The directory of wallets cannot be made or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Directory that the wallets are in.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Where wallets are kept.
pub fn directory() -> PathBuf {
    data_home().join("wallets")
}

/// The file of a wallet.
///
/// # Errors
/// A name that would lead elsewhere, or that nobody could read or type.
pub fn path(name: &str) -> Result<PathBuf, WalletKeyError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !begins || name.len() > NAME_MAX || !name.bytes().all(plain) {
        return Err(WalletKeyError::Name(name.escape_debug().to_string()));
    }
    Ok(directory().join(format!("{name}.json")))
}

/// New words, and the secret that follows from them.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_words() -> Result<(Zeroizing<String>, Zeroizing<[u8; 32]>), WalletKeyError> {
    let entropy = keystore::random::<32>()?;
    let words = Mnemonic::from_entropy(&*entropy).map_err(|error| WalletKeyError::Words(error.to_string()))?;
    let text = Zeroizing::new(words.to_string());
    let secret = of_words(&text)?;
    Ok((text, secret))
}

/// The words in a text, however they were written down: in capitals, in several lines, numbered.
pub fn words_in(text: &str) -> Vec<Zeroizing<String>> {
    let is_number = |word: &str| word.trim_end_matches(['.', ')', ':']).bytes().all(|byte| byte.is_ascii_digit());
    let words = text.split(|letter: char| letter.is_whitespace() || letter == ',').filter(|word| !word.is_empty());
    words.filter(|word| !is_number(word)).map(|word| Zeroizing::new(word.to_lowercase())).collect()
}

/// The secret of these words, in any form that [`words_in`] reads.
///
/// # Errors
/// When they are not 24 words with a right checksum.
pub fn of_words(text: &str) -> Result<Zeroizing<[u8; 32]>, WalletKeyError> {
    let words = words_in(text);
    if words.len() != WORDS {
        return Err(WalletKeyError::Words(format!("there are {} of them", words.len())));
    }
    let mut plain = Zeroizing::new(String::with_capacity(text.len() + WORDS));
    for word in &words {
        plain.push_str(word);
        plain.push(' ');
    }
    let words = Mnemonic::parse_normalized(plain.trim_end()).map_err(|error| WalletKeyError::Words(why(error)))?;
    let entropy = Zeroizing::new(words.to_entropy());
    Ok(Zeroizing::new(blake3::derive_key("dynemix owner key v1", &entropy)))
}

/// What is wrong with words, which are not repeated: they are a secret.
fn why(error: bip39::Error) -> String {
    match error {
        bip39::Error::UnknownWord(place) => format!("word {} is in no list", place + 1),
        bip39::Error::InvalidChecksum => {
            "a word is wrong, or two have changed places: the checksum does not fit".into()
        }
        error => error.to_string(),
    }
}

/// The secret of a password, as the paper offers it: by much memory and time. With a salt of the owner's own, such as an
/// address, it has to be tried for this owner alone.
///
/// # Errors
/// When it is too short.
pub fn of_password(password: &str, salt: Option<&str>) -> Result<Zeroizing<[u8; 32]>, WalletKeyError> {
    if keystore::normalized(password).chars().count() < PASSWORD_MIN {
        return Err(WalletKeyError::Password);
    }
    let own = salt.map(|salt| blake3::derive_key(OWN_SALT, keystore::normalized(salt).as_bytes()));
    let salt = own.as_ref().map_or(PASSWORD_SALT, |own| &own[..]);
    keystore::stretch(password, salt, PASSWORD_COST).ok_or(WalletKeyError::Password)
}

/// Keeps a secret under a name.
///
/// # Errors
/// When there is one of that name or with that key, or the disk refuses.
pub fn keep(name: &str, secret: &[u8; 32], passphrase: &str) -> Result<String, WalletKeyError> {
    let (path, directory) = (path(name)?, directory());
    fs::create_dir_all(&directory).map_err(|source| WalletKeyError::Io { path: directory, source })?;
    let public = hex::encode(SigningKey::from_bytes(secret).verifying_key().as_bytes());
    if let Some((known, _)) = list()?.into_iter().find(|(_, key)| *key == public) {
        return Err(WalletKeyError::Known(known));
    }
    keystore::create(&path, SecretKind::Owner, &public, secret, passphrase, Cost::STRONG)?;
    Ok(public)
}

/// What lies in the wallets' folder: names, with keys or with why there is none to be read.
type Found = (String, Result<String, KeystoreError>);

fn found() -> Result<Vec<Found>, WalletKeyError> {
    let directory = directory();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| WalletKeyError::Io { path: directory, source })?,
    };
    let of = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
        match keystore::public(&path) {
            Ok((SecretKind::Owner, public)) => Some((name, Ok(public))),
            // A node's key is no wallet.
            Ok((SecretKind::Minting, _)) => None,
            Err(error) => Some((name, Err(error))),
        }
    };
    let mut found: Vec<Found> = entries.flatten().filter_map(|entry| of(entry.path())).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Names and keys of all wallets that can be read.
///
/// # Errors
/// When the directory cannot be read.
pub fn list() -> Result<Vec<(String, String)>, WalletKeyError> {
    Ok(found()?.into_iter().filter_map(|(name, key)| Some((name, key.ok()?))).collect())
}

/// Names of what should be a wallet and cannot be read, and why.
///
/// # Errors
/// When the directory cannot be read.
pub fn unreadable() -> Result<Vec<(String, KeystoreError)>, WalletKeyError> {
    Ok(found()?.into_iter().filter_map(|(name, key)| Some((name, key.err()?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_into_the_folder_and_nowhere_else() {
        for good in ["default", "Savings-2026", "0", "a.b_c"] {
            assert_eq!(path(good).unwrap().parent(), Some(directory().as_path()), "{good}");
        }
        let long = "a".repeat(NAME_MAX + 1);
        for wrong in ["", ".", "..", "../x", "/x", "a/b", "a\nb", "a\u{1b}[2J", "-x", ".x", "é", " a", &long] {
            assert!(matches!(path(wrong), Err(WalletKeyError::Name(_))), "{wrong}");
        }
    }

    #[test]
    fn a_text_has_one_form_however_it_was_typed() {
        assert_eq!(*keystore::normalized("caf\u{e9} \u{fb01}"), *keystore::normalized("cafe\u{301} fi"));
    }

    #[test]
    fn words_lead_back_to_their_secret_and_wrong_ones_to_none() {
        let (words, secret) = new_words().unwrap();
        assert_eq!(words.split(' ').count(), 24);
        assert_eq!(*of_words(&words).unwrap(), *secret);
        assert!(of_words("abandon abandon").is_err());
        // 24 equal words have another checksum than their own.
        assert!(of_words(&["abandon"; 24].join(" ")).is_err());
        assert!(of_words(&words.replace(' ', "  x ")).is_err());
        // As they are printed, and as people write them down.
        let numbered: Vec<String> =
            words.split(' ').enumerate().map(|(at, word)| format!("{}. {word}", at + 1)).collect();
        assert_eq!(*of_words(&numbered.join("\n").to_uppercase()).unwrap(), *secret);
        assert!(matches!(of_password("too short", None), Err(WalletKeyError::Password)));
    }
}
