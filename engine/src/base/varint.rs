//! Variable-length integers (LEB128, canonical): seven bits a byte, low first, the shortest form only.

/// What a varint cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside it.
    #[error("the bytes end inside a number")]
    Truncated,
    /// More than 64 bits.
    #[error("a number has more than 64 bits")]
    TooLong,
    /// A zero byte at the end: the same number has a shorter form.
    #[error("a number is not in its shortest form")]
    NotShortest,
}

/// Appends `value`.
#[inline]
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads one number from the front of `bytes` and moves the slice past it.
#[inline]
pub fn read(bytes: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        if i == 9 && byte > 1 {
            return Err(VarintError::TooLong);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            if byte == 0 && i > 0 {
                return Err(VarintError::NotShortest);
            }
            *bytes = &bytes[i + 1..];
            return Ok(value);
        }
    }
    Err(if bytes.len() >= 10 { VarintError::TooLong } else { VarintError::Truncated })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_what_was_written(value: u64, shift in 0u32..64, tail: u8) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            let length = bytes.len();
            bytes.push(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(read(&mut rest), Ok(value));
            prop_assert_eq!(rest, &[tail][..]);
            prop_assert_eq!(read(&mut &bytes[..length - 1]), Err(VarintError::Truncated));
        }
    }

    #[test]
    fn refuses_long_and_padded_forms() {
        assert_eq!(read(&mut &[0x80, 0x00][..]), Err(VarintError::NotShortest));
        assert_eq!(read(&mut &[0xff; 10][..]), Err(VarintError::TooLong));
        assert_eq!(read(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..]), Ok(u64::MAX));
        assert_eq!(read(&mut &[][..]), Err(VarintError::Truncated));
    }
}
