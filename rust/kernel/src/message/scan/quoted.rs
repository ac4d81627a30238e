//! Texts in quotes: 64 bytes at once, and a closer look at escapes that are not of two characters.

use super::Scanner;
use crate::message::fault::{Fault, Problem, utf8};
#[cfg(target_arch = "x86_64")]
use crate::message::special::avx2;
use crate::message::special::{Masks, control, escaped, near, short_escapes, with_block};

impl Scanner<'_> {
    /// Skip a text, quotes included; true when it has no escapes.
    #[inline]
    pub fn text(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        match near(self.text, self.at) {
            Some(place) if self.text[place] == b'"' => {
                self.at = place + 1;
                Ok(true)
            }
            _ => self.long_text(),
        }
    }

    /// As `text`, after the quote.
    #[inline(never)]
    fn long_text(&mut self) -> Result<bool, Fault> {
        #[cfg(target_arch = "x86_64")]
        if avx2::is_there() {
            #[allow(unsafe_code, reason = "needs a processor that not all have")]
            // SAFETY: this one has what is needed.
            return unsafe { self.long_text_avx2() };
        }
        self.long_text_with(Masks::of, short_escapes)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn long_text_avx2(&mut self) -> Result<bool, Fault> {
        self.long_text_with(|block| avx2::masks(block), |block| avx2::short_escapes(block))
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "into a function made for other processors")]
    fn long_text_with(
        &mut self,
        look: impl Fn(&[u8; 64]) -> Masks,
        short_escapes: impl Fn(&[u8; 64]) -> u64,
    ) -> Result<bool, Fault> {
        let (mut plain, mut carry) = (true, false);
        // Where the second half of a surrogate pair is.
        let mut low_half = 0;
        loop {
            let start = self.at;
            let (masks, length) = with_block(self.text, start, |block, length| (look(block), length));
            let escaped =
                if masks.backslash == 0 && !carry { 0 } else { escaped(masks.backslash, &mut carry) };
            let ends = masks.quote & !escaped;
            let inside = if ends == 0 { u64::MAX } else { (1 << ends.trailing_zeros()) - 1 };
            if masks.odd & inside != 0 {
                self.look_closer(inside)?;
            }
            if masks.backslash & inside != 0 || escaped & 1 != 0 {
                plain = false;
                let short = with_block(self.text, start, |block, _| short_escapes(block));
                // Those beyond the end of the text are seen by nobody: it is truncated.
                let seconds = escaped & inside & within(length);
                if seconds & short != seconds {
                    low_half = self.long_escapes(start, seconds ^ seconds & short, low_half)?;
                }
            }
            if ends != 0 {
                self.at = start + ends.trailing_zeros() as usize + 1;
                return Ok(plain);
            }
            self.at = start + length;
            if self.at >= self.text.len() {
                return Err(self.fault(Problem::Truncated));
            }
        }
    }

    /// Of the block that begins here, these bytes have something that is no ASCII, or a control character. Before the
    /// first one that is no ASCII, all was; so all that follows can be checked from here on.
    fn look_closer(&mut self, inside: u64) -> Result<(), Fault> {
        if !self.is_utf8 {
            utf8(&self.text[self.at..]).map_err(|fault| Fault { at: self.at + fault.at, ..fault })?;
            self.is_utf8 = true;
        }
        let control = with_block(self.text, self.at, |block, _| control(block)) & inside;
        if control != 0 {
            self.at += control.trailing_zeros() as usize;
            return Err(self.fault(Problem::Control));
        }
        Ok(())
    }

    /// Check the escapes whose second bytes are these of the block at `start`; where the second half of a pair of
    /// surrogates follows is known from the block before, and for the block after.
    #[cold]
    fn long_escapes(&mut self, start: usize, mut seconds: u64, mut low_half: usize) -> Result<usize, Fault> {
        while seconds != 0 {
            self.at = start + seconds.trailing_zeros() as usize - 1;
            seconds &= seconds - 1;
            if self.at != low_half || low_half == 0 {
                low_half = self.long_escape()?;
            }
        }
        Ok(low_half)
    }

    /// Here a backslash begins an escape that is not of two characters. The place of the second half, if it is a pair
    /// of surrogates; otherwise 0.
    fn long_escape(&self) -> Result<usize, Fault> {
        if self.text.get(self.at + 1) != Some(&b'u') {
            return Err(self.fault(Problem::Escape));
        }
        match self.unit(self.at)? {
            0xd800..=0xdbff => match (self.text.get(self.at + 6), self.text.get(self.at + 7)) {
                (Some(b'\\'), Some(b'u')) if matches!(self.unit(self.at + 6)?, 0xdc00..=0xdfff) => {
                    Ok(self.at + 6)
                }
                _ => Err(self.fault(Problem::Surrogate)),
            },
            0xdc00..=0xdfff => Err(self.fault(Problem::Surrogate)),
            _ => Ok(0),
        }
    }

    /// The UTF-16 unit of the escape `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Result<u32, Fault> {
        let digits = self.text.get(at + 2..at + 6);
        let digits = digits.ok_or(Fault { at: self.text.len(), problem: Problem::Truncated })?;
        hexadecimal(digits).ok_or(Fault { at, problem: Problem::Escape })
    }
}

/// The first `length` bits.
const fn within(length: usize) -> u64 {
    if length < 64 { (1 << length) - 1 } else { u64::MAX }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// What a text that was checked says.
pub fn unescaped(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let Some((name, after)) = rest.split_first() else { break };
        rest = after;
        match name {
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => rest = unescaped_unit(rest, &mut plain),
            other => plain.push(*other),
        }
    }
    plain
}

/// `rest` begins with four digits, or with a pair of them and `\u` in between; return what is after those.
fn unescaped_unit<'t>(rest: &'t [u8], plain: &mut Vec<u8>) -> &'t [u8] {
    let unit = |digits: Option<&[u8]>| digits.and_then(hexadecimal).unwrap_or_default();
    let high = unit(rest.get(..4));
    let (code, length) = match high {
        0xd800..=0xdbff => (0x1_0000 + ((high & 0x3ff) << 10 | unit(rest.get(6..10)) & 0x3ff), 10),
        _ => (high, 4),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest.get(length..).unwrap_or_default()
}
