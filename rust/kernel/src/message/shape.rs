//! What has to be asked of JSON that somebody else has made of objects, and made well: is it deeper than a reader
//! accepts, and is there a `null` in it, which may have been a number without JSON?

#[cfg(target_arch = "x86_64")]
use super::special::avx2;
use super::special::{Structure, escaped, with_block};

/// What was seen of a text that is JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// More arrays and objects than allowed are open at one place.
    pub deep: bool,
    /// A `null` is in it, outside of texts.
    pub null: bool,
}

/// The shape of `json`, in which `levels` arrays and objects may be open at a time. O(bytes), 64 of them at once.
#[must_use]
pub fn shape(json: &[u8], levels: u32) -> Shape {
    #[cfg(target_arch = "x86_64")]
    if avx2::is_there() {
        #[allow(unsafe_code, reason = "needs a processor that not all have")]
        // SAFETY: this one has what is needed.
        return unsafe { shape_avx2(json, levels) };
    }
    shape_with(json, levels, Structure::of, parity)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt,pclmulqdq")]
fn shape_avx2(json: &[u8], levels: u32) -> Shape {
    shape_with(json, levels, |block| avx2::structure(block), |bits| avx2::parity(bits))
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "into a function made for other processors")]
fn shape_with(
    json: &[u8],
    levels: u32,
    look: impl Fn(&[u8; 64]) -> Structure,
    parity: impl Fn(u64) -> u64,
) -> Shape {
    let mut shape = Shape::default();
    let (mut open, mut in_text, mut carry) = (0_u32, 0_u64, false);
    for start in (0..json.len()).step_by(64) {
        let structure = with_block(json, start, |block, _| look(block));
        let escaped =
            if structure.backslash == 0 && !carry { 0 } else { escaped(structure.backslash, &mut carry) };
        let inside = parity(structure.quote & !escaped) ^ in_text;
        // All bits like the last one.
        in_text = (inside.cast_signed() >> 63).cast_unsigned();
        let (opening, closing) = (structure.open & !inside, structure.close & !inside);
        // Of the words that JSON knows, no other one has an n.
        shape.null |= structure.n & !inside != 0;
        let after = open + opening.count_ones();
        if after > levels {
            shape.deep |= is_deeper(open, opening, closing, levels);
        }
        open = after.saturating_sub(closing.count_ones());
    }
    shape
}

/// Are more than `levels` open at a time, if `open` are at first?
#[cold]
fn is_deeper(mut open: u32, opening: u64, closing: u64, levels: u32) -> bool {
    let mut both = opening | closing;
    while both != 0 {
        let bit = both & both.wrapping_neg();
        both ^= bit;
        open = if opening & bit != 0 { open + 1 } else { open.saturating_sub(1) };
        if open > levels {
            return true;
        }
    }
    false
}

/// By bit: is the number of ones up to it odd?
const fn parity(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}
