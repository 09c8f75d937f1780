//! How large a store is and may become.

/// Sizes and bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bytes of a segment of the log; a longer record gets a longer one.
    pub segment_bytes: u64,
    /// How many records are kept at least, as far as the limit allows; `u64::MAX` keeps all.
    pub window_records: u64,
    /// Bytes that all files together may take.
    pub limit_bytes: u64,
    /// Bytes of the disk that stay free: below, nothing is appended any more.
    pub watermark_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            segment_bytes: 64 << 20,
            window_records: 4_096,
            limit_bytes: u64::MAX,
            watermark_bytes: 256 << 20,
        }
    }
}
