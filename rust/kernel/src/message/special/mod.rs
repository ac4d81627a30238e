//! Where a run of plain text ends: 64 bytes at once.
//!
//! Escaping, unescaping and skipping all look for the next quote, backslash or control character. Masks with a bit
//! per byte find it without a look at each (Langdale and Lemire 2019).

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(test)]
mod tests;

/// A bit per byte of a block, for each kind of byte that means something within quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    pub quote: u64,
    pub backslash: u64,
    /// Control characters, and what is no ASCII: bytes that are less than a space if they have a sign.
    pub odd: u64,
}

impl Masks {
    /// Quotes, backslashes, control characters and what is no ASCII.
    #[inline]
    pub fn of(block: &[u8; 64]) -> Self {
        let mut masks = Self::default();
        for quarter in block.as_chunks::<16>().0.iter().rev() {
            let [quote, backslash, odd] = kinds(quarter);
            masks.quote = masks.quote << 16 | u64::from(quote);
            masks.backslash = masks.backslash << 16 | u64::from(backslash);
            masks.odd = masks.odd << 16 | u64::from(odd);
        }
        masks
    }
}

/// Control characters.
#[inline]
pub fn control(block: &[u8; 64]) -> u64 {
    let quarters = block.as_chunks::<16>().0;
    quarters.iter().rev().fold(0, |mask, quarter| mask << 16 | u64::from(controls(quarter)))
}

/// What has to be escaped: quotes, backslashes and control characters.
#[inline]
pub fn special(block: &[u8; 64]) -> u64 {
    let quarters = block.as_chunks::<16>().0;
    quarters.iter().rev().fold(0, |mask, quarter| mask << 16 | u64::from(specials(quarter)))
}

/// A bit per byte of a block, for each kind of byte that means something for the structure of JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    pub quote: u64,
    pub backslash: u64,
    pub open: u64,
    pub close: u64,
    pub n: u64,
}

impl Structure {
    /// Quotes, backslashes, brackets and braces, and the letter n.
    #[inline]
    pub fn of(block: &[u8; 64]) -> Self {
        let mut all = Self::default();
        for quarter in block.as_chunks::<16>().0.iter().rev() {
            let [quote, backslash, open, close, n] = structure(quarter);
            all.quote = all.quote << 16 | u64::from(quote);
            all.backslash = all.backslash << 16 | u64::from(backslash);
            all.open = all.open << 16 | u64::from(open);
            all.close = all.close << 16 | u64::from(close);
            all.n = all.n << 16 | u64::from(n);
        }
        all
    }
}

/// What is an escape of two characters, with a backslash before it.
#[inline]
pub fn short_escapes(block: &[u8; 64]) -> u64 {
    let quarters = block.as_chunks::<16>().0;
    quarters.iter().rev().fold(0, |mask, quarter| mask << 16 | u64::from(escapable(quarter)))
}

/// Call `see` with the bytes of `text` from `start` on, at most 64, and spaces after them; and how many they are.
#[inline(always)]
#[allow(clippy::inline_always, reason = "into functions made for other processors")]
pub fn with_block<T>(text: &[u8], start: usize, see: impl FnOnce(&[u8; 64], usize) -> T) -> T {
    let rest = &text[start..];
    if let Some(block) = rest.first_chunk::<64>() {
        return see(block, 64);
    }
    let mut block = [b' '; 64];
    block[..rest.len()].copy_from_slice(rest);
    see(&block, rest.len())
}

/// The place of the first quote, backslash, control character or byte that is no ASCII of `text` from `start` on, if it
/// is among the first sixteen bytes, and not within the last sixteen of the text.
#[inline]
pub fn near(text: &[u8], start: usize) -> Option<usize> {
    let mask = any_kind(text.get(start..)?.first_chunk::<16>()?);
    if mask == 0 { None } else { Some(start + mask.trailing_zeros() as usize) }
}

/// How many bytes at the beginning of `text` are visible ASCII, neither `"` nor `\`.
#[inline]
pub fn visible(text: &[u8]) -> usize {
    let (chunks, rest) = text.as_chunks::<16>();
    for (place, chunk) in chunks.iter().enumerate() {
        let unfit = unfit(chunk);
        if unfit != 0 {
            return place * 16 + unfit.trailing_zeros() as usize;
        }
    }
    let is_unfit = |byte: &u8| !matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    text.len() - rest.len() + rest.iter().position(is_unfit).unwrap_or(rest.len())
}

/// Of 64 bytes those that a backslash before them escapes. `carry` says if the one before the block does, and then, if
/// the last one of the block does.
#[inline]
pub fn escaped(backslash: u64, carry: &mut bool) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    // A backslash that is escaped escapes nothing, so of a run every second one counts, from its start on.
    let before = u64::from(*carry);
    let backslash = backslash & !before;
    let follows = backslash << 1 | before;
    let odd_starts = backslash & !EVEN & !follows;
    let (even_runs, overflow) = odd_starts.overflowing_add(backslash);
    *carry = overflow;
    (EVEN ^ even_runs << 1) & follows
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn kinds(bytes: &[u8; 16]) -> [u16; 3] {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::kinds(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn any_kind(bytes: &[u8; 16]) -> u16 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::any_kind(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn escapable(bytes: &[u8; 16]) -> u16 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::escapable(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn structure(bytes: &[u8; 16]) -> [u16; 5] {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::structure(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn unfit(bytes: &[u8; 16]) -> u16 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::unfit(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn controls(bytes: &[u8; 16]) -> u16 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::controls(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "vector instructions have to be declared")]
fn specials(bytes: &[u8; 16]) -> u16 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2::specials(bytes) }
}

#[cfg(not(target_arch = "x86_64"))]
use portable::{any_kind, controls, escapable, kinds, specials, structure, unfit};
