//! Keys at rest: never in clear. A file is JSON that says how its key was made, and an encrypted secret; changing a
//! byte of either makes it unreadable.
//!
//! ```text
//!   passphrase ── Argon2id(salt, cost in the file) ──► key ── XChaCha20-Poly1305(nonce, all other fields) ──► secret
//! ```

use super::new_file::{Readers, write_new};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hex::FromHex;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Version of the file.
const VERSION: u32 = 1;
/// Memory that a file may ask for, KiB: a file from elsewhere must not take all there is.
const MEMORY_MAX_KIB: u32 = 4 << 20;
const PASSES_MAX: u32 = 100;
/// Digits of an encrypted secret at most.
const SECRET_DIGITS_MAX: usize = 1_024;
/// What encryption adds to a secret.
const TAG_BYTES: usize = 16;

/// What deriving a key costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// KiB of memory that deriving fills.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// For keys that are worth something: about a second.
    pub const STRONG: Cost = Cost { memory_kib: 256 << 10, passes: 3 };
    /// For devnets, whose passphrase is known anyway.
    pub const DEVNET: Cost = Cost { memory_kib: 64, passes: 1 };
}

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// An owner's Ed25519 secret, 32 bytes: cold, never on a node.
    Owner,
    /// A node's voting secret and transport secret, 32 bytes each: hot.
    Minting,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    version: u32,
    kind: SecretKind,
    /// Public part, for people and to find the file.
    public: String,
    cost: Cost,
    salt: String,
    nonce: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    head: Head,
    secret: String,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Key file that could not be read or written.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Not a key file, or one that asks for too much.
    #[error("{} is no key file of this program", .0.display())]
    Form(PathBuf),
    /// The wrong passphrase, or a changed file: they look the same.
    #[error("{}: wrong passphrase, or the file was changed", .0.display())]
    Passphrase(PathBuf),
    /// A key of another kind.
    #[error("{} holds a key of another kind", .0.display())]
    Kind(PathBuf),
    /// A file that is there already.
    #[error("{} exists; keys are never overwritten", .0.display())]
    Exists(PathBuf),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
}

/// Random bytes of the system.
///
/// # Errors
/// When it has none.
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeystoreError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(&mut *bytes).map_err(|error| KeystoreError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// The one form of a text that may be typed in several: an accented letter as one sign or as two (NFKD, as BIP-39 has
/// it).
pub fn normalized(text: &str) -> Zeroizing<String> {
    // No letter becomes more than eighteen: no copy is left behind by growing.
    let mut out = Zeroizing::new(String::with_capacity(18 * text.len()));
    out.extend(text.nfkd());
    out
}

/// 32 bytes from a passphrase by Argon2id, in whatever form it was typed.
pub fn stretch(passphrase: &str, salt: &[u8], cost: Cost) -> Option<Zeroizing<[u8; 32]>> {
    let passphrase = normalized(passphrase);
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .ok()?;
    assert!(key.iter().any(|&byte| byte != 0), "a key was derived and not written");
    Some(key)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KeystoreError {
    let path = path.to_owned();
    move |source| KeystoreError::Io { path, source }
}

/// Writes a secret to a new file, readable by its owner only.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn create(
    path: &Path,
    kind: SecretKind,
    public: &str,
    secret: &[u8],
    passphrase: &str,
    cost: Cost,
) -> Result<(), KeystoreError> {
    let (salt, nonce) = (random::<16>()?, random::<24>()?);
    let (public, salt_shown, nonce_shown) = (public.to_owned(), hex::encode(*salt), hex::encode(*nonce));
    let head = Head { version: VERSION, kind, public, cost, salt: salt_shown, nonce: nonce_shown };
    let aad = serde_json::to_vec(&head).expect("plain fields");
    let key = stretch(passphrase, &*salt, cost).ok_or_else(|| KeystoreError::Form(path.to_owned()))?;
    let cipher = XChaCha20Poly1305::new((&*key).into());
    let sealed = cipher.encrypt(&XNonce::from(*nonce), Payload { msg: secret, aad: &aad }).expect("a few bytes");
    assert_eq!(sealed.len(), secret.len() + TAG_BYTES, "an encrypted secret is as long as the secret and its tag");
    assert!(2 * sealed.len() <= SECRET_DIGITS_MAX, "a key file is written that nobody can read again");
    let text = serde_json::to_string_pretty(&KeyFile { head, secret: hex::encode(&sealed) }).expect("plain fields");
    write_new(path, format!("{text}\n").as_bytes(), Readers::Owner).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeystoreError::Exists(path.to_owned()),
        _ => failed(path)(error),
    })
}

