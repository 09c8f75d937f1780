//! Every lane routine against its scalar reference, for every backend that this CPU has; what it has not is said.

use super::field::{Fe, Field, Packed, Power};
use super::msm::{Buffers, Multiple};
use super::point::{Extended, Niels, Running};
use super::sha512::{self, Padded};
use super::signed::Signed;
use super::simd::{Kernels, Simd};
use crate::verify::field::tests::{bytes, samples};
use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;

/// Runs a test for each backend; says which this CPU cannot run.
fn each_backend(test: impl Fn(Kernels)) {
    for simd in Simd::ALL {
        match Kernels::new(simd) {
            Ok(kernels) => test(kernels),
            Err(unavailable) => println!("not tested here: {unavailable}"),
        }
    }
}

fn lanes_of<F: Field>(value: F) -> Vec<[u8; 32]> {
    let mut lanes = vec![Fe::ZERO; F::LANES];
    value.to_lanes(&mut lanes);
    lanes.into_iter().map(bytes).collect()
}

fn field_agrees<F: Field>() {
    let samples = samples(64);
    let chunk = |from: usize| -> Vec<Fe> { (0..F::LANES).map(|lane| samples[(from + lane) % samples.len()]).collect() };
    let check = |what: &str, ours: F, reference: Vec<Fe>| {
        assert_eq!(lanes_of(ours), reference.into_iter().map(bytes).collect::<Vec<_>>(), "{what}");
    };
    for i in 0..samples.len() {
        for j in 0..samples.len() {
            let (a, b) = (chunk(i), chunk(j));
            let (x, y) = (F::from_lanes(&a), F::from_lanes(&b));
            let pairs =
                |operation: fn(Fe, Fe) -> Fe| a.iter().zip(&b).map(|(&a, &b)| operation(a, b)).collect::<Vec<_>>();
            check("mul", x.mul(y), pairs(Field::mul));
            check(
                "wide_add",
                F::wide_add(F::wide_double(x.mul_wide(y)), y.mul_wide(y)),
                pairs(|a, b| a.mul(b).add(a.mul(b)).add(b.square())),
            );
            check(
                "wide_sub",
                F::wide_sub(F::wide_double(x.mul_wide(y)), x.mul_wide(x)),
                pairs(|a, b| a.mul(b).add(a.mul(b)).sub(a.square())),
            );
            check("widen", F::wide_sub(x.widen(), y.mul_wide(x)), pairs(|a, b| a.sub(b.mul(a))));
            check("narrow", F::narrow(x.mul_wide(y)), pairs(Field::mul));
            check("add", x.add(y), pairs(Field::add));
            check("sub", x.sub(y), pairs(Field::sub));
            // Results of results, without a detour through scalars that would carry them.
            check(
                "chain",
                x.add(y).mul(x.sub(y)).square(),
                a.iter().zip(&b).map(|(&a, &b)| a.add(b).mul(a.sub(b)).square()).collect(),
            );
            let mask = (i * 64 + j) as u32 % (1 << F::LANES);
            check(
                "select",
                F::select(mask, x, y),
                (0..F::LANES).map(|lane| if mask & (1 << lane) != 0 { a[lane] } else { b[lane] }).collect(),
            );
            assert_eq!(x.sub(y).zeros(), (0..F::LANES).map(|lane| a[lane].sub(b[lane]).zeros() << lane).sum::<u32>());
        }
        let a = chunk(i);
        let x = F::from_lanes(&a);
        check("squared", x.squared(3), a.iter().map(|a| a.squared(3)).collect());
        assert_eq!(x.odds(), (0..F::LANES).map(|lane| a[lane].odds() << lane).sum::<u32>());
        assert_eq!(x.sub(x).zeros(), (1 << F::LANES) - 1);
        check("splat", F::splat(&a[0]), vec![a[0]; F::LANES]);
        let three = [x, F::from_lanes(&chunk(i + 7)), F::from_lanes(&chunk(i + 30))];
        let mut packed = vec![Packed::default(); F::LANES];
        F::pack(three, &mut packed);
        let indices: Vec<u32> = (0..8).map(|lane| (lane as usize % F::LANES) as u32).collect();
        let back = F::gather(&packed, &indices);
        for (one, other) in three.into_iter().zip(back) {
            assert_eq!(lanes_of(one), lanes_of(other));
        }
    }
}

#[test]
fn fields_agree_with_the_scalar_reference() {
    field_agrees::<Fe>();
    #[cfg(target_arch = "x86_64")]
    {
        if Simd::Avx2.is_available() {
            field_agrees::<super::field_fma::Fe4>();
        }
        if is_x86_feature_detected!("avxifma") {
            field_agrees::<super::field_ifma::Elements<super::vectors::Ymm>>();
        }
        if is_x86_feature_detected!("avx512ifma") && is_x86_feature_detected!("avx512vl") {
            field_agrees::<super::field_ifma::Elements<super::vectors::YmmEvex>>();
        }
        if Simd::Avx512.is_available() {
            field_agrees::<super::field_ifma::Elements<super::vectors::Zmm>>();
        }
    }
}

