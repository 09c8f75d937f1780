//! Scalars modulo the group's order l = 2^252 + 27742317777372353535851937790883648493, in 64-bit words.
//!
//! A batch needs three things of a signature: h modulo l from a 512-bit hash, z h modulo l, and z s added to a sum.
//! Reduction is Barrett's: with mu = floor(2^512 / l), q = floor(floor(x / 2^248) mu / 2^264) is floor(x / l) or up to
//! two less.

/// l, four words.
pub(super) const L: [u64; 4] = [0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000];
/// floor(2^512 / l), 260 bits.
const MU: [u64; 5] = [0xed9ce5a30a2c131b, 0x2106215d086329a7, 0xffffffffffffffeb, 0xffffffffffffffff, 0xf];

/// Whether a 256-bit number is below l.
pub(super) fn is_canonical(words: &[u64; 4]) -> bool {
    for i in (0..4).rev() {
        if words[i] != L[i] {
            return words[i] < L[i];
        }
    }
    false
}

pub(super) fn words_of(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("8 bytes")))
}

#[inline(always)]
fn multiply_add(sum: &mut u64, a: u64, b: u64, carry: u64) -> u64 {
    // At most (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1.
    let wide = u128::from(a).wrapping_mul(u128::from(b)).wrapping_add(u128::from(*sum)).wrapping_add(u128::from(carry));
    *sum = wide as u64;
    (wide >> 64) as u64
}

/// A 512-bit number modulo l.
#[inline]
pub(super) fn reduce(x: &[u64; 8]) -> [u64; 4] {
    // High part floor(x / 2^248): five words and a bit, 264 bits.
    let mut high = [0u64; 5];
    for i in 0..5 {
        let upper = if i + 4 < 8 { x[i + 4] << 8 } else { 0 };
        high[i] = (x[i + 3] >> 56) | upper;
    }
    // high * MU, then floor(... / 2^264): words 4 and up, shifted by 8 bits.
    let mut product = [0u64; 10];
    for i in 0..5 {
        let mut carry = 0;
        for j in 0..5 {
            carry = multiply_add(&mut product[i + j], high[i], MU[j], carry);
        }
        product[i + 5] = carry;
    }
    let q: [u64; 5] = std::array::from_fn(|i| (product[i + 4] >> 8) | (product.get(i + 5).copied().unwrap_or(0) << 56));
    // x - q l modulo 2^320: the true rest is below 3 l.
    let mut ql = [0u64; 5];
    for i in 0..5 {
        let mut carry = 0;
        for j in 0..(5 - i).min(4) {
            carry = multiply_add(&mut ql[i + j], q[i], L[j], carry);
        }
        if i == 0 {
            ql[4] = ql[4].wrapping_add(carry);
        }
    }
    let mut rest = [0u64; 5];
    let mut borrow = false;
    for i in 0..5 {
        let (difference, b1) = x[i].overflowing_sub(ql[i]);
        let (difference, b2) = difference.overflowing_sub(u64::from(borrow));
        (rest[i], borrow) = (difference, b1 | b2);
    }
    let mut rest = [rest[0], rest[1], rest[2], rest[3]];
    for _ in 0..2 {
        if !is_canonical(&rest) {
            let mut borrow = false;
            for i in 0..4 {
                let (difference, b1) = rest[i].overflowing_sub(L[i]);
                let (difference, b2) = difference.overflowing_sub(u64::from(borrow));
                (rest[i], borrow) = (difference, b1 | b2);
            }
        }
    }
    debug_assert!(is_canonical(&rest));
    rest
}

/// z a for a 128-bit z: 384 bits.
#[inline]
fn wide_product(z: u128, a: &[u64; 4]) -> [u64; 8] {
    let mut product = [0u64; 8];
    for (i, z) in [z as u64, (z >> 64) as u64].into_iter().enumerate() {
        let mut carry = 0;
        for j in 0..4 {
            carry = multiply_add(&mut product[i + j], z, a[j], carry);
        }
        product[i + 4] = carry;
    }
    product
}

/// z a modulo l.
#[inline]
pub(super) fn multiply(z: u128, a: &[u64; 4]) -> [u64; 4] {
    reduce(&wide_product(z, a))
}

/// A number below 2^254 as its low 127 bits and the rest.
#[inline]
pub(super) fn split(words: &[u64; 4]) -> [u128; 2] {
    let low = u128::from(words[0]) | u128::from(words[1] & (u64::MAX >> 1)) << 64;
    let high = u128::from(words[1] >> 63) | u128::from(words[2]) << 1 | u128::from(words[3]) << 65;
    debug_assert!(words[3] >> 62 == 0);
    [low, high]
}

/// A sum of z s that is reduced only when it is read; room for 2^128 of them.
#[derive(Clone, Copy, Default)]
pub(super) struct LazySum([u64; 8]);

impl LazySum {
    #[inline]
    pub(super) fn add(&mut self, z: u128, s: &[u64; 4]) {
        let mut carry = false;
        for (sum, word) in self.0.iter_mut().zip(wide_product(z, s)) {
            let (total, c1) = sum.overflowing_add(word);
            let (total, c2) = total.overflowing_add(u64::from(carry));
            (*sum, carry) = (total, c1 | c2);
        }
    }

    /// Minus the sum, modulo l.
    pub(super) fn negated(&self) -> [u64; 4] {
        let sum = reduce(&self.0);
        if sum == [0; 4] {
            return sum;
        }
        let mut difference = [0u64; 4];
        let mut borrow = false;
        for i in 0..4 {
            let (word, b1) = L[i].overflowing_sub(sum[i]);
            let (word, b2) = word.overflowing_sub(u64::from(borrow));
            (difference[i], borrow) = (word, b1 | b2);
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::scalar::Scalar;
    use proptest::prelude::*;

    fn bytes(words: &[u64; 4]) -> [u8; 32] {
        bytemuck::cast(*words)
    }

    fn check(wide: [u64; 8]) {
        let reference = Scalar::from_bytes_mod_order_wide(&bytemuck::cast(wide));
        assert_eq!(&bytes(&reduce(&wide)), reference.as_bytes(), "{wide:x?}");
    }

    #[test]
    fn mu_and_the_edges() {
        check([0; 8]);
        check([u64::MAX; 8]);
        for words in 0..8 {
            let mut wide = [0; 8];
            wide[words] = u64::MAX;
            check(wide);
        }
        for delta in [0u64, 1, 2] {
            let mut wide = [0; 8];
            wide[..4].copy_from_slice(&L);
            wide[0] -= delta;
            check(wide);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_reference(wide: [u64; 8], z: u128, a: [u64; 8], b: [u64; 8], y: u128) {
            check(wide);
            let (a, b) = (reduce(&a), reduce(&b));
            let scalar = |words: &[u64; 4]| Scalar::from_canonical_bytes(bytes(words)).unwrap();
            let product = multiply(z, &a);
            prop_assert_eq!(scalar(&product), Scalar::from(z) * scalar(&a));
            let [low, high] = split(&a);
            prop_assert!(low >> 127 == 0);
            let split_point = Scalar::from(1u128 << 126) + Scalar::from(1u128 << 126);
            prop_assert_eq!(Scalar::from(low) + Scalar::from(high) * split_point, scalar(&a));
            let mut sum = LazySum::default();
            sum.add(z, &a);
            sum.add(y, &b);
            prop_assert_eq!(scalar(&sum.negated()), -(Scalar::from(z) * scalar(&a) + Scalar::from(y) * scalar(&b)));
        }
    }
}
