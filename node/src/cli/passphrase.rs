//! A passphrase, from wherever this process was told to take it.

use super::args::variable as environment;
use super::output::note;
use dynemix::wallet::keys::{WORDS, words_in};
use std::error::Error;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;
use zeroize::Zeroizing;

/// Bytes of a passphrase at most, and of any other line that is a secret.
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
    let of_environment = || Ok::<_, String>(variable.map(environment).transpose()?.flatten().map(Zeroizing::new));
    let mut line = if let Some(fd) = fd {
        line_of(fd, what)?.unwrap_or_default()
    } else if let Some(text) = of_environment()? {
        text
    } else if somebody_is_there() {
        asked_for(what, asked)?
    } else {
        let or_variable = variable.map_or(String::new(), |variable| format!(", {variable} in the environment"));
        return Err(format!("no passphrase for {what}: use --passphrase-fd FD{or_variable}, or a terminal").into());
    };
    let kept = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(kept);
    if line.len() > PASSPHRASE_BYTES_MAX {
        return Err(format!("the passphrase for {what} has more than {PASSPHRASE_BYTES_MAX} bytes").into());
    }
    if asked == Asked::ToOpen {
        return Ok(line);
    }
    if line.is_empty() && asked == Asked::Secret {
        return Err(format!("an empty passphrase for {what} protects nothing").into());
    }
    if line.is_empty() {
        return Err(
            format!("an empty passphrase for {what} protects nothing; say --no-passphrase if you want that").into()
        );
    }
    if line.trim() != line.as_str() {
        return Err(
            format!("the passphrase for {what} begins or ends with a space, which nobody sees: leave it out").into()
        );
    }
    Ok(line)
}

/// Whether somebody can be asked, wherever standard input comes from.
pub(crate) fn somebody_is_there() -> bool {
    let shown = std::io::stdin().is_terminal() || std::io::stderr().is_terminal();
    shown && File::options().read(true).write(true).open("/dev/tty").is_ok()
}

/// One line of an open file descriptor, none at its end.
fn line_of(fd: i32, what: &str) -> Result<Option<Zeroizing<String>>, Box<dyn Error>> {
    // SAFETY: the descriptor was given to this process on its command line for this one purpose, or is its standard
    // input; nothing in this process closes it.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let (mut bytes, mut ended) = (Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 1)), true);
    let mut byte = [0];
    while rustix::io::read(fd, &mut byte).map_err(|error| format!("read the passphrase for {what}: {error}"))? == 1 {
        ended = false;
        if byte == *b"\n" {
            break;
        }
        bytes.extend_from_slice(&byte);
        if bytes.len() > PASSPHRASE_BYTES_MAX {
            return Err(format!("{what}: a line has more than {PASSPHRASE_BYTES_MAX} bytes").into());
        }
    }
    if ended {
        return Ok(None);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("the passphrase for {what} is not UTF-8"))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
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

/// The words of a key: from standard input, in one line or several; typed at a terminal they are not shown.
pub(crate) fn words() -> Result<Zeroizing<String>, Box<dyn Error>> {
    let typed = std::io::stdin().is_terminal();
    // Room for all that is read: no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(2 * PASSPHRASE_BYTES_MAX));
    let mut count = 0;
    while count < WORDS && text.len() < PASSPHRASE_BYTES_MAX {
        let line = if typed {
            let prompt = format!("words {} to {WORDS}, as many as you like in a line (not shown): ", count + 1);
            Some(Zeroizing::new(rpassword::prompt_password(prompt)?)).filter(|line| !line.trim().is_empty())
        } else {
            line_of(0, "the words")?
        };
        let Some(line) = line else { break };
        text.push_str(&line);
        text.push('\n');
        count = words_in(&text).len();
    }
    Ok(text)
}

/// Whether whoever sits at the terminal has the words that were shown: two of them are asked for.
pub(crate) fn has_words(words: &str, places: [usize; 2]) -> Result<bool, Box<dyn Error>> {
    for place in places {
        let typed = Zeroizing::new(rpassword::prompt_password(format!("word {} again (not shown): ", place + 1))?);
        if words.split(' ').nth(place) != Some(typed.trim().to_lowercase().as_str()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks a question that only a person can answer; without one the answer is `no`.
pub(crate) fn consents(question: &str) -> Result<bool, Box<dyn Error>> {
    note!("{question} [y/N]");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
