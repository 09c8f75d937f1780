//! How figures are shown: aligned tables for people, one JSON object for programs.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A number with thin groups of three, for people: 1234567 becomes "1 234 567".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the unit that fits.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A table whose first column is text and whose others are numbers, right-aligned.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::from("  ");
        for (column, cell) in cells.iter().enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if column == 0 {
                out.push_str(cell);
                out.push_str(&padding);
            } else {
                out.push_str("  ");
                out.push_str(&padding);
                out.push_str(cell);
            }
        }
        format!("{}\n", out.trim_end())
    };
    let mut out = line(header.to_vec());
    out.push_str(&format!("  {}\n", "-".repeat(widths.iter().sum::<usize>() + 2 * (columns - 1))));
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

/// Lines of a name and a value, the values in one column.
pub fn facts(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("  {name}{}  {value}\n", " ".repeat(width - name.chars().count())))
        .collect()
}

/// A progress bar with rate and ETA on standard error; nothing unless `show`.
///
/// # Panics
/// Never: its template is constant.
pub fn bar(show: bool, length: u64, what: &str) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("  {msg:<22} [{bar:32}] {pos:>9}/{len}  {per_sec:>14}  ETA {eta}")
        .expect("a constant template");
    bar.set_style(style.progress_chars("=> "));
    bar.set_message(what.to_owned());
    bar
}

/// A line on standard error that says what is being done, with the time since the start; nothing unless `show`.
///
/// # Panics
/// Never: its template is constant.
pub fn spinner(show: bool) -> ProgressBar {
    if !show {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("  {spinner} {msg}  {elapsed}").expect("a constant template"));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// Writes a report as JSON to a file, or to standard output for `-`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(path: &Path, report: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    if path == Path::new("-") {
        return io::stdout().write_all(text.as_bytes());
    }
    File::create(path)?.write_all(text.as_bytes())
}

/// The middle of some measurements.
///
/// # Panics
/// When there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_tables_line_up() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        let text = table(&["stage", "busy"], &[vec!["check".into(), "1.5".into()], vec!["a".into(), "10.25".into()]]);
        assert_eq!(text, "  stage   busy\n  ------------\n  check    1.5\n  a      10.25\n");
    }
}
