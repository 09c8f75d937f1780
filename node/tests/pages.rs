//! Pages that say what the code says.

use dynemix_engine::base::refusal::Refusal;
use std::fmt::Write;
use std::path::Path;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

#[test]
fn the_table_of_refusals_is_the_codes() {
    let mut table = String::new();
    for refusal in Refusal::ALL {
        writeln!(table, "| {} | `{}` | {} |", *refusal as u8, refusal.name(), refusal.says()).unwrap();
    }
    assert!(page("wallet.md").contains(&table), "docs/wallet.md has another table than this:\n{table}");
}

#[test]
fn each_refusal_says_what_to_do_in_one_plain_sentence() {
    for refusal in Refusal::ALL {
        let says = refusal.says();
        let plain = says.len() > 30 && !says.ends_with('.');
        assert!(plain || *refusal == Refusal::Expired, "{}: {says}", refusal.name());
        assert_eq!(Refusal::from_number(*refusal as u8), Some(*refusal));
    }
}
