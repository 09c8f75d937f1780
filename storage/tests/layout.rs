//! The layout's print-out is part of the format document: a change of any field shows up here.

#[test]
fn the_layout_is_what_the_document_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/vectors/storage-layout.txt");
    let text = dynemix_storage::layout_text();
    if std::env::var_os("DYNEMIX_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        text,
        "DYNEMIX_BLESS=1 rewrites it; a new layout needs a new version"
    );
}
