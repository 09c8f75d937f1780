//! The allocator of the process, and how it is set.

/// Blocks come and go by the hundred thousand small pieces: the system's allocator gives their pages back to the kernel
/// and has them cleared again, which cost a node a sixth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The library's number of the option "purge delay", which its bindings leave out.
const OPTION_PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Milliseconds for which freed pages are kept: what is freed in one slot is used again in the next. Kept for three
/// slots, a node of twenty came to more than its memory may be.
const PURGE_DELAY_MS: std::ffi::c_long = 10_000;

/// Sets it, before anything else of the process allocates much.
#[allow(unsafe_code, reason = "a setting of the allocator, which is a library in C")]
pub(crate) fn set() {
    // SAFETY: the option exists in this version of the library, takes any number, and may be set at any time.
    unsafe { libmimalloc_sys::mi_option_set(OPTION_PURGE_DELAY, PURGE_DELAY_MS) };
}
