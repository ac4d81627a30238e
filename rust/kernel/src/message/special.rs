//! Where a run of plain text ends: 64 bytes at once.
//!
//! Escaping, unescaping and skipping all look for the next quote, backslash or control character. Masks with a bit
//! per byte find it without a look at each (Langdale and Lemire 2019).

/// A bit per byte of a block, for each kind of byte that means something within quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    pub quote: u64,
    pub backslash: u64,
    pub control: u64,
}

impl Masks {
    /// Quotes, backslashes and control characters.
    #[inline]
    pub fn of(block: &[u8; 64]) -> Self {
        let mut masks = Self::default();
        for quarter in block.as_chunks::<16>().0.iter().rev() {
            let [quote, backslash, control] = kinds(quarter);
            masks.quote = masks.quote << 16 | u64::from(quote);
            masks.backslash = masks.backslash << 16 | u64::from(backslash);
            masks.control = masks.control << 16 | u64::from(control);
        }
        masks
    }

    /// All of them.
    #[inline]
    pub const fn any(self) -> u64 {
        self.quote | self.backslash | self.control
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

/// The place of the first quote, backslash or control character of `text` from `start` on, if it is among the first
/// sixteen bytes, and not within the last sixteen of the text.
#[inline]
pub fn near(text: &[u8], start: usize) -> Option<usize> {
    let mask = any_kind(text.get(start..)?.first_chunk::<16>()?);
    if mask == 0 { None } else { Some(start + mask.trailing_zeros() as usize) }
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

#[cfg(not(target_arch = "x86_64"))]
use portable::{any_kind, escapable, kinds};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
        _mm_or_si128, _mm_set1_epi8,
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

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn kinds(bytes: &[u8; 16]) -> [u16; 3] {
        let bytes = load(bytes);
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        [mask(is(bytes, b'"')), mask(is(bytes, b'\\')), mask(control)]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn any_kind(bytes: &[u8; 16]) -> u16 {
        let bytes = load(bytes);
        let control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
        mask(_mm_or_si128(control, _mm_or_si128(is(bytes, b'"'), is(bytes, b'\\'))))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn escapable(bytes: &[u8; 16]) -> u16 {
        let bytes = load(bytes);
        // b and f differ in one bit.
        let b_or_f = is(_mm_and_si128(bytes, _mm_set1_epi8(!4)), b'b');
        let quotes = _mm_or_si128(is(bytes, b'"'), is(bytes, b'\\'));
        let n_or_r = _mm_or_si128(is(bytes, b'n'), is(bytes, b'r'));
        let t_or_slash = _mm_or_si128(is(bytes, b't'), is(bytes, b'/'));
        mask(_mm_or_si128(_mm_or_si128(b_or_f, quotes), _mm_or_si128(n_or_r, t_or_slash)))
    }
}

/// With AVX2, for functions that are made for it.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors are loaded through pointers")]
pub mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_adds_epu8, _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8,
        _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi16,
    };

    use super::Masks;

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
    fn is_control(bytes: __m256i) -> __m256i {
        _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn masks(block: &[u8; 64]) -> Masks {
        let (low, high) = halves(block);
        Masks {
            quote: mask(is(low, b'"'), is(high, b'"')),
            backslash: mask(is(low, b'\\'), is(high, b'\\')),
            control: mask(is_control(low), is_control(high)),
        }
    }

    /// By the low half of a byte, and by its high half: which of four groups it can be in.
    const LOW_GROUPS: [u8; 32] =
        groups([0, 0, 0b1101, 0, 0b1000, 0, 0b0100, 0, 0, 0, 0, 0, 0b0010, 0, 0b0100, 0b0001]);
    const HIGH_GROUPS: [u8; 32] =
        groups([0, 0, 0b0001, 0, 0, 0b0010, 0b0100, 0b1000, 0, 0, 0, 0, 0, 0, 0, 0]);

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
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    pub fn any_kind(bytes: &[u8; 16]) -> u16 {
        let [quote, backslash, control] = kinds(bytes);
        quote | backslash | control
    }

    pub fn kinds(bytes: &[u8; 16]) -> [u16; 3] {
        [mask(bytes, |byte| byte == b'"'), mask(bytes, |byte| byte == b'\\'), mask(bytes, |byte| byte < 0x20)]
    }

    pub fn escapable(bytes: &[u8; 16]) -> u16 {
        mask(bytes, |byte| br#""\/bfnrt"#.contains(&byte))
    }

    fn mask(bytes: &[u8; 16], is: impl Fn(u8) -> bool) -> u16 {
        bytes.iter().rev().fold(0, |mask, byte| mask << 1 | u16::from(is(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_see_every_byte_alike_in_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..16 {
                let mut bytes = [b'a'; 16];
                bytes[place] = byte;
                assert_eq!(kinds(&bytes), portable::kinds(&bytes), "{byte} at {place}");
                assert_eq!(escapable(&bytes), portable::escapable(&bytes), "{byte} at {place}");
                assert_eq!(any_kind(&bytes), portable::any_kind(&bytes), "{byte} at {place}");
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    #[allow(unsafe_code, reason = "needs a processor that not all have")]
    fn wide_vectors_see_what_narrow_ones_see() {
        if !std::arch::is_x86_feature_detected!("avx2") {
            return;
        }
        for byte in 0..=u8::MAX {
            for place in 0..64 {
                let mut block = [b'-'; 64];
                block[place] = byte;
                // SAFETY: this processor has AVX2.
                let (masks, short) = unsafe { (avx2::masks(&block), avx2::short_escapes(&block)) };
                assert_eq!((masks, short), (Masks::of(&block), short_escapes(&block)), "{byte} at {place}");
            }
        }
    }

    #[test]
    fn masks_end_with_the_text() {
        let look = |text: &[u8], start| with_block(text, start, |block, length| (Masks::of(block), length));
        let quotes = |text: &[u8], start| look(text, start).0.quote;
        assert_eq!(look(b"a\"\n", 0), (Masks { quote: 2, backslash: 0, control: 4 }, 3));
        assert_eq!(quotes(&[b'"'; 70], 3), u64::MAX);
        assert_eq!(quotes(&[b'"'; 70], 67), 0b111);
        assert_eq!(quotes(b"", 0), 0);
        assert_eq!((near(b"a\"aaaaaaaaaaaaaa", 0), near(b"a\"", 0), near(b"", 0)), (Some(1), None, None));
    }

    #[test]
    fn what_is_escaped_is_what_a_walk_over_the_bytes_says() {
        let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
        let (mut carry, mut open) = (false, false);
        for _ in 0..2000 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let backslash = chance | chance.rotate_left(13) & chance.rotate_left(29);
            let walked = (0..64).fold(0, |escaped, place| {
                let this = std::mem::take(&mut open);
                open = !this && backslash >> place & 1 == 1;
                escaped | u64::from(this) << place
            });
            assert_eq!(escaped(backslash, &mut carry), walked);
            assert_eq!(carry, open);
        }
    }
}