fn read(path: &Path) -> Result<KeyFile, KeystoreError> {
    let text = fs::read_to_string(path).map_err(failed(path))?;
    let file: KeyFile = serde_json::from_str(&text).map_err(|_| KeystoreError::Form(path.to_owned()))?;
    let Cost { memory_kib, passes } = file.head.cost;
    let bounded = file.head.version == VERSION
        && memory_kib <= MEMORY_MAX_KIB
        && passes <= PASSES_MAX
        && file.secret.len() <= SECRET_DIGITS_MAX;
    if bounded { Ok(file) } else { Err(KeystoreError::Form(path.to_owned())) }
}

/// The public part of a file.
///
/// # Errors
/// A file that is none.
pub fn public(path: &Path) -> Result<(SecretKind, String), KeystoreError> {
    read(path).map(|file| (file.head.kind, file.head.public))
}

/// Opens a secret of `N` bytes.
///
/// # Errors
/// A wrong passphrase, or another file.
pub fn open<const N: usize>(
    path: &Path,
    kind: SecretKind,
    passphrase: &str,
) -> Result<Zeroizing<[u8; N]>, KeystoreError> {
    let KeyFile { head, secret } = read(path)?;
    let form = || KeystoreError::Form(path.to_owned());
    if head.kind != kind {
        return Err(KeystoreError::Kind(path.to_owned()));
    }
    let salt = <[u8; 16]>::from_hex(&head.salt).map_err(|_| form())?;
    let nonce = <[u8; 24]>::from_hex(&head.nonce).map_err(|_| form())?;
    let aad = serde_json::to_vec(&head).expect("plain fields");
    let sealed = hex::decode(&secret).map_err(|_| form())?;
    let key = stretch(passphrase, &salt, head.cost).ok_or_else(form)?;
    let cipher = XChaCha20Poly1305::new((&*key).into());
    let plain = cipher.decrypt(&XNonce::from(nonce), Payload { msg: &sealed, aad: &aad });
    let plain = Zeroizing::new(plain.map_err(|_| KeystoreError::Passphrase(path.to_owned()))?);
    let mut out = Zeroizing::new([0; N]);
    if plain.len() != N {
        return Err(form());
    }
    out.copy_from_slice(&plain);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_with_its_passphrase_and_from_an_unchanged_file_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.json");
        create(&path, SecretKind::Owner, "public", &[7; 32], "correct horse", Cost::DEVNET).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&hex::encode([7; 8])));
        assert_eq!(*open::<32>(&path, SecretKind::Owner, "correct horse").unwrap(), [7; 32]);
        assert!(matches!(open::<32>(&path, SecretKind::Owner, "wrong"), Err(KeystoreError::Passphrase(_))));
        assert!(matches!(open::<32>(&path, SecretKind::Minting, "correct horse"), Err(KeystoreError::Kind(_))));
        assert!(matches!(
            create(&path, SecretKind::Owner, "", &[1; 32], "x", Cost::DEVNET),
            Err(KeystoreError::Exists(_))
        ));
        for (from, to) in [("public", "publix"), ("\"passes\": 1", "\"passes\": 2"), ("\"owner\"", "\"minting\"")] {
            fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert!(open::<32>(&path, SecretKind::Owner, "correct horse").is_err(), "{from}");
        }
        fs::write(&path, text.replace("\"memory_kib\": 64", "\"memory_kib\": 4000000000")).unwrap();
        assert!(matches!(open::<32>(&path, SecretKind::Owner, "correct horse"), Err(KeystoreError::Form(_))));
    }
}
