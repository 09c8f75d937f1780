//! A passphrase, from wherever this process was told to take it.

use std::error::Error;
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;
use zeroize::Zeroizing;

/// Bytes of a passphrase at most.
const PASSPHRASE_BYTES_MAX: usize = 4_096;

/// A passphrase: from a file descriptor, of which it takes one line and no more, the environment, or whoever sits at
/// the terminal.
pub(crate) fn passphrase(fd: Option<i32>, what: &str) -> Result<Zeroizing<String>, Box<dyn Error>> {
    let mut line = Zeroizing::new(String::new());
    if let Some(fd) = fd {
        // SAFETY: the descriptor was given to this process on its command line for this one purpose, open, and nothing
        // in this process closes it.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX));
        let mut byte = [0];
        while rustix::io::read(fd, &mut byte)? == 1 && byte != *b"\n" && bytes.len() < PASSPHRASE_BYTES_MAX {
            bytes.extend_from_slice(&byte);
        }
        line.push_str(std::str::from_utf8(&bytes).map_err(|_| format!("the passphrase for {what} is not UTF-8"))?);
    } else if let Ok(text) = std::env::var("DYNEMIX_PASSPHRASE") {
        line.push_str(&text);
    } else if std::io::stdin().is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(format!("passphrase of {what}: "))?));
    } else {
        return Err(format!("no passphrase for {what}: use --passphrase-fd, or a terminal").into());
    }
    let kept = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(kept);
    Ok(line)
}
