//! What of the log is shown, as people write it: `info,dynemix::minting=debug`.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Reads levels and targets between commas; parts that are empty say nothing.
///
/// # Errors
/// What is wrong with which part.
pub fn log_filter(text: &str) -> Result<Targets, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if let Some(part) = parts.iter().find(|part| part.contains(['[', ']', '{', '}'])) {
        return Err(format!("'{part}' asks for spans or fields; a part is a level, or TARGET=LEVEL"));
    }
    if parts.is_empty() {
        return Err("no level: say one of off, error, warn, info, debug, trace, or TARGET=LEVEL".into());
    }
    // A word alone would be the name of a part of the program, and nothing else would be shown.
    if let Some(part) = parts.iter().find(|part| !part.contains('=') && part.parse::<LevelFilter>().is_err()) {
        return Err(format!("'{part}' is no level: say one of off, error, warn, info, debug, trace, or TARGET=LEVEL"));
    }
    parts.join(",").parse().map_err(|error| format!("'{text}': {error}; a part is a level, or TARGET=LEVEL"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn empty_parts_say_nothing_and_wrong_ones_are_refused() {
        let filter = log_filter("info, ,dynemix::minting=debug,").unwrap();
        assert!(filter.would_enable("dynemix::minting::duty", &Level::DEBUG));
        assert!(filter.would_enable("dynemix::keep", &Level::INFO));
        assert!(!filter.would_enable("dynemix::keep", &Level::DEBUG));
        for wrong in ["", ",", "loud", "info,dynemix", "[step]=debug", "info,{a=1}", "dynemix=loud"] {
            assert!(log_filter(wrong).is_err(), "{wrong}");
        }
    }
}
