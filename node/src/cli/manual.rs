//! Man pages: what each verb's help says, its examples as they stand there.

use clap::Command;
use clap::builder::Resettable;
use clap_mangen::Man;
use roff::{Roff, roman};
use std::fs;
use std::io;
use std::path::Path;

const EXAMPLES: &str = "Examples:";

/// Writes a page for each verb into a directory, which is made if it is not there.
pub(crate) fn write_pages(command: Command, directory: &Path) -> Result<(), String> {
    fs::create_dir_all(directory).map_err(|error| format!("create {}: {error}", directory.display()))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_page(&command, directory)
}

fn write_page(command: &Command, directory: &Path) -> Result<(), String> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_page(verb, directory)?;
    }
    let path = directory.join(Man::new(command.clone()).get_filename());
    let page = page(command).map_err(|error| format!("the page {}: {error}", path.display()))?;
    fs::write(&path, page).map_err(|error| format!("write {}: {error}", path.display()))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    let plain = command.clone().after_help(Resettable::Reset).after_long_help(Resettable::Reset);
    let mut page = Vec::new();
    Man::new(plain).render(&mut page)?;
    let mut roff = Roff::new();
    let (mut in_examples, mut has_notes) = (false, false);
    for line in after.lines() {
        match line {
            EXAMPLES => {
                roff.control("SH", ["EXAMPLES"]);
                // Columns stay columns.
                roff.control("nf", []);
                in_examples = true;
            }
            "" if in_examples => {
                roff.control("fi", []);
                in_examples = false;
            }
            "" => drop(roff.control("PP", [])),
            line if in_examples => drop(roff.text([roman(line.strip_prefix("  ").unwrap_or(line))])),
            line => {
                if !has_notes {
                    roff.control("SH", ["NOTES"]);
                    has_notes = true;
                }
                roff.text([roman(line)]);
            }
        }
    }
    if in_examples {
        roff.control("fi", []);
    }
    roff.to_writer(&mut page)?;
    Ok(page)
}
