//! All ways see the same.

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
            assert_eq!(structure(&bytes), portable::structure(&bytes), "{byte} at {place}");
            assert_eq!(unfit(&bytes), portable::unfit(&bytes), "{byte} at {place}");
            assert_eq!(controls(&bytes), portable::controls(&bytes), "{byte} at {place}");
            assert_eq!(specials(&bytes), portable::specials(&bytes), "{byte} at {place}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
#[allow(unsafe_code, reason = "needs a processor that not all have")]
fn wide_vectors_see_what_narrow_ones_see() {
    if !avx2::is_there() {
        return;
    }
    for byte in 0..=u8::MAX {
        for place in 0..64 {
            let mut block = [b'-'; 64];
            block[place] = byte;
            // SAFETY: this processor has what is needed.
            let (masks, short) = unsafe { (avx2::masks(&block), avx2::short_escapes(&block)) };
            assert_eq!((masks, short), (Masks::of(&block), short_escapes(&block)), "{byte} at {place}");
            // SAFETY: as above.
            let structure = unsafe { avx2::structure(&block) };
            assert_eq!(structure, Structure::of(&block), "{byte} at {place}");
        }
    }
}

#[test]
fn masks_end_with_the_text() {
    let look = |text: &[u8], start| with_block(text, start, |block, length| (Masks::of(block), length));
    let quotes = |text: &[u8], start| look(text, start).0.quote;
    assert_eq!(look(b"a\"\n", 0), (Masks { quote: 2, backslash: 0, odd: 4 }, 3));
    assert_eq!(quotes(&[b'"'; 70], 3), u64::MAX);
    assert_eq!(quotes(&[b'"'; 70], 67), 0b111);
    assert_eq!(quotes(b"", 0), 0);
    assert_eq!(look("aé".as_bytes(), 0).0.odd, 0b110);
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

#[test]
fn what_is_visible_ends_at_the_first_byte_that_is_not() {
    for byte in 0..=u8::MAX {
        let fits = byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        for place in 0..40 {
            let mut text = [b'a'; 40];
            text[place] = byte;
            assert_eq!(visible(&text), if fits { 40 } else { place }, "{byte} at {place}");
        }
    }
    assert_eq!(visible(b""), 0);
}
