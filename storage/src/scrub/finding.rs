//! A place where bytes are not what was written.

use crate::disk::StoreError;

/// A place where bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file's name.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What it was, and what is wrong.
    pub what: String,
    /// Whether a start does without these bytes: the spare image, and what a power cut may tear.
    pub spare: bool,
}

/// Damage is a finding; whatever else the system says is an error.
pub(super) fn finding(error: StoreError, spare: bool) -> Result<Finding, StoreError> {
    let (path, offset, what) = match error {
        StoreError::Damaged { path, offset, what } => (path, offset, what),
        StoreError::Io { action, path, source } if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            (path, 0, format!("{action}: the file is too short"))
        }
        error => return Err(error),
    };
    Ok(Finding { file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), offset, what, spare })
}
