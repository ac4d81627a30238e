//! With SSE2, which every x86-64 processor has: 16 bytes at once.
#![allow(unsafe_code, reason = "vectors are loaded through pointers")]

use std::arch::x86_64::{
    __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
    _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
};

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: there are 16 bytes; an address need not be aligned.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn mask(bytes: __m128i) -> u16 {
    // Sixteen bits, one per byte.
    u16::try_from(_mm_movemask_epi8(bytes)).unwrap_or(0)
}

#[inline]
#[target_feature(enable = "sse2")]
fn is(bytes: __m128i, byte: u8) -> __m128i {
    _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte.cast_signed()))
}

/// Less than a space, with a sign: then what is no ASCII is below zero.
#[inline]
#[target_feature(enable = "sse2")]
fn odd(bytes: __m128i) -> __m128i {
    _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20))
}

#[inline]
#[target_feature(enable = "sse2")]
fn control(bytes: __m128i) -> __m128i {
    _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes)
}

#[inline]
#[target_feature(enable = "sse2")]
fn quotes(bytes: __m128i) -> __m128i {
    _mm_or_si128(is(bytes, b'"'), is(bytes, b'\\'))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn kinds(bytes: &[u8; 16]) -> [u16; 3] {
    let bytes = load(bytes);
    [mask(is(bytes, b'"')), mask(is(bytes, b'\\')), mask(odd(bytes))]
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn any_kind(bytes: &[u8; 16]) -> u16 {
    let bytes = load(bytes);
    mask(_mm_or_si128(odd(bytes), quotes(bytes)))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn controls(bytes: &[u8; 16]) -> u16 {
    mask(control(load(bytes)))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn specials(bytes: &[u8; 16]) -> u16 {
    let bytes = load(bytes);
    mask(_mm_or_si128(control(bytes), quotes(bytes)))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn escapable(bytes: &[u8; 16]) -> u16 {
    let bytes = load(bytes);
    // b and f differ in one bit.
    let b_or_f = is(_mm_and_si128(bytes, _mm_set1_epi8(!4)), b'b');
    let quotes = quotes(bytes);
    let n_or_r = _mm_or_si128(is(bytes, b'n'), is(bytes, b'r'));
    let t_or_slash = _mm_or_si128(is(bytes, b't'), is(bytes, b'/'));
    mask(_mm_or_si128(_mm_or_si128(b_or_f, quotes), _mm_or_si128(n_or_r, t_or_slash)))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn structure(bytes: &[u8; 16]) -> [u16; 5] {
    let bytes = load(bytes);
    // Brackets and braces differ in one bit.
    let braces = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    [is(bytes, b'"'), is(bytes, b'\\'), is(braces, b'{'), is(braces, b'}'), is(bytes, b'n')]
        .map(|found| mask(found))
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn unfit(bytes: &[u8; 16]) -> u16 {
    let bytes = load(bytes);
    let from_first = _mm_sub_epi8(bytes, _mm_set1_epi8(b'!'.cast_signed()));
    let last = _mm_set1_epi8((b'~' - b'!').cast_signed());
    let visible = _mm_cmpeq_epi8(_mm_min_epu8(from_first, last), from_first);
    let quotes = quotes(bytes);
    !mask(visible) | mask(quotes)
}
