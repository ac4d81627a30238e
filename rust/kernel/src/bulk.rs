//! Many transitions checked at once: for audits and replays.
//!
//! 32 pairs per step where the processor has AVX2: the masks of [`crate::lifecycle`] are looked up by byte shuffles.
//! That runs at the speed of memory. Elsewhere a table of all pairs is read.

use crate::lifecycle::MASKS;

/// Check `pairs`, (from, to) codes, into `legal`: 1 or 0 per pair. Unknown codes are not legal.
///
/// What has no counterpart is ignored: an odd byte at the end, and the longer rest of either slice.
pub fn check_pairs(pairs: &[u8], legal: &mut [u8]) {
    let pairs = pairs.as_chunks::<2>().0;
    let count = pairs.len().min(legal.len());
    let (pairs, legal) = (&pairs[..count], &mut legal[..count]);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[allow(unsafe_code, reason = "needs a processor that not all have")]
        // SAFETY: this one has AVX2.
        unsafe {
            avx2::check(pairs, legal);
        }
        return;
    }
    check_each(pairs, legal);
}

/// Row `from`, place `to`; padded, so that an index of four bits needs no check of bounds.
const LEGAL: [[u8; 16]; 16] = {
    let mut legal = [[0; 16]; 16];
    let mut pair = 0;
    while pair < MASKS.len() * 16 {
        legal[pair / 16][pair % 16] = (MASKS[pair / 16] >> (pair % 16) & 1) as u8;
        pair += 1;
    }
    legal
};

fn check_each(pairs: &[[u8; 2]], legal: &mut [u8]) {
    for (&[from, to], legal) in pairs.iter().zip(legal) {
        let known = u8::from((from | to) < 16);
        *legal = known & LEGAL[usize::from(from & 15)][usize::from(to & 15)];
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors are loaded and stored through pointers")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_loadu_si256, _mm256_min_epu8, _mm256_or_si256, _mm256_packus_epi16,
        _mm256_permute4x64_epi64, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_shuffle_epi8,
        _mm256_srli_epi16, _mm256_storeu_si256,
    };

    use super::check_each;
    use crate::lifecycle::MASKS;

    type Bytes = [u8; 32];

    /// By code of the current state: the low and the high byte of its mask.
    const LOW_ROWS: Bytes = rows(0);
    const HIGH_ROWS: Bytes = rows(1);
    /// By code of the next state: its bit, if that is in the low or in the high byte.
    const LOW_BITS: Bytes = bits(0);
    const HIGH_BITS: Bytes = bits(1);

    /// A shuffle looks bytes up in each half of a vector by itself, so tables of 16 bytes stand there twice.
    const fn rows(byte: usize) -> Bytes {
        let mut rows = [0; 32];
        let mut code = 0;
        while code < MASKS.len() {
            rows[code] = MASKS[code].to_le_bytes()[byte];
            rows[code + 16] = rows[code];
            code += 1;
        }
        rows
    }

    const fn bits(byte: usize) -> Bytes {
        let mut bits = [0; 32];
        let mut code = 0;
        while code < MASKS.len() {
            bits[code] = (1_u16 << code).to_le_bytes()[byte];
            bits[code + 16] = bits[code];
            code += 1;
        }
        bits
    }

    /// As [`super::check_pairs`], for slices of one length.
    #[target_feature(enable = "avx2")]
    pub(super) fn check(pairs: &[[u8; 2]], legal: &mut [u8]) {
        let (steps, last_pairs) = pairs.as_chunks::<32>();
        let (answers, last_legal) = legal.as_chunks_mut::<32>();
        for (pairs, legal) in steps.iter().zip(answers) {
            // SAFETY: `legal` has 32 bytes; an address need not be aligned.
            unsafe { _mm256_storeu_si256(legal.as_mut_ptr().cast(), check_step(pairs)) };
        }
        check_each(last_pairs, last_legal);
    }

    /// 1 or 0 in a byte per pair.
    #[target_feature(enable = "avx2")]
    fn check_step(pairs: &[[u8; 2]; 32]) -> __m256i {
        let [first, second] = halves(pairs);
        // x86 is little endian: `from` is the low byte of a pair.
        let low = _mm256_set1_epi16(0xff);
        let from = _mm256_packus_epi16(_mm256_and_si256(first, low), _mm256_and_si256(second, low));
        let to = _mm256_packus_epi16(_mm256_srli_epi16::<8>(first), _mm256_srli_epi16::<8>(second));
        let found = _mm256_or_si256(
            _mm256_and_si256(look_up(&LOW_ROWS, from), look_up(&LOW_BITS, to)),
            _mm256_and_si256(look_up(&HIGH_ROWS, from), look_up(&HIGH_BITS, to)),
        );
        // A pack works on each half of a vector by itself, so the quarters are out of order.
        _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_min_epu8(found, _mm256_set1_epi8(1)))
    }

    #[target_feature(enable = "avx2")]
    fn halves(pairs: &[[u8; 2]; 32]) -> [__m256i; 2] {
        let (halves, _) = pairs.as_flattened().as_chunks();
        // All that is no state becomes 15, which is none either: its entries are 0.
        let codes = |half| _mm256_min_epu8(load(half), _mm256_set1_epi8(15));
        [codes(&halves[0]), codes(&halves[1])]
    }

    #[target_feature(enable = "avx2")]
    fn look_up(table: &Bytes, codes: __m256i) -> __m256i {
        _mm256_shuffle_epi8(load(table), codes)
    }

    #[target_feature(enable = "avx2")]
    fn load(bytes: &Bytes) -> __m256i {
        // SAFETY: there are 32 bytes; an address need not be aligned.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_same_answer_for_all_pairs() {
        // An interpreter (Miri) takes minutes for all of them.
        let step = if cfg!(miri) { 37 } else { 1 };
        let pairs: Vec<u8> = (0..=u16::MAX).step_by(step).flat_map(u16::to_le_bytes).collect();
        let (mut checked, mut each) = (vec![7; pairs.len() / 2], vec![7; pairs.len() / 2]);

        check_pairs(&pairs, &mut checked);
        check_each(pairs.as_chunks().0, &mut each);

        assert_eq!(checked, each);
    }

    #[test]
    fn every_length_is_checked_to_its_end() {
        for count in 0..140 {
            let pairs = [3, 4].repeat(count);
            let mut legal = vec![0; count + 1];

            check_pairs(&pairs, &mut legal);

            assert_eq!(legal.iter().map(|legal| usize::from(*legal)).sum::<usize>(), count);
            assert_eq!(legal[count], 0);
        }
    }
}
