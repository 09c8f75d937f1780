//! A passphrase, from wherever this process was told to take it.

use std::error::Error;
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;
use zeroize::Zeroizing;

/// Bytes of a passphrase at most.
const PASSPHRASE_BYTES_MAX: usize = 4_096;

/// What a passphrase is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To open what is there: a wrong one shows.
    ToOpen,
    /// For a new file: a slip of the finger would lock it for good, so a terminal is asked twice, and it is not empty.
    New,
    /// For a new file whose owner wants none.
    NewWithout,
    /// Not for a file: it is the secret itself. Asked twice as well.
    Secret,
}

impl Asked {
    /// For a new file, which its owner wants without a passphrase or not.
    pub(crate) fn new(without: bool) -> Asked {
        if without { Asked::NewWithout } else { Asked::New }
    }
}

/// A passphrase: from a file descriptor, of which it takes one line and no more, the environment, or whoever sits at
/// the terminal.
pub(crate) fn passphrase(fd: Option<i32>, what: &str, asked: Asked) -> Result<Zeroizing<String>, Box<dyn Error>> {
    passphrase_of(fd, Some("DYNEMIX_PASSPHRASE"), what, asked)
}

/// The same with another variable of the environment, or none.
pub(crate) fn passphrase_of(
    fd: Option<i32>,
    variable: Option<&str>,
    what: &str,
    asked: Asked,
) -> Result<Zeroizing<String>, Box<dyn Error>> {
    if asked == Asked::NewWithout {
        return Ok(Zeroizing::default());
    }
    let of_environment = || variable.and_then(|variable| std::env::var(variable).ok()).map(Zeroizing::new);
    let mut line = if let Some(fd) = fd {
        line_of(fd, what)?
    } else if let Some(text) = of_environment() {
        text
    } else if std::io::stdin().is_terminal() {
        asked_for(what, asked)?
    } else {
        return Err(format!("no passphrase for {what}: use --passphrase-fd, or a terminal").into());
    };
    let kept = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(kept);
    if line.is_empty() && asked != Asked::ToOpen {
        return Err(
            format!("an empty passphrase for {what} protects nothing; say --no-passphrase if you want that").into()
        );
    }
    Ok(line)
}

/// One line of an open file descriptor.
fn line_of(fd: i32, what: &str) -> Result<Zeroizing<String>, Box<dyn Error>> {
    // SAFETY: the descriptor was given to this process on its command line for this one purpose, open, and nothing
    // in this process closes it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX));
    let mut byte = [0];
    while rustix::io::read(fd, &mut byte)? == 1 && byte != *b"\n" && bytes.len() < PASSPHRASE_BYTES_MAX {
        bytes.extend_from_slice(&byte);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("the passphrase for {what} is not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// What somebody types.
fn asked_for(what: &str, asked: Asked) -> Result<Zeroizing<String>, Box<dyn Error>> {
    let typed = Zeroizing::new(rpassword::prompt_password(format!("passphrase of {what}: "))?);
    if asked != Asked::ToOpen {
        let again = Zeroizing::new(rpassword::prompt_password("the same again: ")?);
        if *again != *typed {
            return Err("the two are not the same; nothing was written".into());
        }
    }
    Ok(typed)
}
