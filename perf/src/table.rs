//! Tables and lists of facts that fit where they are read: text on the left, numbers on the right, long text in several
//! lines.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, TableComponent, Width};

/// Columns of a line where nothing says how wide it is.
const WIDTH: usize = 80;
/// What is narrower than this holds no table.
const WIDTH_MIN: usize = 20;
/// Before the first column.
const INDENT: &str = "  ";
/// Between two columns.
const GAP: u16 = 2;

/// Columns of a line: those of the terminal, else what `COLUMNS` says, else 80.
pub fn width() -> usize {
    let of_terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|&width| width > 0);
    let of_environment = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|&width: &usize| width > 0);
    of_terminal.or_else(of_environment).unwrap_or(WIDTH)
}

/// A table, as wide as the terminal at most.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    table_within(width(), header, rows)
}

/// Lines of a name and a value, the values in one column, as wide as the terminal at most.
pub fn facts(rows: &[(&str, String)]) -> String {
    facts_within(width(), rows)
}

/// Prose below a table, broken between words, as wide as the terminal at most.
pub fn note(text: &str) -> String {
    note_within(width(), text)
}

/// A table of so many columns at most. A column of which every cell is a number stands on the right and is never broken;
/// others are broken between words, and within one only where it is longer than all that there is.
pub fn table_within(width: usize, header: &[&str], rows: &[Vec<String>]) -> String {
    laid_out(width, 0, Some(header), rows.to_vec())
}

/// As [`facts`], of so many columns at most.
pub fn facts_within(width: usize, rows: &[(&str, String)]) -> String {
    let names = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let room = width.max(WIDTH_MIN) - INDENT.len();
    let fits = |row: &(&str, String)| longest_word(&row.1) + names + usize::from(GAP) <= room;
    let mut text = String::new();
    for rows in rows.chunk_by(|one, other| fits(one) == fits(other)) {
        if fits(&rows[0]) {
            let cells = rows.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
            text.push_str(&laid_out(width, names, None, cells));
        } else {
            // An id can only be copied if it is whole: it has a line to itself.
            rows.iter().for_each(|(name, value)| text.push_str(&format!("{INDENT}{name}\n{INDENT}{INDENT}{value}\n")));
        }
    }
    text
}

/// As [`note`], of so many columns at most.
pub fn note_within(width: usize, text: &str) -> String {
    let room = width.max(WIDTH_MIN) - INDENT.len();
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("one at least");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.iter().map(|line| format!("{INDENT}{line}\n")).collect()
}

fn longest_word(text: &str) -> usize {
    text.split([' ', '\n']).map(|word| word.chars().count()).max().unwrap_or(0)
}

/// `first`: columns that the first column has at least.
fn laid_out(width: usize, first: usize, header: Option<&[&str]>, rows: Vec<Vec<String>>) -> String {
    let count = header.map_or(2, <[&str]>::len);
    let numbers: Vec<bool> = (0..count)
        .map(|column| header.is_some() && is_of_numbers(rows.iter().filter_map(|row| row.get(column))))
        .collect();
    let mut longest = vec![0; count];
    longest[0] = first;
    let head = header.map(|header| header.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    for cells in head.iter().chain(&rows) {
        for (column, cell) in cells.iter().enumerate().take(count) {
            let is_whole = header.is_none() && column == 0 || numbers[column];
            let width = if is_whole { cell.chars().count() } else { longest_word(cell) };
            longest[column] = longest[column].max(width);
        }
    }
    let room = width.max(WIDTH_MIN) - INDENT.len();
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(room.min(u16::MAX.into()) as u16);
    if let Some(header) = header {
        table.set_style(TableComponent::HeaderLines, '-').set_header(header.to_vec());
    }
    table.add_rows(rows);
    let fits = longest.iter().sum::<usize>() + usize::from(GAP) * (count - 1) <= room;
    for (place, column) in table.column_iter_mut().enumerate().take(count) {
        let padding = if place + 1 < count { GAP } else { 0 };
        column.set_padding((0, padding));
        column.set_cell_alignment(if numbers[place] { CellAlignment::Right } else { CellAlignment::Left });
        if fits {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(longest[place] as u16 + padding)));
        }
    }
    table.lines().map(|line| format!("{INDENT}{}", line.trim_end()).trim_end().to_owned() + "\n").collect()
}

