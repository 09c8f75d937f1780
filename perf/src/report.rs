//! How figures are shown: to people in units that fit, to programs as one JSON object.

pub use crate::table::{facts, note, table};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

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

/// So many of a thing, by its name: "1 node", "2 nodes".
pub fn counted(number: u64, thing: &str) -> String {
    let number_of = grouped(number);
    if number == 1 { format!("{number_of} {thing}") } else { format!("{number_of} {thing}s") }
}

/// A time in the unit that fits, from milliseconds to years.
pub fn lasting(seconds: f64) -> String {
    const UNITS: [(f64, &str); 5] =
        [(365.25 * 86_400.0, "years"), (86_400.0, "days"), (3_600.0, "hours"), (60.0, "minutes"), (1.0, "s")];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| seconds >= *size).unwrap_or((1e-3, "ms"));
    let number = seconds / size;
    let number = if number < 100.0 { format!("{number:.1}") } else { grouped(number as u64) };
    format!("{number} {unit}")
}

/// A time as people write it: `500ms`, `60s`, `1h30m`. It is above zero.
///
/// # Errors
/// A sentence on what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed =
        humantime::parse_duration(text).map_err(|_| format!("'{text}' is no time; write 500ms, 60s or 1h30m"))?;
    if parsed.is_zero() { Err("a time of nothing; write 500ms, 60s or 1h30m".into()) } else { Ok(parsed) }
}

/// How many a second, with as many digits as say something.
fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { grouped(per_second as u64) }
}

/// A figure of a bar, as people read it.
fn shown(figure: fn(&ProgressState) -> String) -> impl Fn(&ProgressState, &mut dyn fmt::Write) + Clone + Send + Sync {
    move |state, out| {
        let _ = out.write_str(&figure(state));
    }
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
    // The bar takes what the figures leave of the line.
    let style = ProgressStyle::with_template("  {msg} [{wide_bar}] {done}/{all}  {rate}/s  ETA {eta}")
        .expect("a constant template")
        .with_key("done", shown(|state| grouped(state.pos())))
        .with_key("all", shown(|state| grouped(state.len().unwrap_or(0))))
        .with_key("rate", shown(|state| rate(state.per_sec())));
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
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A report as JSON, with the line's end.
///
/// # Errors
/// When it cannot be said in JSON.
pub fn json_text(report: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
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
    fn figures_are_as_people_read_them() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        assert_eq!([1, 2].map(|number| counted(number, "node")), ["1 node", "2 nodes"]);
        assert_eq!(
            [0.25, 90.0, 7_200.0, 1e7, 1e12].map(lasting),
            ["250 ms", "1.5 minutes", "2.0 hours", "115 days", "31 688 years"]
        );
        assert_eq!([9.25, 39_562.961_734].map(rate), ["9.2", "39 562"]);
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let ms = |text| parse_duration(text).map(|time| time.as_millis());
        assert_eq!(
            ["500ms", "60s", "5m", "1h30m", "1h 30min"].map(|text| ms(text).unwrap()),
            [500, 60_000, 300_000, 5_400_000, 5_400_000]
        );
        for wrong in ["", "5", "0s", "-5s", "+5s", "5 fortnights", "99999999999999999999h"] {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
    }
}
