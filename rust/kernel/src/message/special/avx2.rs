//! With AVX2, for functions that are made for it: 32 bytes at once.
#![allow(unsafe_code, reason = "vectors are loaded through pointers")]

use std::arch::x86_64::{
    __m256i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_set1_epi8, _mm256_adds_epu8,
    _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{Masks, Structure};

#[inline]
#[target_feature(enable = "avx2")]
fn halves(block: &[u8; 64]) -> (__m256i, __m256i) {
    let (low, high) = block.split_at(32);
    // SAFETY: both have 32 bytes; an address need not be aligned.
    unsafe { (_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn mask(low: __m256i, high: __m256i) -> u64 {
    let bits = |half| u64::from(_mm256_movemask_epi8(half).cast_unsigned());
    bits(high) << 32 | bits(low)
}

#[inline]
#[target_feature(enable = "avx2")]
fn is(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx2")]
fn is_odd(bytes: __m256i) -> __m256i {
    _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes)
}

/// As [`Masks::of`].
#[inline]
#[target_feature(enable = "avx2")]
pub fn masks(block: &[u8; 64]) -> Masks {
    let (low, high) = halves(block);
    Masks {
        quote: mask(is(low, b'"'), is(high, b'"')),
        backslash: mask(is(low, b'\\'), is(high, b'\\')),
        odd: mask(is_odd(low), is_odd(high)),
    }
}

/// As [`Structure::of`].
#[inline]
#[target_feature(enable = "avx2")]
pub fn structure(block: &[u8; 64]) -> Structure {
    let (low, high) = halves(block);
    // Brackets and braces differ in one bit.
    let braces = |bytes| _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
    let (low_braces, high_braces) = (braces(low), braces(high));
    Structure {
        quote: mask(is(low, b'"'), is(high, b'"')),
        backslash: mask(is(low, b'\\'), is(high, b'\\')),
        open: mask(is(low_braces, b'{'), is(high_braces, b'{')),
        close: mask(is(low_braces, b'}'), is(high_braces, b'}')),
        n: mask(is(low, b'n'), is(high, b'n')),
    }
}

/// By the low half of a byte, and by its high half: which of four groups it can be in.
const LOW_GROUPS: [u8; 32] =
    groups([0, 0, 0b1101, 0, 0b1000, 0, 0b0100, 0, 0, 0, 0, 0, 0b0010, 0, 0b0100, 0b0001]);
const HIGH_GROUPS: [u8; 32] = groups([0, 0, 0b0001, 0, 0, 0b0010, 0b0100, 0b1000, 0, 0, 0, 0, 0, 0, 0, 0]);

/// A shuffle looks bytes up in each half of a vector by itself, so tables of 16 bytes stand there twice.
const fn groups(by_half: [u8; 16]) -> [u8; 32] {
    let mut groups = [0; 32];
    let mut place = 0;
    while place < 32 {
        groups[place] = by_half[place % 16];
        place += 1;
    }
    groups
}

#[inline]
#[target_feature(enable = "avx2")]
fn look_up(table: &[u8; 32], halves: __m256i) -> __m256i {
    // SAFETY: there are 32 bytes; an address need not be aligned.
    let table = unsafe { _mm256_loadu_si256(table.as_ptr().cast()) };
    _mm256_shuffle_epi8(table, _mm256_and_si256(halves, _mm256_set1_epi8(15)))
}

/// The high bit of bytes that are in one group by both of their halves.
#[inline]
#[target_feature(enable = "avx2")]
fn in_group(bytes: __m256i) -> __m256i {
    let (low, high) = (look_up(&LOW_GROUPS, bytes), look_up(&HIGH_GROUPS, _mm256_srli_epi16::<4>(bytes)));
    _mm256_adds_epu8(_mm256_and_si256(low, high), _mm256_set1_epi8(0x7f))
}

/// As [`super::short_escapes`].
#[inline]
#[target_feature(enable = "avx2")]
pub fn short_escapes(block: &[u8; 64]) -> u64 {
    let (low, high) = halves(block);
    mask(in_group(low), in_group(high))
}

/// Has this processor what all of this module needs?
#[inline]
pub fn is_there() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("popcnt")
        && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// By bit: is the number of ones up to it odd? A product without carries, with all ones, says so for all at once.
#[inline]
#[target_feature(enable = "avx2,pclmulqdq")]
pub fn parity(bits: u64) -> u64 {
    let bits = _mm_set_epi64x(0, bits.cast_signed());
    _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(bits, _mm_set1_epi8(-1))).cast_unsigned()
}
