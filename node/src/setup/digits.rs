//! Bytes as hexadecimal digits. Each has one text, in lower case: what is written otherwise is refused, so that two
//! texts never mean one key.

/// So many bytes, from twice as many digits.
pub fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    (is_plain(text) && hex::decode_to_slice(text, &mut out).is_ok()).then_some(out)
}

/// At most so many bytes.
pub fn bytes_of_digits(text: &str, max: usize) -> Option<Vec<u8>> {
    if is_plain(text) && text.len() <= 2 * max { hex::decode(text).ok() } else { None }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_text_each() {
        assert_eq!(digits::<2>("0aff"), Some([10, 255]));
        for wrong in ["0aFF", "0AFF", "+aff", "-aff", " 0af", "0af", "0aff0", "0xaf", "", "0a\u{0}f", "0a\u{e9}"] {
            assert_eq!(digits::<2>(wrong), None, "{wrong}");
        }
        assert_eq!(bytes_of_digits("0aff", 2), Some(vec![10, 255]));
        assert_eq!(bytes_of_digits("", 2), Some(Vec::new()));
        for wrong in ["0aff", "0", "zz", "A0", "+1"] {
            assert_eq!(bytes_of_digits(wrong, 1), None, "{wrong}");
        }
    }
}
