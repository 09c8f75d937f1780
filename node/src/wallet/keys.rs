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

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum WalletKeyError {
    /// The key file cannot be read or written.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// A word that is none, or a checksum that does not match.
    #[error("these are not 24 words of a wallet: {0}")]
    Words(String),
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
pub fn path(name: &str) -> PathBuf {
    directory().join(format!("{name}.json"))
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

/// The secret of these words.
///
/// # Errors
/// When they are not 24 words with a right checksum.
pub fn of_words(text: &str) -> Result<Zeroizing<[u8; 32]>, WalletKeyError> {
    let words = Mnemonic::parse_normalized(text.trim()).map_err(|error| WalletKeyError::Words(error.to_string()))?;
    if words.word_count() != 24 {
        return Err(WalletKeyError::Words(format!("{} words", words.word_count())));
    }
    let entropy = Zeroizing::new(words.to_entropy());
    Ok(Zeroizing::new(blake3::derive_key("dynemix owner key v1", &entropy)))
}

/// The secret of a password, as the paper offers it: by much memory and time. With a salt of the owner's own, such as an
/// address, it has to be tried for this owner alone.
///
/// # Errors
/// When it is too short.
pub fn of_password(password: &str, salt: Option<&str>) -> Result<Zeroizing<[u8; 32]>, WalletKeyError> {
    if password.chars().count() < PASSWORD_MIN {
        return Err(WalletKeyError::Password);
    }
    let own = salt.map(|salt| blake3::derive_key(OWN_SALT, salt.as_bytes()));
    let salt = own.as_ref().map_or(PASSWORD_SALT, |own| &own[..]);
    keystore::stretch(password, salt, PASSWORD_COST).ok_or(WalletKeyError::Password)
}

/// Keeps a secret under a name.
///
/// # Errors
/// When there is one of that name, or the disk refuses.
pub fn keep(name: &str, secret: &[u8; 32], passphrase: &str) -> Result<String, WalletKeyError> {
    let directory = directory();
    fs::create_dir_all(&directory).map_err(|source| WalletKeyError::Io { path: directory, source })?;
    let public = hex::encode(SigningKey::from_bytes(secret).verifying_key().as_bytes());
    keystore::create(&path(name), SecretKind::Owner, &public, secret, passphrase, Cost::STRONG)?;
    Ok(public)
}

/// Names and keys of all wallets.
///
/// # Errors
/// When the directory cannot be read.
pub fn list() -> Result<Vec<(String, String)>, WalletKeyError> {
    let directory = directory();
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|source| WalletKeyError::Io { path: directory, source })?,
    };
    let of = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        let (kind, public) = keystore::public(&path).ok()?;
        (kind == SecretKind::Owner).then_some((name, public))
    };
    let mut found: Vec<_> = entries.flatten().filter_map(|entry| of(entry.path())).collect();
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_back_to_their_secret_and_wrong_ones_to_none() {
        let (words, secret) = new_words().unwrap();
        assert_eq!(words.split(' ').count(), 24);
        assert_eq!(*of_words(&words).unwrap(), *secret);
        assert!(of_words("abandon abandon").is_err());
        // 24 equal words have another checksum than their own.
        assert!(of_words(&["abandon"; 24].join(" ")).is_err());
        assert!(of_words(&words.replace(' ', "  x ")).is_err());
        assert!(matches!(of_password("too short", None), Err(WalletKeyError::Password)));
    }
}