/// Encodings of all kinds: points, their negatives, non-canonical ones, small order, and bytes that do not decode.
fn encodings(count: usize) -> Vec<[u8; 32]> {
    let mut encodings: Vec<[u8; 32]> = Vec::new();
    for low in [0u8, 1, 2, 0xec, 0xed, 0xee, 0xef, 0xff] {
        for (rest, top) in [(0, 0), (0, 0x80), (0xff, 0x7f), (0xff, 0xff)] {
            let mut encoding = [rest; 32];
            (encoding[0], encoding[31]) = (low, top);
            encodings.push(encoding);
        }
    }
    encodings.push(ED25519_BASEPOINT_COMPRESSED.0);
    let mut stream = blake3::Hasher::new_derive_key("dynemix test encodings").finalize_xof();
    while encodings.len() < count {
        let mut encoding = [0; 32];
        stream.fill(&mut encoding);
        encodings.push(encoding);
    }
    encodings
}

fn scalar_point(packed: &Packed, kernels: Kernels, buffers: &mut Buffers) -> Extended<Fe> {
    let table = [kernels.identity(), *packed];
    kernels.sum(&table, 0, &[Multiple { point: 1, scalar: 1 }], buffers)
}

/// Whether a point is the one that the reference says, compared without inversions.
fn same(point: &Extended<Fe>, reference: &EdwardsPoint) -> bool {
    let encoding = reference.compress().0;
    let mut packed = [Packed::default()];
    assert_eq!(super::point::decode::<Fe>(&[encoding], &mut packed), 1);
    let reference = Running::first(&Niels::<Fe>::gather(&packed, &[0], 0)).finished();
    let agree = |ours: Fe, theirs: Fe| bytes(ours.mul(reference.z)) == bytes(theirs.mul(point.z));
    agree(point.minus, reference.minus) && agree(point.plus, reference.plus) && agree(point.t, reference.t)
}

#[test]
fn decoding_agrees_with_the_reference() {
    let encodings = encodings(400);
    each_backend(|kernels| {
        let lanes = kernels.simd().lanes();
        let mut buffers = Buffers::default();
        let (mut good, mut bad) = (0, 0);
        for chunk in encodings.chunks_exact(lanes) {
            let mut packed = vec![Packed::default(); lanes];
            let decoded = kernels.decode_lanes(chunk, &mut packed);
            for (lane, encoding) in chunk.iter().enumerate() {
                match CompressedEdwardsY(*encoding).decompress() {
                    None => {
                        assert_eq!(decoded & (1 << lane), 0, "{encoding:02x?}");
                        bad += 1;
                    }
                    Some(reference) => {
                        assert_ne!(decoded & (1 << lane), 0, "{encoding:02x?}");
                        assert!(
                            same(&scalar_point(&packed[lane], kernels, &mut buffers), &reference),
                            "{encoding:02x?}"
                        );
                        good += 1;
                    }
                }
            }
        }
        assert!(good > 100 && bad > 100);
    });
}

/// What a hint says is what decoding finds; nothing else is taken for it.
#[test]
fn hints_agree_with_decoding() {
    let encodings: Vec<_> =
        encodings(400).into_iter().filter(|encoding| CompressedEdwardsY(*encoding).decompress().is_some()).collect();
    each_backend(|kernels| {
        let lanes = kernels.simd().lanes();
        let places: Vec<u32> = (0..lanes as u32).collect();
        for chunk in encodings.chunks_exact(lanes) {
            let (mut decoded, mut hinted) = (vec![Packed::default(); lanes], vec![Packed::default(); lanes]);
            let all = ((1u64 << lanes) - 1) as u32;
            assert_eq!(kernels.decode_lanes(chunk, &mut decoded), all);
            let mut hints = vec![[0; 32]; lanes];
            kernels.hint_lanes(&decoded, &places, &mut hints);
            assert_eq!(kernels.decode_hinted_lanes(chunk, &hints, &mut hinted), all);
            let mut buffers = Buffers::default();
            for (lane, encoding) in chunk.iter().enumerate() {
                let reference = CompressedEdwardsY(*encoding).decompress().unwrap();
                assert!(same(&scalar_point(&hinted[lane], kernels, &mut buffers), &reference), "{encoding:02x?}");
            }
            // The other root has the other sign, but for x = 0, which is its own opposite.
            let negated: Vec<[u8; 32]> =
                hints.iter().map(|hint| Fe::ZERO.sub(Fe::from_bytes(hint)).to_bytes()).collect();
            let zeros: u32 = hints.iter().enumerate().map(|(lane, hint)| u32::from(*hint == [0; 32]) << lane).sum();
            assert_eq!(kernels.decode_hinted_lanes(chunk, &negated, &mut hinted), zeros);
            let neighbours: Vec<[u8; 32]> =
                hints.iter().map(|hint| Fe::from_bytes(hint).add(Fe::ONE).to_bytes()).collect();
            assert_eq!(kernels.decode_hinted_lanes(chunk, &neighbours, &mut hinted), 0);
        }
    });
}