/// Whether these cells are numbers, with a unit or without, and words that stand for none.
fn is_of_numbers<'a>(cells: impl Iterator<Item = &'a String>) -> bool {
    let is_digits = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_digit() || "+-<".contains(first))
            && word.contains(|letter: char| letter.is_ascii_digit())
            && (word.chars().all(|letter| letter.is_ascii_digit() || "+-<.,%/x".contains(letter))
                || word.parse::<f64>().is_ok())
    };
    let is_number = |cell: &str| {
        let cell = cell.trim_start_matches("> ");
        let words: Vec<&str> = cell.split_whitespace().collect();
        let unit = usize::from(words.len() > 1 && !is_digits(words[words.len() - 1]));
        words[..words.len() - unit].iter().all(|word| is_digits(word))
            && words.last().is_none_or(|last| last.chars().count() <= 7 || is_digits(last))
    };
    let mut any = false;
    let all = cells.into_iter().all(|cell| {
        let stands_for_none = ["", "-", "never", "none"].contains(&cell.as_str());
        any |= !stands_for_none;
        stands_for_none || is_number(cell)
    });
    all && any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn numbers_stand_on_the_right_and_text_on_the_left() {
        let rows = [row(&["check", "1.5", "good"]), row(&["a", "1 010.25 MiB", "bad, really"])];
        assert_eq!(
            table_within(80, &["stage", "busy", "found"], &rows),
            "  stage          busy  found\n  --------------------------------\n  check           1.5  good\n  a      1 010.25 MiB  bad, really\n"
        );
        assert!(is_of_numbers(
            ["1 234 567", "never", "0.2 %", "3/4", "1 x", "> 2.5 minutes", "0.0e-3"].map(String::from).iter()
        ));
        assert!(!is_of_numbers(["\"1\"", "2"].map(String::from).iter()));
        assert!(!is_of_numbers(["00a1b2", "11"].map(String::from).iter()));
        assert!(!is_of_numbers(["none", ""].map(String::from).iter()));
    }

    #[test]
    fn prose_below_a_table_is_as_wide_as_there_is_room() {
        for width in [20, 41, 80] {
            let text = note_within(width, &"words of some length, ".repeat(20));
            let lines: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
            assert!(lines.iter().all(|&line| line <= width), "{text}");
            assert!(lines[..lines.len() - 1].iter().all(|&line| line + 1 + "length,".len() > width), "{text}");
            assert_eq!(text.matches("length,").count(), 20);
        }
        assert_eq!(note_within(80, "one, two"), "  one, two\n");
    }

    #[test]
    fn long_text_takes_several_lines_and_words_stay_whole() {
        let id = "0123456789abcdef".repeat(4);
        let text = facts_within(80, &[("state root", id.clone()), ("long", "many words ".repeat(30))]);
        assert!(text.contains(&id), "{text}");
        assert!(text.lines().count() > 4 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let text = facts_within(80, &[("a name of some length", "short".into()), ("state root", id.clone())]);
        assert_eq!(text, format!("  a name of some length  short\n  state root\n    {id}\n"));
        for width in [30, 60, 80] {
            let rows = [
                row(&["a.long.setting_of_a_node", "[\"one\", \"two\", \"three\"]", "default"]),
                row(&["b", "3", "--set"]),
            ];
            let text = table_within(width, &["setting", "value", "from"], &rows);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        let rows = [row(&["1 234 567", &"words of it ".repeat(12)])];
        assert!(table_within(60, &["number", "what"], &rows).contains("1 234 567"));
    }
}