#[test]
fn second_points_agree_with_the_reference() {
    let power = (0..127).fold(Scalar::ONE, |power, _| power + power);
    let encodings = encodings(60);
    each_backend(|kernels| {
        let lanes = kernels.simd().lanes();
        let places: Vec<u32> = (0..lanes as u32).collect();
        for chunk in encodings.chunks_exact(lanes) {
            let (mut points, mut split) = (vec![Packed::default(); lanes], vec![Packed::default(); lanes]);
            let good = kernels.decode_lanes(chunk, &mut points);
            kernels.split_lanes(&points, &places, &mut split);
            for lane in (0..lanes).filter(|lane| good & (1 << lane) != 0) {
                let reference = CompressedEdwardsY(chunk[lane]).decompress().unwrap();
                // Modulo l a power of two is another number of a point that has a part of small order.
                let doubled = (0..127).fold(reference, |point, _| point + point);
                if reference.is_torsion_free() {
                    assert_eq!(doubled, reference * power);
                }
                assert!(same(&scalar_point(&split[lane], kernels, &mut Buffers::default()), &doubled));
            }
        }
    });
}

#[test]
fn hashing_agrees_with_the_reference() {
    each_backend(|kernels| {
        let lanes = kernels.simd().lanes();
        if lanes == 1 {
            return;
        }
        let mut stream = blake3::Hasher::new_derive_key("dynemix test messages").finalize_xof();
        for _ in 0..50 {
            let mut inputs = vec![Padded::EMPTY; lanes];
            let mut references = Vec::new();
            for input in &mut inputs {
                let mut bytes = [0u8; 32 + 64 + 160];
                stream.fill(&mut bytes);
                let (key, signature): ([u8; 32], [u8; 64]) =
                    (bytes[..32].try_into().unwrap(), bytes[32..96].try_into().unwrap());
                let signed = Signed {
                    key: &key,
                    signature: &signature,
                    prefix: &bytes[96..128],
                    message: &bytes[128..],
                    hint: None,
                };
                assert!(input.fill(&signed));
                references.push(sha512::scalar(&signed));
            }
            let mut digests = vec![[0; 8]; lanes];
            kernels.hash_lanes(&inputs, &mut digests);
            assert_eq!(digests, references);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Sums agree with the reference, for random scalars and for those that strain recoding and buckets: zeros, ones,
    /// the largest, many equal ones.
    #[test]
    fn sums_agree_with_the_reference(count in 1usize..200, seed: u64, kind in 0u8..5) {
        let mut stream = blake3::Hasher::new_derive_key("dynemix test sums").update(&seed.to_le_bytes()).finalize_xof();
        let mut wide = || { let mut bytes = [0u8; 64]; stream.fill(&mut bytes); bytes };
        let points: Vec<EdwardsPoint> = (0..count).map(|_| EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order_wide(&wide()))).collect();
        let scalar_of = |bytes: &[u8; 64]| match kind {
            0 => 0,
            1 => u128::MAX,
            2 => 1 << 127,
            3 => 0x1f0f,
            _ => u128::from_le_bytes(bytes[..16].try_into().unwrap()),
        };
        let scalars: Vec<u128> = (0..count).map(|_| scalar_of(&wide())).collect();
        let reference: EdwardsPoint =
            points.iter().zip(&scalars).map(|(point, &scalar)| point * Scalar::from(scalar)).sum();
        each_backend(|kernels| {
            let lanes = kernels.simd().lanes();
            let mut table = vec![kernels.identity()];
            let encodings: Vec<[u8; 32]> = points.iter().map(|point| point.compress().0).collect();
            for chunk in encodings.chunks(lanes) {
                let mut full = vec![ED25519_BASEPOINT_COMPRESSED.0; lanes];
                full[..chunk.len()].copy_from_slice(chunk);
                let mut packed = vec![Packed::default(); lanes];
                kernels.decode_lanes(&full, &mut packed);
                table.extend_from_slice(&packed[..chunk.len()]);
            }
            let multiples: Vec<_> =
                scalars.iter().enumerate().map(|(i, &scalar)| Multiple { point: 1 + i as u32, scalar }).collect();
            let sum = kernels.sum(&table, 0, &multiples, &mut Buffers::default());
            assert!(same(&sum, &reference), "{} kind {kind} count {count}", kernels.simd());
        });
    }
}
